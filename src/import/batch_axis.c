/* Where the batch is in a value of a file, and where reshaping, permuting and broadcasting take it.
 *
 * What everything rests on: in row-major order a sample's elements stand in runs. If `ahead` is the product of everything
 * in front of the batch, then element (a, n, c) of the file, a < ahead, is element (n, a, c) of the graph. A reshape keeps
 * the order of elements, so in the new shape, too, the batch must come behind exactly `ahead` elements; with a batch of 2
 * or more there is at most one dim where that is so, and the graph's reshape is one of each sample. */
#include "import/batch_axis.h"

#include <string.h>

#include "graph/ops/common.h"

lg_place lg_place_at(const lg_shape *shape, int dim, int64_t batch)
{
    lg_place place = { *shape, dim, 1, 1 };

    place.shape.dims[dim] = batch;
    return place;
}

/* Axes of the graph for the dim that holds the batch: none, one or both of `before` and `behind`. */
static int axes_beside(const lg_place *place)
{
    return (place->before > 1) + (place->behind > 1);
}

int lg_place_fits(const lg_place *place)
{
    return place->shape.n_dims + (place->dim == LG_NONE) + axes_beside(place) <= LEGO_MAX_DIMS;
}

lg_shape lg_place_graph_shape(const lg_place *place)
{
    lg_shape out = { 1, { LG_BATCH } };

    for (int i = 0; i < place->shape.n_dims; i++) {
        if (i != place->dim) {
            out.dims[out.n_dims++] = place->shape.dims[i];
            continue;
        }
        if (place->before > 1)
            out.dims[out.n_dims++] = place->before;
        if (place->behind > 1)
            out.dims[out.n_dims++] = place->behind;
    }
    return out;
}

int lg_place_axis(const lg_place *place, int dim)
{
    if (place->dim == LG_NONE || dim < place->dim)
        return dim + 1;
    return dim == place->dim ? 0 : dim + axes_beside(place);
}

int lg_place_is_first(const lg_place *place)
{
    return place->dim == 0 && place->before == 1 && place->behind == 1;
}

/* Elements in front of the batch; those of the whole value where no dim holds it. */
static int64_t elements_ahead(const lg_place *place)
{
    int64_t ahead = 1;

    for (int i = 0; i < place->dim; i++)
        ahead = lg_mul_sat(ahead, place->shape.dims[i]);
    return lg_mul_sat(ahead, place->before);
}

/* With a batch of 1: the first dim of extent 1 behind as many elements, else none; from nowhere, the first of extent 1. */
static void place_one(lg_place *out, const lg_place *in)
{
    const int64_t ahead = in->dim == LG_NONE ? LG_NONE : elements_ahead(in);
    int64_t outer = 1;

    for (int i = 0; i < out->shape.n_dims; i++) {
        if (out->shape.dims[i] == 1 && (ahead == LG_NONE || outer == ahead)) {
            out->dim = i;
            return;
        }
        outer = lg_mul_sat(outer, out->shape.dims[i]);
    }
}

int lg_place_reshape(lg_place *out, const lg_place *in, const lg_shape *to, int64_t batch)
{
    const int64_t ahead = elements_ahead(in);
    int64_t outer = 1;

    *out = (lg_place){ *to, LG_NONE, 1, 1 };
    if (batch == 1) {
        place_one(out, in);
        return lg_place_fits(out);
    }
    for (int i = 0; i < to->n_dims && outer <= ahead && outer > 0; i++) {
        const int64_t before = ahead / outer, group = lg_mul_sat(before, batch);

        if (ahead % outer == 0 && to->dims[i] > 0 && to->dims[i] % group == 0) {
            out->dim = i;
            out->before = before;
            out->behind = to->dims[i] / group;
            return lg_place_fits(out);
        }
        outer = lg_mul_sat(outer, to->dims[i]);
    }
    return 0;
}

void lg_place_permute(lg_place *out, lg_dims *axes, const lg_place *in, const int64_t *order)
{
    *out = *in;
    axes->n = 0;
    for (int i = 0; i < in->shape.n_dims; i++) {
        const int from = (int)order[i];

        out->shape.dims[i] = in->shape.dims[from];
        if (from != in->dim) {
            axes->dims[axes->n++] = lg_place_axis(in, from);
            continue;
        }
        out->dim = i;
        for (int k = 0; k < axes_beside(in); k++)
            axes->dims[axes->n++] = from + 1 + k;
    }
}

lg_place lg_place_widen(const lg_place *in, int n_dims)
{
    const int lead = n_dims - in->shape.n_dims;
    lg_place out = *in;

    for (int i = n_dims - 1; i >= 0; i--)
        out.shape.dims[i] = i < lead ? 1 : in->shape.dims[i - lead];
    out.shape.n_dims = n_dims;
    if (in->dim != LG_NONE)
        out.dim = in->dim + lead;
    return out;
}

lg_place lg_place_reduced(const lg_place *in, unsigned dims, int keep)
{
    lg_place out = *in;

    out.shape.n_dims = 0;
    for (int i = 0; i < in->shape.n_dims; i++) {
        if (i == in->dim)
            out.dim = out.shape.n_dims;
        if (keep || !(dims >> i & 1))
            out.shape.dims[out.shape.n_dims++] = dims >> i & 1 ? 1 : in->shape.dims[i];
    }
    return out;
}

lg_place lg_place_without(const lg_place *in)
{
    lg_place out = *in;

    out.dim = LG_NONE;
    return out;
}

lg_place lg_place_first_of_one(const lg_place *in)
{
    lg_place out = *in;

    out.dim = in->shape.n_dims > 0 && in->shape.dims[0] == 1 ? 0 : LG_NONE;
    return out;
}

int lg_place_meet(lg_place *out, const lg_place *a, const lg_place *b, int64_t batch)
{
    if (batch == 1) {
        *out = *a;
        if (a->dim != b->dim)
            out->dim = LG_NONE;
    } else if (a->dim == b->dim && a->before == b->before && a->behind == b->behind) {
        *out = *a;
    } else {
        return 0;
    }
    for (int i = 0; i < out->shape.n_dims; i++)
        if (out->shape.dims[i] == 1)
            out->shape.dims[i] = b->shape.dims[i];
    return 1;
}

/* The first of `batch` equal parts of a constant (before, batch, behind, rest); 0 if they are not equal. */
static int first_sample(float *out, const float *in, int64_t ahead, int64_t batch, int64_t behind)
{
    for (int64_t a = 0; a < ahead; a++, in += batch * behind, out += behind) {
        memcpy(out, in, (size_t)behind * sizeof(*out));
        for (int64_t n = 1; n < batch; n++)
            if (memcmp(in, in + n * behind, (size_t)behind * sizeof(*in)) != 0)
                return 0;
    }
    return 1;
}

lego_status lg_place_sample(lego_tensor *out, const lego_tensor *tensor, const char *name, const lg_place *place,
                            int64_t batch)
{
    lg_place own = *place; /* the constant's extents under the value's dims */
    lg_shape shape;
    int64_t ahead = 1, behind = 1, count;
    lego_status status = LEGO_OK;

    for (int i = 0; i < place->shape.n_dims; i++) {
        const int k = i - (place->shape.n_dims - tensor->shape.n_dims);

        own.shape.dims[i] = k < 0 ? 1 : tensor->shape.dims[k];
        if (i < place->dim)
            ahead = lg_mul_sat(ahead, own.shape.dims[i]);
        else if (i > place->dim)
            behind = lg_mul_sat(behind, own.shape.dims[i]);
    }
    if (own.dim != LG_NONE && own.shape.dims[own.dim] != 1) {
        shape = lg_place_graph_shape(&own);
        shape = lg_shape_make(shape.n_dims - 1, shape.dims + 1);
        LG_TRY(lg_shape_count(&count, &shape, name));
        LG_TRY(lg_tensor_init(out, LEGO_DTYPE_F32, &shape));
        if (!first_sample(lg_tensor_data(out), lg_tensor_data(tensor), ahead * own.before, batch,
                          own.behind * behind))
            LG_FAIL(LEGO_EUNSUPPORTED, "constant '%s' does not have the same elements for every sample of the batch",
                    name);
        goto done;
    }
    lg_tensor_share(out, tensor);
    out->shape.n_dims = 0;
    for (int i = 0; i < own.shape.n_dims; i++)
        for (int k = 0; k < (i != own.dim ? 1 : (own.before > 1) + (own.behind > 1)); k++)
            out->shape.dims[out->shape.n_dims++] = own.shape.dims[i];
done:
    return status;
}

int lg_batch_is_mark(int64_t n)
{
    return n != 0 && n % LG_BATCH_MARK == 0;
}
