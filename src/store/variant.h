/* Shared by the files of the store only. */
#ifndef LG_STORE_VARIANT_H
#define LG_STORE_VARIANT_H

#include "store/store.h"

/* The node of a block in a frame; NULL if there is none. */
const lg_node *lg_store_block_node(const lg_graph *frame, int32_t block);
/* How many block nodes a frame has; LEGO_EFORMAT unless their indices are 0, 1, 2 ... */
lego_status lg_store_count_blocks(int32_t *out, const lg_graph *frame);
/* LEGO_EINVAL unless the store has that block and variant. */
lego_status lg_store_check_variant(const lego_store *store, int32_t block, int32_t variant);

void lg_variant_dispose(lg_variant *variant);
/* Parameters, MACs, FLOPs and bytes of a graph into a variant. */
void lg_variant_measure(lg_variant *variant, const lg_graph *graph);
/* LEGO_EFORMAT unless `graph` has the inputs and outputs that the frame gives the block. */
lego_status lg_store_check_interface(const lego_store *store, int32_t block, const lg_graph *graph, const char *what);

#endif
