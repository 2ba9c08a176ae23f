/* ResNeXt (Xie et al. 2016, arXiv 1611.05431): bottlenecks whose 3x3 layer is grouped. ImageNet: torchvision's
 * resnext50_32x4d. CIFAR: the reference's ResNeXt29 32x4d, three stages behind a 1x1 stem.
 *
 * `width` (64) scales the number of groups, 32 at 64, and every layer with it, so that the first stage's groups keep
 * their four channels: a narrow ResNeXt stays one. */
#include <stdio.h>

#include "graph/ops.h"
#include "zoo/family.h"
#include "zoo/residual.h"

static lego_status check_width(const lg_zoo_size *size)
{
    if (size->width % 2 != 0)
        return lg_error(LEGO_EINVAL, "width %lld is odd: a ResNeXt has width / 2 groups", (long long)size->width);
    return LEGO_OK;
}

lego_status lg_zoo_build_resnext(lg_zoo_builder *builder, const lg_zoo_entry *entry, const lg_zoo_size *size)
{
    static const int n_units[4] = { 3, 4, 6, 3 };
    const lg_attrs pool = { .pool = { { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 }, 0, 0 } };
    int32_t x = lg_zoo_input(builder, size->input);
    lego_status status = LEGO_OK;

    LG_TRY(check_width(size));
    x = lg_zoo_stem(builder, x, &lg_zoo_torchvision_names, (lg_zoo_conv){ size->width, 7, 2, 1, 0 });
    x = lg_zoo_apply(builder, x, "", "maxpool", "max_pool", &pool);
    for (int stage = 0; stage < 4; stage++) {
        const int64_t planes = size->width << stage;
        const lg_zoo_residual residual = { &lg_zoo_torchvision_names, 2 * planes, 4 * planes, size->width / 2, 1 };
        char name[16];

        snprintf(name, sizeof(name), "layer%d", stage + 1);
        x = lg_zoo_residual_stage(builder, x, name, &residual, n_units[stage], stage == 0 ? 1 : 2);
    }
    lg_zoo_classifier(builder, x, &lg_zoo_torchvision_names, size->classes);
done:
    return status;
}

lego_status lg_zoo_build_resnext_cifar(lg_zoo_builder *builder, const lg_zoo_entry *entry, const lg_zoo_size *size)
{
    int32_t x = lg_zoo_input(builder, size->input);
    lego_status status = LEGO_OK;

    LG_TRY(check_width(size));
    x = lg_zoo_stem(builder, x, &lg_zoo_cifar_names, (lg_zoo_conv){ size->width, 1, 1, 1, 0 });
    for (int stage = 0; stage < 3; stage++) {
        const int64_t inner = (2 * size->width) << stage;
        const lg_zoo_residual residual = { &lg_zoo_cifar_names, inner, 2 * inner, size->width / 2, 1 };
        char name[16];

        snprintf(name, sizeof(name), "layer%d", stage + 1);
        x = lg_zoo_residual_stage(builder, x, name, &residual, 3, stage == 0 ? 1 : 2);
    }
    lg_zoo_classifier(builder, x, &lg_zoo_cifar_names, size->classes);
done:
    return status;
}
