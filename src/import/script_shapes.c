/* Converters of TorchScript's views: what shape a view gives was recorded and need not be computed. */
#include "import/script.h"

/* Views, whatever they are called: the recorded shape says it all. */
static lego_status convert_view(lg_script_at *at)
{
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_emit_shape(&y, at, x, lg_script_output(at, 0)));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* flatten(x, start, end): the op of that name where it goes to the end, which prunes better than a reshape */
static lego_status convert_flatten(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_FLATTEN);
    const lg_script_tensor *x = lg_script_tensor_of(at, 0);
    int64_t end = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&attrs.flatten.axis, at, 1));
    LG_TRY(lg_script_int(&end, at, 2));
    if (attrs.flatten.axis < 0)
        attrs.flatten.axis += x ? x->n_dims : 0;
    if (attrs.flatten.axis < 1 || !x || (end != -1 && end != x->n_dims - 1))
        return convert_view(at);
    LG_TRY(lg_script_give_unary(at, LG_OP_FLATTEN, &attrs));
done:
    return status;
}

static lego_status emit_order(lg_script_at *at, const int64_t *order, int n)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_PERMUTE);

    if (order[0] != 0)
        return lg_script_unsupported("it moves the batch out of the first axis");
    attrs.permute.order.n = n - 1;
    for (int i = 1; i < n; i++)
        attrs.permute.order.dims[i - 1] = order[i];
    return lg_script_give_unary(at, LG_OP_PERMUTE, &attrs);
}

/* permute(x, order) */
static lego_status convert_permute(lg_script_at *at)
{
    const int n = lg_script_output(at, 0)->n_dims;
    int64_t order[LEGO_MAX_DIMS];
    lego_status status = LEGO_OK;

    if (n < 2 || n > LEGO_MAX_DIMS)
        return lg_script_unsupported("a value of %d axes", n);
    LG_TRY(lg_script_ints(order, at, 1, n));
    for (int i = 0; i < n; i++)
        order[i] += order[i] < 0 ? n : 0;
    LG_TRY(emit_order(at, order, n));
done:
    return status;
}

/* transpose(x, a, b) */
static lego_status convert_transpose(lg_script_at *at)
{
    const int n = lg_script_output(at, 0)->n_dims;
    int64_t order[LEGO_MAX_DIMS], a = 0, b = 0;
    lego_status status = LEGO_OK;

    if (n < 2 || n > LEGO_MAX_DIMS)
        return lg_script_unsupported("a value of %d axes", n);
    LG_TRY(lg_script_axis(&a, at, 1, n));
    LG_TRY(lg_script_axis(&b, at, 2, n));
    for (int i = 0; i < n; i++)
        order[i] = i == a ? b : i == b ? a : i;
    LG_TRY(emit_order(at, order, n));
done:
    return status;
}

/* A reshape, a permutation, and a reshape to the output: `shape` and `order` without the batch. */
static lego_status rearrange(lg_script_at *at, const lg_dims *shape, const lg_dims *order)
{
    lg_attrs split = lg_script_defaults(LG_OP_RESHAPE), swap = lg_script_defaults(LG_OP_PERMUTE);
    int32_t x, y;
    lego_status status = LEGO_OK;

    split.reshape.shape = *shape;
    swap.permute.order = *order;
    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_emit_unary(&y, at, LG_OP_RESHAPE, &split, x));
    LG_TRY(lg_script_emit_unary(&y, at, LG_OP_PERMUTE, &swap, y));
    LG_TRY(lg_script_emit_shape(&y, at, y, lg_script_output(at, 0)));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* A reshape, a swap of axes 1 and 2, a reshape: what shuffles channels of `groups` groups. */
static lego_status convert_channel_shuffle(lg_script_at *at)
{
    const lg_script_tensor *out = lg_script_output(at, 0);
    const lg_dims order = { 4, { 2, 1, 3, 4 } };
    lg_dims split;
    int64_t groups = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&groups, at, 1));
    if (out->n_dims != 4 || groups < 1 || out->dims[1] % groups != 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "%lld groups of a value of %d axes", (long long)groups, (int)out->n_dims);
    split = (lg_dims){ 4, { groups, out->dims[1] / groups, out->dims[2], out->dims[3] } };
    LG_TRY(rearrange(at, &split, &order));
done:
    return status;
}

/* (N, C, H r, W r) -> (N, C, H, r, W, r) -> (N, C, r, r, H, W) -> (N, C r r, H, W) */
static lego_status convert_pixel_unshuffle(lg_script_at *at)
{
    const lg_script_tensor *out = lg_script_output(at, 0);
    const lg_dims order = { 5, { 1, 3, 5, 2, 4 } };
    lg_dims split;
    int64_t r = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&r, at, 1));
    if (out->n_dims != 4 || r < 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "a value of %d axes", (int)out->n_dims);
    split = (lg_dims){ 5, { out->dims[1] / (r * r), out->dims[2], r, out->dims[3], r } };
    LG_TRY(rearrange(at, &split, &order));
done:
    return status;
}

/* expand(x, sizes), expand_as(x, other), broadcast_to(x, sizes): the recorded shape */
static lego_status convert_expand(lg_script_at *at)
{
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_broadcast(&y, at, x, lg_script_output(at, 0)));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* (N, C r r, H, W) -> (N, C, r, r, H, W) -> (N, C, H, r, W, r) -> (N, C, H r, W r) */
static lego_status convert_pixel_shuffle(lg_script_at *at)
{
    const lg_script_tensor *out = lg_script_output(at, 0);
    const lg_dims order = { 5, { 1, 4, 2, 5, 3 } };
    lg_dims split;
    int64_t r = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&r, at, 1));
    if (out->n_dims != 4 || r < 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "a value of %d axes", (int)out->n_dims);
    split = (lg_dims){ 5, { out->dims[1], r, r, out->dims[2] / r, out->dims[3] / r } };
    LG_TRY(rearrange(at, &split, &order));
done:
    return status;
}

const lg_script_op lg_script_shape_ops[] = {
    { "flatten", convert_flatten },
    { "view", convert_view },
    { "reshape", convert_view },
    { "_reshape_alias", convert_view },
    { "_unsafe_view", convert_view },
    { "unflatten", convert_view },
    { "view_as", convert_view },
    { "reshape_as", convert_view },
    { "read_as", convert_view },
    { "squeeze", convert_view },
    { "unsqueeze", convert_view },
    { "permute", convert_permute },
    { "transpose", convert_transpose },
    { "swapaxes", convert_transpose },
    { "swapdims", convert_transpose },
    { "channel_shuffle", convert_channel_shuffle },
    { "pixel_shuffle", convert_pixel_shuffle },
    { "pixel_unshuffle", convert_pixel_unshuffle },
    { "expand", convert_expand },
    { "expand_as", convert_expand },
    { "broadcast_to", convert_expand },
    { NULL, NULL },
};
