/* MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381): inverted residuals, 1x1 up, 3x3 depthwise, 1x1 down without an
 * activation. ImageNet: torchvision's mobilenet_v2. CIFAR: the reference's cifar/models/mobilenet_var.py, whose first two
 * strides are 1 and whose classifier has no dropout. Every width is rounded to a multiple of 8. */
#include <stdio.h>

#include "graph/ops.h"
#include "zoo/family.h"

typedef struct stage {
    int64_t expand, channels, n_units, stride;
} stage;

static const stage stages[] = {
    { 1, 16, 1, 1 }, { 6, 24, 2, 2 },  { 6, 32, 3, 2 },  { 6, 64, 4, 2 },
    { 6, 96, 3, 1 }, { 6, 160, 3, 2 }, { 6, 320, 1, 1 },
};

/* The nearest multiple of 8, but never more than 10 % below. */
static int64_t scale(double channels, double width_mult)
{
    const double wanted = channels * width_mult;
    int64_t rounded = (int64_t)(wanted + 4.0) / 8 * 8;

    if (rounded < 8)
        rounded = 8;
    return (double)rounded < 0.9 * wanted ? rounded + 8 : rounded;
}


static int32_t conv_bn_relu6(lg_zoo_builder *builder, int32_t x, const char *prefix, int first, lg_zoo_conv conv)
{
    char name[16];

    snprintf(name, sizeof(name), "%d", first);
    x = lg_zoo_conv2d(builder, x, prefix, name, conv);
    snprintf(name, sizeof(name), "%d", first + 1);
    x = lg_zoo_batch_norm(builder, x, prefix, name);
    snprintf(name, sizeof(name), "%d", first + 2);
    return lg_zoo_apply(builder, x, prefix, name, "clip", NULL);
}

/* The k-th conv-bn-relu6 of a unit: torchvision nests it ("conv.<k>.0"), the reference does not ("conv.<3k>"). */
static int32_t unit_layer(lg_zoo_builder *builder, int32_t x, const char *unit, int nested, int k,
                          lg_zoo_conv conv)
{
    char prefix[64];

    if (!nested)
        return conv_bn_relu6(builder, x, unit, 3 * k, conv);
    snprintf(prefix, sizeof(prefix), "%s.%d", unit, k);
    return conv_bn_relu6(builder, x, prefix, 0, conv);
}

static int32_t inverted_residual(lg_zoo_builder *builder, int32_t x, int index, int nested, int64_t expand,
                                 int64_t out, int64_t stride)
{
    const int64_t in = lg_zoo_channels(builder, x), hidden = in * expand;
    char unit[32], name[16], residual[32];
    int32_t y = x;
    int k = 0;

    snprintf(residual, sizeof(residual), "features.%d", index);
    snprintf(unit, sizeof(unit), "features.%d.conv", index);
    if (expand != 1)
        y = unit_layer(builder, y, unit, nested, k++, (lg_zoo_conv){ hidden, 1, 1, 1, 0 });
    y = unit_layer(builder, y, unit, nested, k++, (lg_zoo_conv){ hidden, 3, stride, hidden, 0 });
    if (!nested)
        k *= 3;
    snprintf(name, sizeof(name), "%d", k);
    y = lg_zoo_conv2d(builder, y, unit, name, (lg_zoo_conv){ out, 1, 1, 1, 0 });
    snprintf(name, sizeof(name), "%d", k + 1);
    y = lg_zoo_batch_norm(builder, y, unit, name);
    return stride == 1 && in == out ? lg_zoo_add(builder, y, x, residual, "add") : y;
}

/* Stem and inverted residuals; the stem's stride and the second stage's are given. *n_features counts the modules. */
static int32_t build_features(lg_zoo_builder *builder, const lg_zoo_size *size, int nested, int64_t stem_stride,
                              int64_t second_stride, int *n_features)
{
    int32_t x = lg_zoo_input(builder, size->input);
    int index = 1;

    x = conv_bn_relu6(builder, x, "features.0", 0, (lg_zoo_conv){ scale(32, size->width_mult), 3, stem_stride, 1, 0 });
    for (size_t s = 0; s < sizeof(stages) / sizeof(stages[0]); s++) {
        const int64_t out = scale((double)stages[s].channels, size->width_mult);

        for (int64_t i = 0; i < stages[s].n_units; i++) {
            const int64_t stride = i > 0 ? 1 : s == 1 ? second_stride : stages[s].stride;
            x = inverted_residual(builder, x, index++, nested, stages[s].expand, out, stride);
        }
    }
    *n_features = index;
    return x;
}

static int64_t last_channels(const lg_zoo_size *size)
{
    return size->width_mult > 1.0 ? scale(1280, size->width_mult) : 1280;
}

lego_status lg_zoo_build_mobilenet_v2(lg_zoo_builder *builder, const lg_zoo_entry *entry, const lg_zoo_size *size)
{
    const lg_attrs dropout = { .dropout = { 0.2 } };
    char prefix[32];
    int index;
    int32_t x = build_features(builder, size, 1, 2, 2, &index);

    snprintf(prefix, sizeof(prefix), "features.%d", index);
    x = conv_bn_relu6(builder, x, prefix, 0, (lg_zoo_conv){ last_channels(size), 1, 1, 1, 0 });
    x = lg_zoo_apply(builder, x, "", "avgpool", "adaptive_avg_pool", NULL);
    x = lg_zoo_apply(builder, x, "", "flatten", "flatten", NULL);
    x = lg_zoo_apply(builder, x, "classifier", "0", "dropout", &dropout);
    lg_zoo_output(builder, lg_zoo_linear(builder, x, "classifier", "1", size->classes));
    return LEGO_OK;
}

lego_status lg_zoo_build_mobilenet_v2_cifar(lg_zoo_builder *builder, const lg_zoo_entry *entry,
                                            const lg_zoo_size *size)
{
    int index;
    int32_t x = build_features(builder, size, 0, 1, 1, &index);

    x = conv_bn_relu6(builder, x, "conv", 0, (lg_zoo_conv){ last_channels(size), 1, 1, 1, 0 });
    x = lg_zoo_apply(builder, x, "", "avgpool", "adaptive_avg_pool", NULL);
    x = lg_zoo_apply(builder, x, "", "flatten", "flatten", NULL);
    lg_zoo_output(builder, lg_zoo_linear(builder, x, "", "classifier", size->classes));
    return LEGO_OK;
}
