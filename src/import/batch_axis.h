/* Where the batch is in a value of a file.
 *
 * In our graphs the batch is axis 0 of every value. Files put it where they like: attention moves it to the second axis
 * (L,N,E), merges it with the heads (N*heads,L,E) or with the windows of an image (N*windows,L,E). A place says which
 * dim of the file's value holds it, and with what else: dims[dim] = before * batch * behind, row-major. The graph's value
 * is the file's with the batch moved to the front: (N, dims ahead of dim, before, behind, dims after dim), where `before`
 * and `behind` are left out if they are 1.
 *
 * `batch` is what the file was written for. Open, it is LG_BATCH_MARK, a prime that no honest extent is a multiple of, so
 * that a product which holds the batch is told apart by division. A batch of 1 multiplies nothing and could be anywhere:
 * such a file describes what happens to one sample, and its values may have no axis for the batch at all (dim = LG_NONE).
 * An axis of extent 1 is then taken for it where convolutions will want it. */
#ifndef LG_IMPORT_BATCH_AXIS_H
#define LG_IMPORT_BATCH_AXIS_H

#include "graph/ops.h"

#define LG_BATCH_MARK 1000003

typedef struct lg_place {
    lg_shape shape;         /* of the file's value, the batch among its extents */
    int32_t dim;            /* which holds the batch; LG_NONE: none (batch 1) */
    int64_t before, behind; /* dims[dim] = before * batch * behind */
} lg_place;

/* The batch alone in `dim` of this shape, whose extent there is set. */
lg_place lg_place_at(const lg_shape *shape, int dim, int64_t batch);
/* The value as the graph has it. */
lg_shape lg_place_graph_shape(const lg_place *place);
/* Whether the graph's value has at most LEGO_MAX_DIMS axes; places that do not fit are of no use. */
int lg_place_fits(const lg_place *place);
/* The graph's axis for a dim of the file; 0 if that dim holds the batch. */
int lg_place_axis(const lg_place *place, int dim);
/* Whether the batch is alone in the first dim: graph and file have the same axes. */
int lg_place_is_first(const lg_place *place);

/* The same elements under another shape, of equally many. In the graph, too, it is a reshape. 0 if the batch would no
 * longer be a factor of one dim, or the place not fit. */
int lg_place_reshape(lg_place *out, const lg_place *in, const lg_shape *to, int64_t batch);
/* Output dim i is input dim order[i]; `axes` is the order of the graph's axes, the batch left out (op permute). */
void lg_place_permute(lg_place *out, lg_dims *axes, const lg_place *in, const int64_t *order);
/* The dims of the bits, none of them the batch's, reduced: to 1 (keep), or gone. */
lg_place lg_place_reduced(const lg_place *in, unsigned dims, int keep);
/* Dims of extent 1 in front, up to n_dims. */
lg_place lg_place_widen(const lg_place *in, int n_dims);
/* For a batch of 1: no dim is the batch any more, or the first is, if it has an extent of 1. */
lg_place lg_place_without(const lg_place *in);
lg_place lg_place_first_of_one(const lg_place *in);
/* Where `a` and `b`, equally wide, can meet element by element. 0: nowhere, samples would be mixed. */
int lg_place_meet(lg_place *out, const lg_place *a, const lg_place *b, int64_t batch);

/* A constant F32 that meets a value in this place, without the batch: LEGO_EUNSUPPORTED, naming it, if it is not the same
 * for every sample. Its storage may be shared. */
lego_status lg_place_sample(lego_tensor *out, const lego_tensor *tensor, const char *name, const lg_place *place,
                            int64_t batch);

/* Sizes that were calculated from a value's shape: `n` is a multiple of the mark. */
int lg_batch_is_mark(int64_t n);

#endif
