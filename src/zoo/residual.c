/* Residual units: BasicBlock (3x3, 3x3) and Bottleneck (1x1, 3x3, 1x1) with an identity or 1x1 shortcut. The stride of a
 * Bottleneck sits in its 3x3 layer, as in torchvision ("v1.5"). */
#include "zoo/residual.h"

#include <stdio.h>

const lg_zoo_naming lg_zoo_torchvision_names = { "downsample", "relu", "avgpool", "fc" };
const lg_zoo_naming lg_zoo_cifar_names = { "shortcut", "relu1", "avg_pool2d", "linear" };

static int32_t conv_bn(lg_zoo_builder *builder, int32_t x, const char *unit, int index, lg_zoo_conv conv)
{
    char name[32];

    snprintf(name, sizeof(name), "conv%d", index);
    x = lg_zoo_conv2d(builder, x, unit, name, conv);
    snprintf(name, sizeof(name), "bn%d", index);
    return lg_zoo_batch_norm(builder, x, unit, name);
}

static int32_t shortcut(lg_zoo_builder *builder, int32_t x, const char *unit, const lg_zoo_residual *residual,
                        int64_t stride)
{
    char prefix[96];

    if (stride == 1 && lg_zoo_channels(builder, x) == residual->out)
        return x;
    snprintf(prefix, sizeof(prefix), "%s.%s", unit, residual->names->shortcut);
    x = lg_zoo_conv2d(builder, x, prefix, "0", (lg_zoo_conv){ residual->out, 1, stride, 1, 0 });
    return lg_zoo_batch_norm(builder, x, prefix, "1");
}

static int32_t basic_unit(lg_zoo_builder *builder, int32_t x, const char *unit, const lg_zoo_residual *residual,
                          int64_t stride)
{
    int32_t y = conv_bn(builder, x, unit, 1, (lg_zoo_conv){ residual->inner, 3, stride, 1, 0 });

    y = lg_zoo_apply(builder, y, unit, "relu1", "relu", NULL);
    y = conv_bn(builder, y, unit, 2, (lg_zoo_conv){ residual->out, 3, 1, 1, 0 });
    y = lg_zoo_add(builder, y, shortcut(builder, x, unit, residual, stride), unit, "add");
    return lg_zoo_apply(builder, y, unit, "relu2", "relu", NULL);
}

static int32_t bottleneck_unit(lg_zoo_builder *builder, int32_t x, const char *unit, const lg_zoo_residual *residual,
                               int64_t stride)
{
    int32_t y = conv_bn(builder, x, unit, 1, (lg_zoo_conv){ residual->inner, 1, 1, 1, 0 });

    y = lg_zoo_apply(builder, y, unit, "relu1", "relu", NULL);
    y = conv_bn(builder, y, unit, 2, (lg_zoo_conv){ residual->inner, 3, stride, residual->groups, 0 });
    y = lg_zoo_apply(builder, y, unit, "relu2", "relu", NULL);
    y = conv_bn(builder, y, unit, 3, (lg_zoo_conv){ residual->out, 1, 1, 1, 0 });
    y = lg_zoo_add(builder, y, shortcut(builder, x, unit, residual, stride), unit, "add");
    return lg_zoo_apply(builder, y, unit, "relu3", "relu", NULL);
}

int32_t lg_zoo_residual_stage(lg_zoo_builder *builder, int32_t x, const char *stage, const lg_zoo_residual *residual,
                              int n_units, int64_t stride)
{
    for (int i = 0; i < n_units; i++) {
        char unit[64];

        snprintf(unit, sizeof(unit), "%s.%d", stage, i);
        x = residual->bottleneck ? bottleneck_unit(builder, x, unit, residual, i == 0 ? stride : 1)
                                 : basic_unit(builder, x, unit, residual, i == 0 ? stride : 1);
    }
    return x;
}

int32_t lg_zoo_stem(lg_zoo_builder *builder, int32_t x, const lg_zoo_naming *names, lg_zoo_conv conv)
{
    x = conv_bn(builder, x, "", 1, conv);
    return lg_zoo_apply(builder, x, "", names->relu, "relu", NULL);
}

void lg_zoo_classifier(lg_zoo_builder *builder, int32_t x, const lg_zoo_naming *names, int64_t classes)
{
    x = lg_zoo_apply(builder, x, "", names->pool, "adaptive_avg_pool", NULL);
    x = lg_zoo_apply(builder, x, "", "flatten", "flatten", NULL);
    lg_zoo_output(builder, lg_zoo_linear(builder, x, "", names->classifier, classes));
}
