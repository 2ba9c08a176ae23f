/* A family builds the graph of one architecture; zoo.c lists its members by name. */
#ifndef LG_ZOO_FAMILY_H
#define LG_ZOO_FAMILY_H

#include "zoo/builder.h"

typedef struct lg_zoo_entry {
    const char *name;    /* "resnet18-cifar" */
    const char *summary; /* one line */
    lego_status (*build)(lg_zoo_builder *builder, const struct lg_zoo_entry *entry, const lg_zoo_size *size);
    int depth;           /* layers with weights, as in the name; which recipe of the family */
    lg_zoo_size defaults;
} lg_zoo_entry;

/* The graph of a name with every weight zero: lego_zoo_build() before initialisation. */
lego_status lg_zoo_graph(lg_graph **out, const char *name, const lego_zoo_options *options);

lego_status lg_zoo_build_resnet(lg_zoo_builder *builder, const lg_zoo_entry *entry, const lg_zoo_size *size);
lego_status lg_zoo_build_resnet_cifar(lg_zoo_builder *builder, const lg_zoo_entry *entry, const lg_zoo_size *size);
lego_status lg_zoo_build_resnext(lg_zoo_builder *builder, const lg_zoo_entry *entry, const lg_zoo_size *size);
lego_status lg_zoo_build_resnext_cifar(lg_zoo_builder *builder, const lg_zoo_entry *entry, const lg_zoo_size *size);
lego_status lg_zoo_build_mobilenet_v2(lg_zoo_builder *builder, const lg_zoo_entry *entry, const lg_zoo_size *size);
lego_status lg_zoo_build_mobilenet_v2_cifar(lg_zoo_builder *builder, const lg_zoo_entry *entry,
                                            const lg_zoo_size *size);

#endif
