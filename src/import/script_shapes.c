/* Converters of TorchScript's views: what shape a view gives was recorded and need not be computed. */
#include "import/script.h"

/* Views, whatever they are called: the recorded shape says it all. */
static lego_status convert_view(lg_script_at *at)
{
    const lg_script_tensor *out = lg_script_output(at, 0);
    const lg_shape shape = lg_shape_make(out->n_dims, out->dims);
    lg_place from, to;
    char text[128];
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&x, &from, at, 0));
    if (!lg_place_reshape(&to, &from, &shape, at->import->script->batch))
        LG_FAIL(LEGO_EUNSUPPORTED, "the batch would be torn apart, or the value have more than %d axes with it: %s",
                LEGO_MAX_DIMS, lg_shape_format(text, &shape));
    LG_TRY(lg_script_move(&x, at, &from, &to));
    LG_TRY(lg_script_finish_placed(at, 0, x, &to));
done:
    return status;
}

/* flatten(x, start, end): the op of that name where it goes to the end, which prunes better than a reshape */
static lego_status convert_flatten(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_FLATTEN);
    const lg_script_tensor *x = lg_script_tensor_of(at, 0);
    int64_t end = 0;
    lg_place place;
    int32_t value, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&value, &place, at, 0));
    LG_TRY(lg_script_int(&attrs.flatten.axis, at, 1));
    LG_TRY(lg_script_int(&end, at, 2));
    if (attrs.flatten.axis < 0)
        attrs.flatten.axis += x->n_dims;
    if (attrs.flatten.axis < 1 || !lg_place_is_first(&place) || (end != -1 && end != x->n_dims - 1))
        return convert_view(at);
    LG_TRY(lg_script_emit_unary(&y, at, LG_OP_FLATTEN, &attrs, value));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* Output axis i is input axis order[i]; where only the batch moves, the graph's value is the same. */
static lego_status give_order(lg_script_at *at, const int64_t *order)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_PERMUTE);
    lg_place from, to;
    int moves = 0;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&x, &from, at, 0));
    lg_place_permute(&to, &attrs.permute.order, &from, order);
    for (int i = 0; i < attrs.permute.order.n; i++)
        moves |= attrs.permute.order.dims[i] != i + 1;
    if (moves)
        LG_TRY(lg_script_emit_unary(&x, at, LG_OP_PERMUTE, &attrs, x));
    LG_TRY(lg_script_finish_placed(at, 0, x, &to));
done:
    return status;
}

/* permute(x, order) */
static lego_status convert_permute(lg_script_at *at)
{
    const int n = lg_script_output(at, 0)->n_dims;
    int64_t order[LEGO_MAX_DIMS];
    unsigned seen = 0;
    lego_status status = LEGO_OK;

    if (n < 1 || n > LEGO_MAX_DIMS)
        return lg_script_unsupported("a value of %d axes", n);
    LG_TRY(lg_script_ints(order, at, 1, n));
    for (int i = 0; i < n; i++) {
        order[i] += order[i] < 0 ? n : 0;
        seen |= order[i] >= 0 && order[i] < n ? 1u << order[i] : 0;
    }
    if (seen != (1u << n) - 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "no order of %d axes", n);
    LG_TRY(give_order(at, order));
done:
    return status;
}

/* transpose(x, a, b); t(x) swaps the two there are. */
static lego_status give_swapped(lg_script_at *at, int64_t a, int64_t b)
{
    const int n = lg_script_output(at, 0)->n_dims;
    int64_t order[LEGO_MAX_DIMS];

    a += a < 0 ? n : 0;
    b += b < 0 ? n : 0;
    if (n < 1 || n > LEGO_MAX_DIMS || a < 0 || a >= n || b < 0 || b >= n)
        return lg_script_unsupported("axes %lld and %lld of %d", (long long)a, (long long)b, n);
    for (int i = 0; i < n; i++)
        order[i] = i == a ? b : i == b ? a : i;
    return give_order(at, order);
}

static lego_status convert_transpose(lg_script_at *at)
{
    int64_t a = 0, b = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&a, at, 1));
    LG_TRY(lg_script_int(&b, at, 2));
    LG_TRY(give_swapped(at, a, b));
done:
    return status;
}

static lego_status convert_t(lg_script_at *at)
{
    return lg_script_output(at, 0)->n_dims < 2 ? lg_script_hand_on(at) : give_swapped(at, 0, 1);
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
    const lg_script_tensor *out = lg_script_output(at, 0);
    const int64_t tensor = lg_script_argument(at, 0)->integer;
    lg_place from, to;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&x, &from, at, 0));
    LG_TRY(lg_script_meeting(&to, at, &tensor, 1, out->n_dims));
    LG_TRY(lg_script_move(&x, at, &from, &to));
    to.shape = lg_shape_make(out->n_dims, out->dims);
    LG_TRY(lg_script_broadcast(&y, at, x, &to));
    LG_TRY(lg_script_finish_placed(at, 0, y, &to));
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
    { "t", convert_t },
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
