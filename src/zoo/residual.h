/* Residual units, shared by ResNet and ResNeXt. */
#ifndef LG_ZOO_RESIDUAL_H
#define LG_ZOO_RESIDUAL_H

#include "zoo/builder.h"

/* What torchvision and the reference's CIFAR models call the same things. */
typedef struct lg_zoo_naming {
    const char *shortcut;   /* module of the 1x1 shortcut: "downsample" */
    const char *relu;       /* behind the stem's convolution */
    const char *pool;       /* global average pool */
    const char *classifier; /* last linear layer */
} lg_zoo_naming;
extern const lg_zoo_naming lg_zoo_torchvision_names; /* downsample, relu, avgpool, fc */
extern const lg_zoo_naming lg_zoo_cifar_names;       /* shortcut, relu1, avg_pool2d, linear */

typedef struct lg_zoo_residual {
    const lg_zoo_naming *names;
    int64_t inner;  /* channels inside */
    int64_t out;    /* channels behind the sum */
    int64_t groups; /* of the 3x3 convolution of a bottleneck */
    int bottleneck;
} lg_zoo_residual;

/* `n_units` units "<stage>.0", "<stage>.1" ...; the first one has the stride, and a shortcut where the shape changes. */
int32_t lg_zoo_residual_stage(lg_zoo_builder *builder, int32_t x, const char *stage, const lg_zoo_residual *residual,
                              int n_units, int64_t stride);
/* conv1, bn1, relu. */
int32_t lg_zoo_stem(lg_zoo_builder *builder, int32_t x, const lg_zoo_naming *names, lg_zoo_conv conv);
/* Global average pool, flatten, linear, graph output. */
void lg_zoo_classifier(lg_zoo_builder *builder, int32_t x, const lg_zoo_naming *names, int64_t classes);

#endif
