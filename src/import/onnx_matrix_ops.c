/* Converters of matrix products. Times a constant: a linear layer over the last axis, wherever the batch is. Times a value:
 * a product of each sample, whose batch both must have on the same axis in front of the matrices. */
#include "import/onnx.h"

#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"

/* (R,C) -> (C,R), each element times `factor`. */
static lego_status transpose(lego_tensor *out, const lego_tensor *in, double factor)
{
    const int64_t rows = in->shape.dims[0], columns = in->shape.dims[1];
    const lg_shape shape = { 2, { columns, rows } };
    const float *from = lg_tensor_data(in);
    float *to;
    lego_status status = LEGO_OK;

    LG_TRY(lg_tensor_init(out, LEGO_DTYPE_F32, &shape));
    to = lg_tensor_data(out);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            to[c * rows + r] = (float)(factor * (double)from[r * columns + c]);
done:
    return status;
}

static lego_status scaled(lego_tensor *out, const lego_tensor *in, double factor)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_tensor_copy(out, in));
    for (int64_t i = 0; i < lg_tensor_count(out); i++)
        ((float *)lg_tensor_data(out))[i] = (float)(factor * (double)((float *)lg_tensor_data(out))[i]);
done:
    return status;
}

/* C of Gemm: a number, or one for each output, times beta. */
static lego_status gemm_bias(int32_t *weight, lg_onnx_node *node, int64_t n_out, double beta)
{
    const lego_tensor *c;
    const lg_shape shape = { 1, { n_out } };
    lego_tensor bias = { 0 };
    int64_t n;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_weight_tensor(&c, node, 2, -1));
    n = lg_tensor_count(c);
    if ((n != 1 && n != n_out) || c->shape.n_dims > 2 || (n == n_out && n != 1 && c->shape.dims[c->shape.n_dims - 1] != n))
        LG_FAIL(LEGO_EUNSUPPORTED, "C '%s' differs between the samples of the batch", node->proto->input[2]);
    if (beta == 1.0 && c->shape.n_dims == 1 && n == n_out) {
        LG_TRY(lg_onnx_weight(weight, node, 2, NULL));
        goto done;
    }
    LG_TRY(lg_tensor_init(&bias, LEGO_DTYPE_F32, &shape));
    for (int64_t i = 0; i < n_out; i++)
        ((float *)lg_tensor_data(&bias))[i] = (float)(beta * lg_onnx_element(c, n == 1 ? 0 : i));
    LG_TRY(lg_onnx_weight(weight, node, 2, &bias));
done:
    lg_tensor_dispose(&bias);
    return status;
}

static lego_status convert_gemm(lg_onnx_node *node)
{
    const lego_tensor *b;
    lego_tensor weight = { 0 };
    double alpha, beta;
    int64_t trans_a, trans_b, axis;
    lg_place place;
    int32_t x, y, weights[2] = { LG_NONE, LG_NONE };
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    LG_TRY(lg_onnx_weight_tensor(&b, node, 1, 2));
    LG_TRY(lg_onnx_float(&alpha, node, "alpha", 1.0));
    LG_TRY(lg_onnx_float(&beta, node, "beta", 1.0));
    LG_TRY(lg_onnx_int(&trans_a, node, "transA", 0));
    LG_TRY(lg_onnx_int(&trans_b, node, "transB", 0));
    if (trans_a)
        LG_FAIL(LEGO_EUNSUPPORTED, "transA is set: the batch would not be the first axis");
    if (place.shape.n_dims != 2)
        return lg_onnx_malformed(node, "input '%s' has %d axes, 2 are needed", node->proto->input[0],
                                 (int)place.shape.n_dims);
    LG_TRY(lg_onnx_place_axis(&axis, &place, 1, "it multiplies"));
    if (!trans_b)
        LG_TRY(transpose(&weight, b, alpha));
    else if (alpha != 1.0)
        LG_TRY(scaled(&weight, b, alpha));
    LG_TRY(lg_onnx_weight(&weights[0], node, 1, weight.buffer ? &weight : NULL));
    place.shape.dims[1] = b->shape.dims[trans_b ? 0 : 1];
    if (lg_onnx_input(node, 2))
        LG_TRY(gemm_bias(&weights[1], node, place.shape.dims[1], beta));
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_LINEAR, NULL, 1, &x, 2, weights));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    lg_tensor_dispose(&weight);
    return status;
}

/* The constant of a linear layer: two axes, others of extent 1 in front of them. */
static const lego_tensor *matrix_of(lg_shape *shape, const lg_onnx_node *node, int index, int n_dims)
{
    const lg_onnx_value *value = lg_onnx_input(node, index);
    const lg_shape *in = value && value->is_constant ? &value->constant.shape : NULL;

    if (!in || in->n_dims < 2 || in->n_dims > n_dims || value->constant.dtype != LEGO_DTYPE_F32)
        return NULL;
    for (int i = 0; i < in->n_dims - 2; i++)
        if (in->dims[i] != 1)
            return NULL;
    *shape = (lg_shape){ 2, { in->dims[in->n_dims - 2], in->dims[in->n_dims - 1] } };
    return &value->constant;
}

/* x (...,K) times a constant (K,P), and a bias (P) where a pattern found one (input 2). */
static lego_status give_linear(lg_onnx_node *node, const lego_tensor *constant, const lg_shape *shape)
{
    lego_tensor matrix = { 0 }, weight = { 0 };
    lg_place place;
    int64_t axis;
    int32_t x, y, weights[2] = { LG_NONE, LG_NONE };
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    LG_TRY(lg_onnx_place_axis(&axis, &place, place.shape.n_dims - 1, "it multiplies"));
    lg_tensor_share(&matrix, constant);
    matrix.shape = *shape;
    LG_TRY(transpose(&weight, &matrix, 1.0));
    LG_TRY(lg_onnx_weight(&weights[0], node, 1, &weight));
    if (lg_onnx_input(node, 2))
        LG_TRY(lg_onnx_weight(&weights[1], node, 2, NULL));
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_LINEAR, NULL, 1, &x, 2, weights));
    place.shape.dims[place.shape.n_dims - 1] = shape->dims[1];
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    lg_tensor_dispose(&matrix);
    lg_tensor_dispose(&weight);
    return status;
}

/* The last two axes of a value change places. */
static lego_status swap_last(int32_t *value, lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_PERMUTE);
    const int n = lg_onnx_shape(node, *value)->n_dims - 1;

    attrs.permute.order.n = n;
    for (int i = 0; i < n; i++)
        attrs.permute.order.dims[i] = i < n - 2 ? i + 1 : i == n - 2 ? n : n - 1;
    return lg_onnx_emit(value, node, LG_OP_PERMUTE, &attrs, *value);
}

/* A constant (M,K) times x (...,K,P): a linear layer over the axis before the last. */
static lego_status give_left_linear(lg_onnx_node *node, const lego_tensor *constant, const lg_shape *shape)
{
    lego_tensor matrix = { 0 };
    lg_place place;
    int64_t axis;
    int32_t x, y, weights[2] = { LG_NONE, LG_NONE };
    int n;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &place, node, 1));
    n = place.shape.n_dims;
    for (int i = n - 2; i < n; i++)
        LG_TRY(lg_onnx_place_axis(&axis, &place, i, "it multiplies"));
    lg_tensor_share(&matrix, constant);
    matrix.shape = *shape;
    LG_TRY(lg_onnx_weight(&weights[0], node, 0, &matrix));
    LG_TRY(swap_last(&x, node));
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_LINEAR, NULL, 1, &x, 2, weights));
    LG_TRY(swap_last(&y, node));
    place.shape.dims[n - 2] = shape->dims[0];
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    lg_tensor_dispose(&matrix);
    return status;
}

/* Where the axes in front of both matrices meet; the last two axes are those of the product. */
static lego_status product_place(lg_place *out, const lg_onnx_node *node)
{
    lg_place wide[2];
    lg_shape lead[2], inner[2];
    int n_dims = 0, found = 0;

    for (int i = 0; i < 2; i++) {
        const lg_onnx_value *value = lg_onnx_input(node, i);

        if (!value)
            return lg_onnx_malformed(node, "input %d is missing", i);
        inner[i] = value->is_constant ? value->constant.shape : value->place.shape;
        if (inner[i].n_dims < 2)
            return lg_onnx_unsupported("a product with '%s', which has %d axes", value->name, (int)inner[i].n_dims);
        n_dims = inner[i].n_dims > n_dims ? inner[i].n_dims : n_dims;
    }
    for (int i = 0; i < 2; i++) {
        const lg_onnx_value *value = lg_onnx_input(node, i);

        lead[i] = inner[i];
        lead[i].n_dims -= 2;
        if (value->is_constant)
            continue;
        wide[found] = lg_place_widen(&value->place, n_dims);
        if (node->import->batch != 1 && wide[found].dim >= n_dims - 2)
            return lg_onnx_unsupported("it multiplies samples of the batch in '%s'", value->name);
        found++;
    }
    if (!lg_onnx_broadcast(&lead[0], &lead[1]) ||
        inner[0].dims[inner[0].n_dims - 1] != inner[1].dims[inner[1].n_dims - 2])
        return lg_onnx_malformed(node, "the shapes do not fit");
    *out = wide[0];
    if (found == 2 && !lg_place_meet(out, &wide[0], &wide[1], node->import->batch))
        return lg_onnx_unsupported("the batch is on different axes of the two matrices");
    if (out->dim >= n_dims - 2 || (node->import->batch == 1 && out->dim != LG_NONE && lead[0].dims[out->dim] != 1))
        out->dim = LG_NONE;
    memcpy(out->shape.dims, lead[0].dims, (size_t)lead[0].n_dims * sizeof(*lead[0].dims));
    out->shape.dims[n_dims - 2] = inner[0].dims[inner[0].n_dims - 2];
    out->shape.dims[n_dims - 1] = inner[1].dims[inner[1].n_dims - 1];
    return lg_onnx_check_place(out);
}

/* Both sides with the same axes in front, which our op wants. */
static lego_status give_product(lg_onnx_node *node)
{
    lg_place place;
    int32_t inputs[2], y;
    lego_status status = LEGO_OK;

    LG_TRY(product_place(&place, node));
    for (int i = 0; i < 2; i++) {
        const lg_onnx_value *value = lg_onnx_input(node, i);
        const lg_shape *shape = value->is_constant ? &value->constant.shape : &value->place.shape;
        const int n = place.shape.n_dims;
        lg_place own = place, target = place;

        for (int k = 0; k < n; k++) {
            const int from = k - (n - shape->n_dims);

            if (k != place.dim)
                own.shape.dims[k] = from < 0 ? 1 : shape->dims[from];
            if (k >= n - 2)
                target.shape.dims[k] = own.shape.dims[k];
        }
        LG_TRY(lg_onnx_operand_at(&inputs[i], node, i, &place));
        LG_TRY(lg_onnx_repeat(&inputs[i], node, &own, &target));
    }
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_MATMUL, NULL, 2, inputs, 0, NULL));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    return status;
}

static lego_status convert_matmul(lg_onnx_node *node)
{
    const lg_onnx_value *left = lg_onnx_input(node, 0), *right = lg_onnx_input(node, 1);
    const lego_tensor *constant;
    lg_shape shape;

    if (!left || !right)
        return lg_onnx_malformed(node, "an input is missing");
    if (!left->is_constant && (constant = matrix_of(&shape, node, 1, left->place.shape.n_dims + 1)) &&
        (left->place.shape.n_dims > 1 || right->constant.shape.n_dims == 2) && shape.dims[0] ==
        left->place.shape.dims[left->place.shape.n_dims - 1])
        return give_linear(node, constant, &shape);
    if (!right->is_constant && right->place.shape.n_dims >= 2 &&
        (constant = matrix_of(&shape, node, 0, right->place.shape.n_dims)) &&
        shape.dims[1] == right->place.shape.dims[right->place.shape.n_dims - 2])
        return give_left_linear(node, constant, &shape);
    return give_product(node);
}

/* The labels of an equation "abc,acd->abd" without its spaces, by term: two inputs and the output. */
static lego_status read_equation(char terms[3][LEGO_MAX_DIMS + 1], const lg_onnx_node *node)
{
    ProtobufCBinaryData text;
    int term = 0, n[3] = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_text(&text, node, "equation", ""));
    for (size_t i = 0; i < text.len; i++) {
        const char c = (char)text.data[i];

        if (c == ' ')
            continue;
        if ((c == ',' && term == 0) || (c == '-' && term == 1)) {
            term++;
            i += c == '-'; /* the '>' of the arrow */
        } else if (((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) && n[term] < LEGO_MAX_DIMS) {
            terms[term][n[term]++] = c;
        } else {
            LG_FAIL(LEGO_EUNSUPPORTED, "an equation other than two terms of up to %d labels and their product",
                    LEGO_MAX_DIMS);
        }
    }
    for (int i = 0; i < 3; i++)
        terms[i][n[i]] = '\0';
    if (term != 2 || n[0] < 2 || n[1] != n[0] || n[2] != n[0])
        LG_FAIL(LEGO_EUNSUPPORTED, "an equation whose terms are not three, of equally many labels");
done:
    return status;
}

/* A product of matrices behind axes that all terms have in the same order, each matrix as it is or transposed: what
 * attention writes. */
static lego_status convert_einsum(lg_onnx_node *node)
{
    char terms[3][LEGO_MAX_DIMS + 1];
    lg_place places[2], out;
    int32_t inputs[2], y;
    int lead, first, turned[2];
    char shared;
    lego_status status = LEGO_OK;

    LG_TRY(read_equation(terms, node));
    lead = (int)strlen(terms[0]) - 2;
    first = strchr(terms[1] + lead, terms[2][lead]) != NULL; /* which input has the rows of the product */
    shared = strchr(terms[first] + lead, terms[2][lead]) == terms[first] + lead ? terms[first][lead + 1]
                                                                                : terms[first][lead];
    for (int i = 0; i < 2; i++) {
        const char *term = terms[i == 0 ? first : !first], own = terms[2][lead + i];

        turned[i] = term[lead + i] != own; /* (rows,shared) times (shared,columns) */
        if (memcmp(term, terms[2], (size_t)lead) != 0 || term[lead + (i != turned[i])] != own ||
            term[lead + (i == turned[i])] != shared || own == shared)
            LG_FAIL(LEGO_EUNSUPPORTED, "equation '%s,%s->%s' is no product of matrices", terms[0], terms[1], terms[2]);
        LG_TRY(lg_onnx_placed(&inputs[i], &places[i], node, i == 0 ? first : !first));
        if (places[i].shape.n_dims != lead + 2)
            return lg_onnx_malformed(node, "an input has %d axes, its term %d", (int)places[i].shape.n_dims, lead + 2);
    }
    if (!lg_place_meet(&out, &places[0], &places[1], node->import->batch) || out.dim >= lead)
        LG_FAIL(LEGO_EUNSUPPORTED, "the batch is on different axes of the two matrices, or in them");
    for (int i = 0; i < 2; i++) {
        lg_place to = places[i];

        to.dim = out.dim;
        LG_TRY(lg_onnx_move(&inputs[i], node, &places[i], &to));
        out.shape.dims[lead + i] = places[i].shape.dims[lead + (i != turned[i])];
        if (turned[i])
            LG_TRY(swap_last(&inputs[i], node));
    }
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_MATMUL, NULL, 2, inputs, 0, NULL));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &out));
done:
    return status;
}

const lg_onnx_op lg_onnx_matrix_ops[] = {
    { "Einsum", convert_einsum },
    { "Gemm", convert_gemm },
    { "MatMul", convert_matmul },
    { NULL, NULL },
};
