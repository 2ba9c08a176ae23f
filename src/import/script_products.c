/* Converters of TorchScript's matrix products, and of attention, which libtorch has as one operator: it becomes the layers,
 * products and the softmax that it is made of (Vaswani et al., "Attention Is All You Need", 2017). */
#include "import/script.h"

#include <math.h>
#include <string.h>

#define OUT_OF_SIGHT 1e30 /* taken from scores that a mask hides: their weight is zero, as that of -inf */

/* --- by a constant: layers over the last axis --- */

/* Argument i_x through a linear layer; i_bias < 0: none. */
static lego_status give_linear(lg_script_at *at, int i_x, int i_weight, lg_script_form form, int i_bias)
{
    lg_place place;
    int32_t x, y, weights[2] = { LG_NONE, LG_NONE };
    int last;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&x, &place, at, i_x));
    last = place.shape.n_dims - 1;
    if (last < 0 || lg_place_axis(&place, last) == 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "it multiplies along the axis that holds the batch");
    LG_TRY(lg_script_weight(&weights[0], at, i_weight, "weight", form));
    if (i_bias >= 0)
        LG_TRY(lg_script_weight(&weights[1], at, i_bias, "bias", LG_SCRIPT_AS_IS));
    if (weights[0] == LG_NONE)
        LG_FAIL(LEGO_EUNSUPPORTED, "no weight");
    LG_TRY(lg_script_emit(&y, at, LG_OP_LINEAR, NULL, 1, &x, 2, weights));
    place.shape.dims[last] = lg_script_output(at, 0)->dims[last];
    LG_TRY(lg_script_finish_placed(at, 0, y, &place));
done:
    return status;
}

static lego_status convert_linear(lg_script_at *at)
{
    return give_linear(at, 0, 1, LG_SCRIPT_AS_IS, 2);
}

/* addmm(bias, x, W, beta, alpha) */
static lego_status convert_addmm(lg_script_at *at)
{
    double beta = 1.0, alpha = 1.0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_number(&beta, at, 3));
    LG_TRY(lg_script_number(&alpha, at, 4));
    if (beta != 1.0 || alpha != 1.0)
        LG_FAIL(LEGO_EUNSUPPORTED, "beta %g and alpha %g; 1 and 1 are supported", beta, alpha);
    LG_TRY(give_linear(at, 1, 2, LG_SCRIPT_TRANSPOSED, 0));
done:
    return status;
}

/* --- of two values --- */

/* Tensor `index` in `place`, its axes in front of the matrix stretched to those of the product. */
static lego_status matrix_at(int32_t *value, lg_script_at *at, int64_t index, const lg_place *place)
{
    const lg_script_tensor *tensor = &at->import->script->tensors[index];
    const int n = place->shape.n_dims;
    lg_place target = *place;
    lego_status status = LEGO_OK;

    for (int i = n - 2; i < n; i++)
        target.shape.dims[i] = tensor->dims[tensor->n_dims - n + i];
    LG_TRY(lg_script_tensor_at(value, at, index, place));
    LG_TRY(lg_script_broadcast(value, at, *value, &target));
done:
    return status;
}

static lego_status give_product(lg_script_at *at)
{
    const lg_script_tensor *out = lg_script_output(at, 0);
    int64_t tensors[2];
    lg_place place;
    int32_t inputs[2], y;
    lego_status status = LEGO_OK;

    for (int i = 0; i < 2; i++) {
        if (!lg_script_tensor_of(at, i) || lg_script_tensor_of(at, i)->n_dims < 2)
            LG_FAIL(LEGO_EUNSUPPORTED, "a product with a vector");
        tensors[i] = lg_script_argument(at, i)->integer;
    }
    LG_TRY(lg_script_meeting(&place, at, tensors, 2, out->n_dims));
    if (place.dim >= out->n_dims - 2)
        LG_FAIL(LEGO_EUNSUPPORTED, "it multiplies samples of the batch");
    place.shape = lg_shape_make(out->n_dims, out->dims);
    for (int i = 0; i < 2; i++)
        LG_TRY(matrix_at(&inputs[i], at, tensors[i], &place));
    LG_TRY(lg_script_emit(&y, at, LG_OP_MATMUL, NULL, 2, inputs, 0, NULL));
    LG_TRY(lg_script_finish_placed(at, 0, y, &place));
done:
    return status;
}

static lego_status convert_matmul(lg_script_at *at)
{
    const lg_script_tensor *b = lg_script_tensor_of(at, 1);

    return b && b->data && b->n_dims == 2 ? give_linear(at, 0, 1, LG_SCRIPT_TRANSPOSED, -1) : give_product(at);
}

/* --- attention --- */

static lego_status reshape(int32_t *value, lg_script_at *at, int64_t n, const int64_t *dims)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_RESHAPE);

    attrs.reshape.shape.n = n;
    memcpy(attrs.reshape.shape.dims, dims, (size_t)n * sizeof(*dims));
    return lg_script_emit_unary(value, at, LG_OP_RESHAPE, &attrs, *value);
}

/* (N,L,E) <-> (N,heads,L,E/heads): axes 1 and 2 change places, axes 2 and 3 with `turned`. */
static lego_status swap(int32_t *value, lg_script_at *at, int64_t a, int64_t b, int64_t c)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_PERMUTE);

    attrs.permute.order = (lg_dims){ 3, { a, b, c } };
    return lg_script_emit_unary(value, at, LG_OP_PERMUTE, &attrs, *value);
}

/* softmax(scale q k + mask) v for q (...,L,D), k (...,D,S), v (...,S,D); `mask` may be LG_NONE. */
static lego_status attend(int32_t *y, lg_script_at *at, int32_t q, int32_t k, int32_t v, double scale, int32_t mask)
{
    const int n_dims = lg_script_shape(at, q)->n_dims;
    lg_attrs attrs = lg_script_defaults(LG_OP_SOFTMAX);
    int32_t factor, score;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_scalar(&factor, at, scale, n_dims));
    LG_TRY(lg_script_emit(&q, at, LG_OP_MUL, NULL, 2, (int32_t[]){ q, factor }, 0, NULL));
    LG_TRY(lg_script_emit(&score, at, LG_OP_MATMUL, NULL, 2, (int32_t[]){ q, k }, 0, NULL));
    if (mask != LG_NONE)
        LG_TRY(lg_script_emit(&score, at, LG_OP_ADD, NULL, 2, (int32_t[]){ score, mask }, 0, NULL));
    attrs.axis.axis = n_dims - 1;
    LG_TRY(lg_script_emit_unary(&score, at, LG_OP_SOFTMAX, &attrs, score));
    LG_TRY(lg_script_emit(y, at, LG_OP_MATMUL, NULL, 2, (int32_t[]){ score, v }, 0, NULL));
done:
    return status;
}

/* _native_multi_head_attention(q, k, v, embed, heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, ...) of a value
 * (N,L,E) with itself */
static lego_status convert_multi_head_attention(lg_script_at *at)
{
    static const int64_t starts[] = { 0, 1, 2, 3 };
    const int64_t x_index = lg_script_argument(at, 0)->integer;
    int64_t heads = 0, length, width;
    int32_t x, all, part[3], y, weights[2];
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_int(&heads, at, 4));
    if (lg_script_argument(at, 1)->integer != x_index || lg_script_argument(at, 2)->integer != x_index)
        LG_FAIL(LEGO_EUNSUPPORTED, "attention between different values; of a value with itself is supported");
    if (!lg_script_is_none(at, 9))
        LG_FAIL(LEGO_EUNSUPPORTED, "attention with a mask");
    if (lg_script_shape(at, x)->n_dims != 3 || heads < 1 || lg_script_shape(at, x)->dims[2] % heads != 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "attention of a value of %d axes in %lld heads",
                (int)lg_script_shape(at, x)->n_dims, (long long)heads);
    length = lg_script_shape(at, x)->dims[1];
    width = lg_script_shape(at, x)->dims[2];
    LG_TRY(lg_script_weight(&weights[0], at, 5, "in_proj_weight", LG_SCRIPT_AS_IS));
    LG_TRY(lg_script_weight(&weights[1], at, 6, "in_proj_bias", LG_SCRIPT_AS_IS));
    LG_TRY(lg_script_emit(&all, at, LG_OP_LINEAR, NULL, 1, &x, 2, weights));
    for (int i = 0; i < 3; i++) {
        const int64_t split[3] = { length, heads, width / heads };

        LG_TRY(lg_script_emit_slice(&part[i], at, all, 2, starts[i] * width, starts[i + 1] * width));
        LG_TRY(reshape(&part[i], at, 3, split));
        LG_TRY(i == 1 ? swap(&part[i], at, 2, 3, 1) : swap(&part[i], at, 2, 1, 3));
    }
    LG_TRY(attend(&y, at, part[0], part[1], part[2], 1.0 / sqrt((double)(width / heads)), LG_NONE));
    LG_TRY(swap(&y, at, 2, 1, 3));
    LG_TRY(reshape(&y, at, 2, (int64_t[]){ length, width }));
    LG_TRY(lg_script_weight(&weights[0], at, 7, "out_proj.weight", LG_SCRIPT_AS_IS));
    LG_TRY(lg_script_weight(&weights[1], at, 8, "out_proj.bias", LG_SCRIPT_AS_IS));
    LG_TRY(lg_script_emit(&all, at, LG_OP_LINEAR, NULL, 1, &y, 2, weights));
    LG_TRY(lg_script_finish(at, 0, all));
done:
    return status;
}

/* What hides scores (L,S): those that a truth value forbids, or everything behind the diagonal; LG_NONE for nothing. */
static lego_status read_mask(int32_t *mask, lg_script_at *at, const lg_place *scores, int i_causal)
{
    const lg_script_tensor *given = lg_script_tensor_of(at, 3);
    const int n = scores->shape.n_dims;
    int64_t causal = 0;
    lego_status status = LEGO_OK;

    *mask = LG_NONE;
    if (!lg_script_is_none(at, i_causal))
        LG_TRY(lg_script_int(&causal, at, i_causal));
    if (given && (given->dtype != LEGO_DTYPE_F32 || causal))
        LG_FAIL(LEGO_EUNSUPPORTED, "a mask of truth values; give one that is added");
    if (given)
        return lg_script_tensor_at(mask, at, lg_script_argument(at, 3)->integer, scores);
    if (causal)
        return lg_script_causal(mask, at, scores->shape.dims[n - 2], scores->shape.dims[n - 1], -OUT_OF_SIGHT,
                                lg_place_graph_shape(scores).n_dims);
done:
    return status;
}

/* (q, k, v, mask, dropout, ...) for q (...,L,D), k and v (...,S,D); arguments that say whether it is causal, and how scores
 * are scaled (-1: it has none) */
static lego_status dot_product_attention(lg_script_at *at, int i_causal, int i_scale)
{
    const lg_script_tensor *out = lg_script_output(at, 0), *q = lg_script_tensor_of(at, 0), *k = lg_script_tensor_of(at, 1);
    lg_attrs turn = lg_script_defaults(LG_OP_PERMUTE);
    int64_t tensors[3];
    double scale, dropout = 0.0;
    lg_place place, scores;
    int32_t parts[3], mask, y;
    int n;
    lego_status status = LEGO_OK;

    for (int i = 0; i < 3; i++) {
        if (!lg_script_tensor_of(at, i) || lg_script_tensor_of(at, i)->n_dims != out->n_dims || out->n_dims < 3)
            LG_FAIL(LEGO_EUNSUPPORTED, "values that are not matrices of equally many samples");
        tensors[i] = lg_script_argument(at, i)->integer;
    }
    LG_TRY(lg_script_meeting(&place, at, tensors, 3, out->n_dims));
    if (place.dim >= out->n_dims - 2)
        LG_FAIL(LEGO_EUNSUPPORTED, "it multiplies samples of the batch");
    if (!lg_script_is_none(at, 4))
        LG_TRY(lg_script_number(&dropout, at, 4));
    if (dropout != 0.0)
        LG_FAIL(LEGO_EUNSUPPORTED, "it drops at random even in evaluation");
    place.shape = lg_shape_make(out->n_dims, out->dims);
    scale = 1.0 / sqrt((double)q->dims[q->n_dims - 1]);
    if (i_scale >= 0 && !lg_script_is_none(at, i_scale))
        LG_TRY(lg_script_number(&scale, at, i_scale));
    for (int i = 0; i < 3; i++)
        LG_TRY(matrix_at(&parts[i], at, tensors[i], &place));
    n = lg_script_shape(at, parts[1])->n_dims;
    turn.permute.order.n = n - 1;
    for (int i = 1; i < n; i++)
        turn.permute.order.dims[i - 1] = i < n - 2 ? i : i == n - 2 ? n - 1 : n - 2;
    LG_TRY(lg_script_emit_unary(&parts[1], at, LG_OP_PERMUTE, &turn, parts[1]));
    scores = place;
    scores.shape.dims[out->n_dims - 1] = k->dims[k->n_dims - 2];
    LG_TRY(read_mask(&mask, at, &scores, i_causal));
    LG_TRY(attend(&y, at, parts[0], parts[1], parts[2], scale, mask));
    LG_TRY(lg_script_finish_placed(at, 0, y, &place));
done:
    return status;
}

static lego_status convert_dot_product_attention(lg_script_at *at)
{
    return dot_product_attention(at, 5, 6);
}

/* torch 1.13 has the same with another argument in front of `causal`. */
static lego_status convert_old_attention(lg_script_at *at)
{
    return dot_product_attention(at, 6, -1);
}

const lg_script_op lg_script_product_ops[] = {
    { "linear", convert_linear },
    { "addmm", convert_addmm },
    { "matmul", convert_matmul },
    { "mm", convert_matmul },
    { "bmm", convert_matmul },
    { "_native_multi_head_attention", convert_multi_head_attention },
    { "scaled_dot_product_attention", convert_dot_product_attention },
    { "_scaled_dot_product_attention", convert_old_attention },
    { NULL, NULL },
};
