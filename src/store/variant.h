/* Shared by the files of the store only. */
#ifndef LG_STORE_VARIANT_H
#define LG_STORE_VARIANT_H

#include "store/store.h"

void lg_variant_dispose(lg_variant *variant);
/* Parameters, MACs, FLOPs and bytes of a graph into a variant. */
void lg_variant_measure(lg_variant *variant, const lg_graph *graph);
/* LEGO_EFORMAT unless `graph` has the inputs and outputs that the frame gives the block. */
lego_status lg_store_check_interface(const lego_store *store, int32_t block, const lg_graph *graph, const char *what);

#endif
