/* ResNet (He et al. 2015, arXiv 1512.03385) with two stems. ImageNet: conv 7x7 stride 2 and max pool, names as in
 * torchvision. CIFAR: conv 3x3 stride 1 and no pool, names as in the reference's cifar/models/resnet.py. `width` is the
 * channels of the first stage (64), doubled by every stage. */
#include <stdio.h>

#include "graph/ops.h"
#include "zoo/family.h"
#include "zoo/residual.h"

typedef struct recipe {
    int depth;
    int bottleneck;
    int n_units[4];
} recipe;

static const recipe recipes[] = {
    { 10, 0, { 1, 1, 1, 1 } }, { 18, 0, { 2, 2, 2, 2 } },  { 34, 0, { 3, 4, 6, 3 } },
    { 50, 1, { 3, 4, 6, 3 } }, { 101, 1, { 3, 4, 23, 3 } }, { 152, 1, { 3, 8, 36, 3 } },
};

static lego_status build_stages(lg_zoo_builder *builder, int32_t x, int depth, const lg_zoo_size *size,
                                const lg_zoo_naming *names)
{
    const recipe *found = NULL;

    for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++)
        if (recipes[i].depth == depth)
            found = &recipes[i];
    if (!found)
        return lg_error(LEGO_ENOTFOUND, "no ResNet has depth %d", depth);
    for (int stage = 0; stage < 4; stage++) {
        const int64_t planes = size->width << stage;
        const lg_zoo_residual residual = { names, planes, found->bottleneck ? 4 * planes : planes, 1,
                                           found->bottleneck };
        char name[16];

        snprintf(name, sizeof(name), "layer%d", stage + 1);
        x = lg_zoo_residual_stage(builder, x, name, &residual, found->n_units[stage], stage == 0 ? 1 : 2);
    }
    lg_zoo_classifier(builder, x, names, size->classes);
    return LEGO_OK;
}

lego_status lg_zoo_build_resnet(lg_zoo_builder *builder, const lg_zoo_entry *entry, const lg_zoo_size *size)
{
    const lg_attrs pool = { .pool = { { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 }, 0, 0 } };
    int32_t x = lg_zoo_input(builder, size->input);

    x = lg_zoo_stem(builder, x, &lg_zoo_torchvision_names, (lg_zoo_conv){ size->width, 7, 2, 1, 0 });
    x = lg_zoo_apply(builder, x, "", "maxpool", "max_pool", &pool);
    return build_stages(builder, x, entry->depth, size, &lg_zoo_torchvision_names);
}

lego_status lg_zoo_build_resnet_cifar(lg_zoo_builder *builder, const lg_zoo_entry *entry, const lg_zoo_size *size)
{
    int32_t x = lg_zoo_input(builder, size->input);

    x = lg_zoo_stem(builder, x, &lg_zoo_cifar_names, (lg_zoo_conv){ size->width, 3, 1, 1, 0 });
    return build_stages(builder, x, entry->depth, size, &lg_zoo_cifar_names);
}
