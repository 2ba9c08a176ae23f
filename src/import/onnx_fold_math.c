/* Constant folding, the part that calculates: element by element, with shapes that broadcast.
 *
 * The batch (LG_ONNX_BATCH) may be chosen (Where) and compared with what no batch can be (Equal with -1, as torch's expand()
 * does), but not calculated with. */
#include "import/onnx_fold.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

#define MAX_OPERANDS 3

/* Constants whose shapes broadcast to one, and a walk over its elements. */
typedef struct operands {
    int n;
    const lego_tensor *in[MAX_OPERANDS];
    lg_shape shape;
    int64_t at[LEGO_MAX_DIMS];   /* coordinates of the element */
    int64_t from[MAX_OPERANDS];  /* its index in each operand */
} operands;

/* Widen `shape` to what it and `other` broadcast to, aligned at the last axis. */
static int broadcast(lg_shape *shape, const lg_shape *other)
{
    lg_shape wide = shape->n_dims >= other->n_dims ? *shape : *other;

    for (int i = 1; i <= wide.n_dims; i++) {
        const int64_t a = i <= shape->n_dims ? shape->dims[shape->n_dims - i] : 1;
        const int64_t b = i <= other->n_dims ? other->dims[other->n_dims - i] : 1;

        if (a != b && a != 1 && b != 1)
            return 0;
        wide.dims[wide.n_dims - i] = a == 1 ? b : a;
    }
    *shape = wide;
    return 1;
}

static lego_status read_operands(operands *all, const lg_onnx_node *node, int n)
{
    lego_status status = LEGO_OK;

    *all = (operands){ .n = n };
    for (int i = 0; i < n; i++) {
        LG_TRY(lg_fold_input(&all->in[i], node, i));
        if (!broadcast(&all->shape, &all->in[i]->shape))
            return lg_onnx_malformed(node, "the constants' shapes do not fit");
    }
done:
    return status;
}

/* Step to the next element. */
static void advance(operands *all)
{
    for (int i = all->shape.n_dims - 1; i >= 0 && ++all->at[i] == all->shape.dims[i]; i--)
        all->at[i] = 0;
    for (int k = 0; k < all->n; k++) {
        const lg_shape *shape = &all->in[k]->shape;

        all->from[k] = 0;
        for (int i = 0; i < shape->n_dims; i++)
            all->from[k] = all->from[k] * shape->dims[i] +
                           (shape->dims[i] == 1 ? 0 : all->at[all->shape.n_dims - shape->n_dims + i]);
    }
}

/* Integers wrap around, as in every runtime; the caller refuses to divide by zero. */
static void calculate(double *number, int64_t *integer, char op, double a, double b, int64_t ai, int64_t bi)
{
    switch (op) {
    case 'A':
        *number = a + b;
        *integer = (int64_t)((uint64_t)ai + (uint64_t)bi);
        break;
    case 'S':
        *number = a - b;
        *integer = (int64_t)((uint64_t)ai - (uint64_t)bi);
        break;
    case 'M':
        *number = a * b;
        *integer = (int64_t)((uint64_t)ai * (uint64_t)bi);
        break;
    default:
        *number = a / b;
        *integer = 0;
        if (bi != 0 && !(bi == -1 && ai == INT64_MIN))
            *integer = ai / bi;
        break;
    }
}

lego_status lg_fold_binary(lego_tensor *out, lg_onnx_node *node)
{
    const char op = node->proto->op_type[0];
    operands all;
    lego_status status = LEGO_OK;

    LG_TRY(read_operands(&all, node, 2));
    for (int i = 0; i < 2; i++)
        LG_TRY(lg_fold_refuse_batch(all.in[i]));
    if (all.in[0]->dtype != all.in[1]->dtype)
        return lg_onnx_malformed(node, "%s and %s do not go together", lg_dtype_name(all.in[0]->dtype),
                                 lg_dtype_name(all.in[1]->dtype));
    LG_TRY(lg_fold_create(out, node, all.in[0]->dtype, &all.shape));
    for (int64_t n = 0; n < lg_tensor_count(out); n++, advance(&all)) {
        const int64_t a = all.from[0], b = all.from[1];
        double number = 0.0;
        int64_t integer = 0;

        if (all.in[1]->dtype != LEGO_DTYPE_F32 && op == 'D' && lg_onnx_element_int(all.in[1], b) == 0)
            return lg_onnx_malformed(node, "a division by zero");
        calculate(&number, &integer, op, lg_onnx_element(all.in[0], a), lg_onnx_element(all.in[1], b),
                  lg_onnx_element_int(all.in[0], a), lg_onnx_element_int(all.in[1], b));
        lg_fold_set(out, n, number, integer);
    }
done:
    return status;
}

lego_status lg_fold_equal(lego_tensor *out, lg_onnx_node *node)
{
    operands all;
    lego_status status = LEGO_OK;

    LG_TRY(read_operands(&all, node, 2));
    LG_TRY(lg_fold_create(out, node, LEGO_DTYPE_BOOL, &all.shape));
    for (int64_t n = 0; n < lg_tensor_count(out); n++, advance(&all)) {
        const int64_t a = lg_onnx_element_int(all.in[0], all.from[0]), b = lg_onnx_element_int(all.in[1], all.from[1]);

        if ((a == LG_ONNX_BATCH && b > 0) || (b == LG_ONNX_BATCH && a > 0))
            LG_FAIL(LEGO_EUNSUPPORTED, "it compares the size of the batch with %lld", (long long)(a > b ? a : b));
        lg_fold_set(out, n, 0.0, a == b && lg_onnx_element(all.in[0], all.from[0]) ==
                                               lg_onnx_element(all.in[1], all.from[1]));
    }
done:
    return status;
}

lego_status lg_fold_where(lego_tensor *out, lg_onnx_node *node)
{
    operands all;
    size_t size;
    lego_status status = LEGO_OK;

    LG_TRY(read_operands(&all, node, 3));
    if (all.in[1]->dtype != all.in[2]->dtype)
        return lg_onnx_malformed(node, "%s and %s do not go together", lg_dtype_name(all.in[1]->dtype),
                                 lg_dtype_name(all.in[2]->dtype));
    LG_TRY(lg_fold_create(out, node, all.in[1]->dtype, &all.shape));
    size = lg_dtype_size(out->dtype);
    for (int64_t n = 0; n < lg_tensor_count(out); n++, advance(&all)) {
        const int k = lg_onnx_element(all.in[0], all.from[0]) != 0.0 ? 1 : 2;

        memcpy((char *)lg_tensor_data(out) + (size_t)n * size,
               (const char *)lg_tensor_data(all.in[k]) + (size_t)all.from[k] * size, size);
    }
done:
    return status;
}

lego_status lg_fold_round(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    const int up = node->proto->op_type[0] == 'C';
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    if (in->dtype != LEGO_DTYPE_F32)
        return lg_onnx_malformed(node, "it takes FLOAT");
    LG_TRY(lg_fold_create(out, node, in->dtype, &in->shape));
    for (int64_t i = 0; i < lg_tensor_count(in); i++)
        lg_fold_set(out, i, up ? ceil(lg_onnx_element(in, i)) : floor(lg_onnx_element(in, i)), 0);
done:
    return status;
}
