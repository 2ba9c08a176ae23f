/* The zoo's list: every model by name, and the options merged with its defaults. */
#include <string.h>

#include "base/str.h"
#include "zoo/family.h"

#define IMAGENET { 64, 1000, { 3, 224, 224 }, 1.0 }
#define CIFAR { 64, 100, { 3, 32, 32 }, 1.0 }
#define MAX_WIDTH 1024
#define MAX_CLASSES 1000000
#define MAX_INPUT 16384

static const lg_zoo_entry entries[] = {
    { "resnet10-cifar", "ResNet-10 for 32x32 images", lg_zoo_build_resnet_cifar, 10, CIFAR },
    { "resnet18-cifar", "ResNet-18 for 32x32 images, the reference's", lg_zoo_build_resnet_cifar, 18, CIFAR },
    { "resnet34-cifar", "ResNet-34 for 32x32 images", lg_zoo_build_resnet_cifar, 34, CIFAR },
    { "resnet50-cifar", "ResNet-50 for 32x32 images", lg_zoo_build_resnet_cifar, 50, CIFAR },
    { "resnet101-cifar", "ResNet-101 for 32x32 images", lg_zoo_build_resnet_cifar, 101, CIFAR },
    { "resnet152-cifar", "ResNet-152 for 32x32 images", lg_zoo_build_resnet_cifar, 152, CIFAR },
    { "mobilenet_v2-cifar", "MobileNetV2 x2 for 32x32 images, the reference's", lg_zoo_build_mobilenet_v2_cifar, 0,
      { 0, 100, { 3, 32, 32 }, 2.0 } },
    { "resnext29-cifar", "ResNeXt-29 32x4d for 32x32 images, the reference's", lg_zoo_build_resnext_cifar, 29, CIFAR },
    { "resnet10", "ResNet-10 for 224x224 images", lg_zoo_build_resnet, 10, IMAGENET },
    { "resnet18", "ResNet-18 for 224x224 images, torchvision's", lg_zoo_build_resnet, 18, IMAGENET },
    { "resnet34", "ResNet-34 for 224x224 images, torchvision's", lg_zoo_build_resnet, 34, IMAGENET },
    { "resnet50", "ResNet-50 for 224x224 images, torchvision's", lg_zoo_build_resnet, 50, IMAGENET },
    { "resnet101", "ResNet-101 for 224x224 images, torchvision's", lg_zoo_build_resnet, 101, IMAGENET },
    { "resnet152", "ResNet-152 for 224x224 images, torchvision's", lg_zoo_build_resnet, 152, IMAGENET },
    { "mobilenet_v2", "MobileNetV2 for 224x224 images, torchvision's", lg_zoo_build_mobilenet_v2, 0,
      { 0, 1000, { 3, 224, 224 }, 1.0 } },
    { "resnext50_32x4d", "ResNeXt-50 32x4d for 224x224 images, torchvision's", lg_zoo_build_resnext, 50, IMAGENET },
};

#define N_ENTRIES (sizeof(entries) / sizeof(entries[0]))

const char *lego_zoo_name(size_t index)
{
    return index < N_ENTRIES ? entries[index].name : NULL;
}

const char *lego_zoo_summary(size_t index)
{
    return index < N_ENTRIES ? entries[index].summary : NULL;
}

static lego_status find_entry(const lg_zoo_entry **out, const char *name)
{
    lg_str names = LG_STR_INIT;
    lego_status status;

    for (size_t i = 0; i < N_ENTRIES; i++) {
        if (strcmp(entries[i].name, name) == 0) {
            *out = &entries[i];
            lg_str_dispose(&names);
            return LEGO_OK;
        }
        lg_str_appendf(&names, "%s%s", i ? ", " : "", entries[i].name);
    }
    status = names.failed ? lg_error(LEGO_ENOMEM, "out of memory listing the zoo")
                          : lg_error(LEGO_ENOTFOUND, "the zoo has no '%s', it has %s", name, names.text);
    lg_str_dispose(&names);
    return status;
}

/* An option: 0 leaves the default. */
static lego_status merge_int(int64_t *value, const char *what, int64_t option, int64_t max)
{
    if (option < 0 || option > max)
        return lg_error(LEGO_EINVAL, "%s %lld is not in [1, %lld]", what, (long long)option, (long long)max);
    if (option > 0)
        *value = option;
    return LEGO_OK;
}

static lego_status merge_options(lg_zoo_size *size, const lg_zoo_entry *entry, const lego_zoo_options *options)
{
    static const char *const extents[3] = { "input channels", "input height", "input width" };
    const int has_width = entry->defaults.width > 0; /* MobileNet's widths have a multiplier instead */
    lego_status status = LEGO_OK;

    *size = entry->defaults;
    LG_TRY(merge_int(&size->classes, "classes", options->classes, MAX_CLASSES));
    for (int i = 0; i < 3; i++)
        LG_TRY(merge_int(&size->input[i], extents[i], options->input[i], MAX_INPUT));
    if (options->width != 0 && !has_width)
        return lg_error(LEGO_EINVAL, "'%s' is scaled by a width multiplier, not by a width", entry->name);
    if (options->width_mult != 0.0 && has_width)
        return lg_error(LEGO_EINVAL, "'%s' is scaled by its width, not by a multiplier", entry->name);
    LG_TRY(merge_int(&size->width, "width", options->width, MAX_WIDTH));
    if (!(options->width_mult >= 0.0 && options->width_mult <= 64.0))
        return lg_error(LEGO_EINVAL, "width multiplier %g is not in (0, 64]", options->width_mult);
    if (options->width_mult > 0.0)
        size->width_mult = options->width_mult;
done:
    return status;
}

lego_status lg_zoo_graph(lg_graph **out, const char *name, const lego_zoo_options *options)
{
    lego_zoo_options opts = LEGO_ZOO_OPTIONS_INIT;
    const lg_zoo_entry *entry = NULL;
    lg_zoo_builder builder = { 0 };
    lg_zoo_size size;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    LG_TRY(find_entry(&entry, name));
    LG_TRY(merge_options(&size, entry, &opts));
    lg_zoo_start(&builder, entry->name);
    LG_TRY(entry->build(&builder, entry, &size));
    LG_TRY(lg_zoo_finish(out, &builder));
done:
    lg_graph_free(builder.graph);
    return status;
}

lego_status lego_zoo_build(lego_model **out, lego_context *context, const char *name, const lego_zoo_options *options)
{
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    if (!out || !name)
        return lg_error(LEGO_EINVAL, "out and name must not be NULL");
    *out = NULL;
    LG_TRY(lg_zoo_graph(&graph, name, options));
    LG_TRY(lg_graph_initialize(graph, lego_context_seed(context)));
    LG_TRY(lg_model_from_graph(out, graph));
    graph = NULL;
done:
    lg_graph_free(graph);
    return status;
}
