/* Constant folding, the part that calculates: element by element, with shapes that broadcast; sums and products over
 * axes; products of matrices.
 *
 * Sizes that hold the batch are multiples of LG_BATCH_MARK. They may be added, multiplied and divided as long as the
 * result is one again, or does not depend on the batch (N/N, N mod 1); they are larger than any number below their
 * factor, since a batch has a sample at least. Everything else would not be the same for every batch and is refused. */
#include "import/onnx_fold.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"

#define MAX_OPERANDS 3

typedef enum operation {
    OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MOD, OP_REST, OP_POW, OP_MIN, OP_MAX,      /* of two */
    OP_EQUAL, OP_LESS, OP_LESS_EQUAL, OP_GREATER, OP_GREATER_EQUAL, OP_AND, OP_OR, OP_XOR, /* of two, truth values */
    OP_NOT,                                                              /* of one, a truth value */
    OP_NEG, OP_ABS, OP_SIGN, OP_RELU, OP_FLOOR, OP_CEIL, OP_ROUND, OP_SQRT, OP_RECIPROCAL, OP_EXP, OP_LOG, OP_SIN,
    OP_COS, OP_TANH, OP_SIGMOID, OP_ERF                                  /* of one */
} operation;

static const struct {
    const char *type;
    operation op;
} operations[] = {
    { "Abs", OP_ABS }, { "Add", OP_ADD }, { "And", OP_AND }, { "Ceil", OP_CEIL }, { "Cos", OP_COS }, { "Div", OP_DIV },
    { "Equal", OP_EQUAL }, { "Erf", OP_ERF }, { "Exp", OP_EXP }, { "Floor", OP_FLOOR }, { "Greater", OP_GREATER },
    { "GreaterOrEqual", OP_GREATER_EQUAL }, { "Less", OP_LESS }, { "LessOrEqual", OP_LESS_EQUAL }, { "Log", OP_LOG },
    { "Max", OP_MAX }, { "Min", OP_MIN }, { "Mod", OP_MOD }, { "Mul", OP_MUL }, { "Neg", OP_NEG }, { "Not", OP_NOT },
    { "Or", OP_OR }, { "Pow", OP_POW }, { "Reciprocal", OP_RECIPROCAL }, { "Relu", OP_RELU }, { "Round", OP_ROUND },
    { "Sigmoid", OP_SIGMOID }, { "Sign", OP_SIGN }, { "Sin", OP_SIN }, { "Sqrt", OP_SQRT }, { "Sub", OP_SUB },
    { "Sum", OP_ADD }, { "Tanh", OP_TANH }, { "Xor", OP_XOR },
};

static operation operation_of(const lg_onnx_node *node)
{
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        if (strcmp(operations[i].type, node->proto->op_type) == 0)
            return operations[i].op;
    return OP_ADD; /* the tables below have the same names */
}

static int is_truth(operation op)
{
    return op >= OP_EQUAL && op <= OP_NOT;
}

/* --- one element --- */

typedef struct number {
    double real;     /* of a floating-point tensor */
    int64_t integer; /* of any other */
} number;

static number element(const lego_tensor *tensor, int64_t index)
{
    if (tensor->dtype == LEGO_DTYPE_F32)
        return (number){ lg_onnx_element(tensor, index), 0 };
    return (number){ 0.0, lg_onnx_element_int(tensor, index) };
}

/* Half to even, as ONNX rounds. */
static double round_even(double x)
{
    const double low = floor(x), rest = x - low;

    if (rest == 0.5)
        return fmod(low, 2.0) == 0.0 ? low : low + 1.0;
    return floor(x + 0.5);
}

static double of_reals(operation op, double a, double b)
{
    switch (op) {
    case OP_ADD: return a + b;
    case OP_SUB: return a - b;
    case OP_MUL: return a * b;
    case OP_DIV: return a / b;
    case OP_MOD:
    case OP_REST: return fmod(a, b);
    case OP_POW: return pow(a, b);
    case OP_MIN: return a < b ? a : b;
    case OP_MAX: return a > b ? a : b;
    case OP_EQUAL: return a == b;
    case OP_LESS: return a < b;
    case OP_LESS_EQUAL: return a <= b;
    case OP_GREATER: return a > b;
    case OP_GREATER_EQUAL: return a >= b;
    case OP_AND: return a != 0.0 && b != 0.0;
    case OP_OR: return a != 0.0 || b != 0.0;
    case OP_XOR: return (a != 0.0) != (b != 0.0);
    case OP_NOT: return a == 0.0;
    case OP_NEG: return -a;
    case OP_ABS: return fabs(a);
    case OP_SIGN: return (a > 0.0) - (a < 0.0);
    case OP_RELU: return a > 0.0 ? a : 0.0;
    case OP_FLOOR: return floor(a);
    case OP_CEIL: return ceil(a);
    case OP_ROUND: return round_even(a);
    case OP_SQRT: return sqrt(a);
    case OP_RECIPROCAL: return 1.0 / a;
    case OP_EXP: return exp(a);
    case OP_LOG: return log(a);
    case OP_SIN: return sin(a);
    case OP_COS: return cos(a);
    case OP_TANH: return tanh(a);
    case OP_SIGMOID: return 1.0 / (1.0 + exp(-a));
    case OP_ERF: return erf(a);
    }
    return 0.0;
}

/* Integers wrap around, as in every runtime; dividing by zero is refused before. The smallest by -1 is itself. */
static int64_t quotient(int64_t a, int64_t b)
{
    return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}

/* The sign of the dividend (C; ONNX, Mod with fmod). */
static int64_t rest_of(int64_t a, int64_t b)
{
    return b == -1 ? 0 : a % b;
}

/* The sign of the divisor (Python; ONNX, Mod without fmod). */
static int64_t modulo(int64_t a, int64_t b)
{
    const int64_t rest = rest_of(a, b);

    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static int64_t power(int64_t a, int64_t b)
{
    uint64_t result = 1, base = (uint64_t)a;

    for (; b > 0; b /= 2, base *= base)
        if (b % 2 == 1)
            result *= base;
    return (int64_t)result;
}

static int64_t of_integers(operation op, int64_t a, int64_t b)
{
    switch (op) {
    case OP_ADD: return (int64_t)((uint64_t)a + (uint64_t)b);
    case OP_SUB: return (int64_t)((uint64_t)a - (uint64_t)b);
    case OP_MUL: return (int64_t)((uint64_t)a * (uint64_t)b);
    case OP_DIV: return quotient(a, b);
    case OP_MOD: return modulo(a, b);
    case OP_REST: return rest_of(a, b);
    case OP_POW: return power(a, b);
    case OP_MIN: return a < b ? a : b;
    case OP_MAX: return a > b ? a : b;
    case OP_EQUAL: return a == b;
    case OP_LESS: return a < b;
    case OP_LESS_EQUAL: return a <= b;
    case OP_GREATER: return a > b;
    case OP_GREATER_EQUAL: return a >= b;
    case OP_AND: return a != 0 && b != 0;
    case OP_OR: return a != 0 || b != 0;
    case OP_XOR: return (a != 0) != (b != 0);
    case OP_NOT: return a == 0;
    case OP_NEG: return (int64_t)(0 - (uint64_t)a);
    case OP_ABS: return a < 0 ? (int64_t)(0 - (uint64_t)a) : a;
    case OP_SIGN: return (a > 0) - (a < 0);
    case OP_RELU: return a > 0 ? a : 0;
    default: return a; /* floor and its kin; the others take FLOAT alone */
    }
}

/* Whether the result of sizes of which one holds the batch is right for every batch. */
static int holds_for_every_batch(operation op, int64_t a, int64_t b, int64_t result)
{
    const int64_t mark = lg_batch_is_mark(a) ? a : b, other = lg_batch_is_mark(a) ? b : a;

    switch (op) {
    case OP_ADD:
    case OP_SUB:
    case OP_MUL:
    case OP_NEG:
        return result % LG_BATCH_MARK == 0;
    case OP_DIV:
        return a % b == 0;
    case OP_MOD:
    case OP_REST:
        return result == 0;
    case OP_MIN:
    case OP_MAX:
    case OP_EQUAL:
    case OP_LESS:
    case OP_LESS_EQUAL:
    case OP_GREATER:
    case OP_GREATER_EQUAL:
        return lg_batch_is_mark(other) ? mark > 0 && other > 0 : mark > 0 && other < mark / LG_BATCH_MARK;
    default:
        return 0;
    }
}

static lego_status calculate(number *out, const lg_onnx_node *node, operation op, int is_real, number a, number b)
{
    if (is_real) {
        out->real = of_reals(op, a.real, b.real);
        out->integer = out->real != 0.0; /* a truth value */
        return LEGO_OK;
    }
    if (b.integer == 0 && (op == OP_DIV || op == OP_MOD || op == OP_REST))
        return lg_onnx_malformed(node, "a division by zero");
    if (op >= OP_SQRT || (op == OP_POW && b.integer < 0))
        return lg_onnx_malformed(node, "it takes FLOAT");
    out->integer = of_integers(op, a.integer, b.integer);
    if ((lg_batch_is_mark(a.integer) || lg_batch_is_mark(b.integer)) &&
        !holds_for_every_batch(op, a.integer, b.integer, out->integer))
        return lg_onnx_unsupported("it calculates with the size of the batch");
    return LEGO_OK;
}

/* --- shapes that broadcast --- */

/* Constants whose shapes broadcast to one, and a walk over its elements. */
typedef struct operands {
    int n;
    const lego_tensor *in[MAX_OPERANDS];
    lg_shape shape;
    int64_t at[LEGO_MAX_DIMS];   /* coordinates of the element */
    int64_t from[MAX_OPERANDS];  /* its index in each operand */
} operands;

static lego_status broadcast(operands *all, const lg_onnx_node *node)
{
    for (int i = 0; i < all->n; i++)
        if (!lg_onnx_broadcast(&all->shape, &all->in[i]->shape))
            return lg_onnx_malformed(node, "the constants' shapes do not fit");
    return LEGO_OK;
}

static lego_status check_dtypes(const lg_onnx_node *node, const lego_tensor *a, const lego_tensor *b)
{
    if (a->dtype != b->dtype)
        return lg_onnx_malformed(node, "%s and %s do not go together", lg_dtype_name(a->dtype), lg_dtype_name(b->dtype));
    return LEGO_OK;
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

/* The result of `op` on `a` and `b`; NULL: on one operand. */
static lego_status apply(lego_tensor *out, const lg_onnx_node *node, operation op, const lego_tensor *a,
                         const lego_tensor *b)
{
    operands all = { b ? 2 : 1, { a, b, NULL }, { 0 }, { 0 }, { 0 } };
    const int is_real = a->dtype == LEGO_DTYPE_F32;
    number result = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(broadcast(&all, node));
    if (b && op != OP_POW)
        LG_TRY(check_dtypes(node, a, b));
    LG_TRY(lg_fold_create(out, node, is_truth(op) ? LEGO_DTYPE_BOOL : a->dtype, &all.shape));
    for (int64_t n = 0; n < lg_tensor_count(out); n++, advance(&all)) {
        const number left = element(a, all.from[0]);
        number right = b ? element(b, all.from[1]) : (number){ 0.0, 1 };

        if (b && op == OP_POW && b->dtype != a->dtype) /* the one op of two types */
            right = (number){ lg_onnx_element(b, all.from[1]), lg_onnx_element_int(b, all.from[1]) };
        LG_TRY(calculate(&result, node, op, is_real, left, right));
        lg_fold_set(out, n, result.real, result.integer);
    }
done:
    return status;
}

/* Of one, two, or (Max, Min, Sum) any number of operands. */
static lego_status fold_elements(lego_tensor *out, lg_onnx_node *node)
{
    operation op = operation_of(node);
    int64_t fmod_too;
    const int wanted = op >= OP_NOT ? 1 : 2, n = lg_onnx_n_inputs(node);
    const int is_list = op == OP_MAX || op == OP_MIN || strcmp(node->proto->op_type, "Sum") == 0;
    const lego_tensor *a, *b;
    lego_tensor next = { 0 };
    lego_status status = LEGO_OK;

    if (is_list ? n < 1 : n != wanted)
        return lg_onnx_malformed(node, "%d inputs", n);
    LG_TRY(lg_fold_input(&a, node, 0));
    LG_TRY(lg_onnx_int(&fmod_too, node, "fmod", 0));
    if (op == OP_MOD && fmod_too)
        op = OP_REST;
    if (n == 1 && wanted == 2) {
        lg_tensor_share(out, a);
    } else if (n == 1) {
        LG_TRY(apply(out, node, op, a, NULL));
    } else {
        LG_TRY(lg_fold_input(&b, node, 1));
        LG_TRY(apply(out, node, op, a, b));
    }
    for (int i = 2; i < n; i++) {
        LG_TRY(lg_fold_input(&b, node, i));
        LG_TRY(apply(&next, node, op, out, b));
        lg_tensor_dispose(out);
        *out = next;
        memset(&next, 0, sizeof(next));
    }
done:
    lg_tensor_dispose(&next);
    return status;
}

static lego_status fold_where(lego_tensor *out, lg_onnx_node *node)
{
    operands all = { .n = 3 };
    lego_status status = LEGO_OK;

    for (int i = 0; i < 3; i++)
        LG_TRY(lg_fold_input(&all.in[i], node, i));
    LG_TRY(broadcast(&all, node));
    LG_TRY(check_dtypes(node, all.in[1], all.in[2]));
    LG_TRY(lg_fold_create(out, node, all.in[1]->dtype, &all.shape));
    for (int64_t n = 0; n < lg_tensor_count(out); n++, advance(&all)) {
        const int k = lg_onnx_element(all.in[0], all.from[0]) != 0.0 ? 1 : 2;

        lg_fold_copy(out, n, all.in[k], all.from[k]);
    }
done:
    return status;
}

static lego_status fold_clip(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    double low, high;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_fold_refuse_batch(in));
    LG_TRY(lg_onnx_number(&low, node, "min", 1, 11, -INFINITY));
    LG_TRY(lg_onnx_number(&high, node, "max", 2, 11, INFINITY));
    LG_TRY(lg_fold_create(out, node, in->dtype, &in->shape));
    for (int64_t i = 0; i < lg_tensor_count(in); i++) {
        double real = lg_onnx_element(in, i);
        int64_t integer = lg_onnx_element_int(in, i);

        real = real < low ? low : real > high ? high : real;
        if (in->dtype != LEGO_DTYPE_F32 && real >= -9e15 && real <= 9e15)
            integer = (int64_t)real;
        lg_fold_set(out, i, real, integer);
    }
done:
    return status;
}

/* --- over axes --- */

/* ReduceSum and its kin; all axes if none are named. */
static lego_status fold_reduce(lego_tensor *out, lg_onnx_node *node)
{
    const char *type = node->proto->op_type + strlen("Reduce");
    const int is_sum = strcmp(type, "Sum") == 0, is_mean = strcmp(type, "Mean") == 0;
    const operation op = is_sum || is_mean ? OP_ADD : strcmp(type, "Prod") == 0 ? OP_MUL
                                                  : strcmp(type, "Max") == 0    ? OP_MAX
                                                                                : OP_MIN;
    const lego_tensor *in;
    lg_dims axes;
    lg_shape kept, shape = { 0 };
    unsigned reduced = 0;
    int64_t keep, at[LEGO_MAX_DIMS] = { 0 }, n_each = 1, count;
    uint8_t *seen = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_list(&axes, node, "axes", 1, is_sum ? 13 : 18));
    LG_TRY(lg_onnx_int(&keep, node, "keepdims", 1));
    for (int i = 0; i < axes.n; i++) {
        LG_TRY(lg_onnx_axis(&axes.dims[i], node, in->shape.n_dims));
        reduced |= 1u << axes.dims[i];
    }
    kept = in->shape;
    for (int i = 0; i < in->shape.n_dims; i++) {
        if (axes.n < 1 || (reduced >> i & 1)) {
            n_each = lg_mul_sat(n_each, in->shape.dims[i]);
            kept.dims[i] = 1;
            if (!keep)
                continue;
        }
        shape.dims[shape.n_dims++] = kept.dims[i];
    }
    if (lg_tensor_count(in) == 0 || (is_mean && in->dtype != LEGO_DTYPE_F32))
        LG_FAIL(LEGO_EUNSUPPORTED, "a reduction of no elements, or a mean of integers");
    LG_TRY(lg_fold_create(out, node, in->dtype, &shape));
    count = lg_tensor_count(out);
    LG_TRY(LG_CALLOC(&seen, (size_t)count));
    for (int64_t i = 0; i < lg_tensor_count(in); i++) {
        int64_t to = 0;
        number next = element(in, i);

        for (int k = 0; k < kept.n_dims; k++)
            to = to * kept.dims[k] + (kept.dims[k] == 1 ? 0 : at[k]);
        if (seen[to])
            LG_TRY(calculate(&next, node, op, in->dtype == LEGO_DTYPE_F32, element(out, to), next));
        seen[to] = 1;
        lg_fold_set(out, to, next.real, next.integer);
        for (int k = in->shape.n_dims - 1; k >= 0 && ++at[k] == in->shape.dims[k]; k--)
            at[k] = 0;
    }
    for (int64_t i = 0; is_mean && i < count; i++)
        lg_fold_set(out, i, lg_onnx_element(out, i) / (double)n_each, 0);
done:
    lg_free(seen);
    return status;
}

static lego_status fold_cum_sum(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    int64_t exclusive, reverse, outer, inner, extent;
    lg_dims axis;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_constant_ints(&axis, node, 1));
    LG_TRY(lg_onnx_int(&exclusive, node, "exclusive", 0));
    LG_TRY(lg_onnx_int(&reverse, node, "reverse", 0));
    if (axis.n != 1)
        return lg_onnx_malformed(node, "the axis is no number");
    LG_TRY(lg_onnx_axis(&axis.dims[0], node, in->shape.n_dims));
    LG_TRY(lg_fold_create(out, node, in->dtype, &in->shape));
    lg_fold_strides(&outer, &inner, &in->shape, (int)axis.dims[0]);
    extent = in->shape.dims[axis.dims[0]];
    for (int64_t r = 0; lg_tensor_count(in) > 0 && r < outer * inner; r++) {
        number sum = { 0 }, next;

        for (int64_t k = 0; k < extent; k++) {
            const int64_t i = (r / inner * extent + (reverse ? extent - 1 - k : k)) * inner + r % inner;

            LG_TRY(calculate(&next, node, OP_ADD, in->dtype == LEGO_DTYPE_F32, sum, element(in, i)));
            lg_fold_set(out, i, exclusive ? sum.real : next.real, exclusive ? sum.integer : next.integer);
            sum = next;
        }
    }
done:
    return status;
}

/* (...,M,K) times (K,P): position biases that a network computes from constants. */
static lego_status fold_matmul(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *a, *b;
    int64_t rows, depth, columns;
    lg_shape shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&a, node, 0));
    LG_TRY(lg_fold_input(&b, node, 1));
    if (a->dtype != LEGO_DTYPE_F32 || b->dtype != LEGO_DTYPE_F32 || a->shape.n_dims < 2 || b->shape.n_dims != 2)
        LG_FAIL(LEGO_EUNSUPPORTED, "a product of constants that are not FLOAT (...,M,K) and (K,P)");
    depth = b->shape.dims[0];
    columns = b->shape.dims[1];
    if (a->shape.dims[a->shape.n_dims - 1] != depth)
        return lg_onnx_malformed(node, "the constants' shapes do not fit");
    shape = a->shape;
    shape.dims[shape.n_dims - 1] = columns;
    LG_TRY(lg_fold_create(out, node, LEGO_DTYPE_F32, &shape));
    rows = columns > 0 ? lg_tensor_count(out) / columns : 0;
    if (lg_mul_sat(lg_mul_sat(rows, columns), depth) > node->import->fold_budget * 8)
        LG_FAIL(LEGO_EUNSUPPORTED, "a product of constants that is too large to fold");
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            double sum = 0.0;

            for (int64_t k = 0; k < depth; k++)
                sum += lg_onnx_element(a, r * depth + k) * lg_onnx_element(b, k * columns + c);
            lg_fold_set(out, r * columns + c, sum, 0);
        }
done:
    return status;
}

const lg_fold_op lg_fold_math_ops[] = {
    { "Abs", fold_elements }, { "Add", fold_elements }, { "And", fold_elements }, { "Ceil", fold_elements },
    { "Clip", fold_clip }, { "Cos", fold_elements }, { "CumSum", fold_cum_sum }, { "Div", fold_elements },
    { "Equal", fold_elements }, { "Erf", fold_elements }, { "Exp", fold_elements }, { "Floor", fold_elements },
    { "Greater", fold_elements }, { "GreaterOrEqual", fold_elements }, { "Less", fold_elements },
    { "LessOrEqual", fold_elements }, { "Log", fold_elements }, { "MatMul", fold_matmul }, { "Max", fold_elements },
    { "Min", fold_elements }, { "Mod", fold_elements }, { "Mul", fold_elements }, { "Neg", fold_elements },
    { "Not", fold_elements }, { "Or", fold_elements }, { "Pow", fold_elements }, { "Reciprocal", fold_elements },
    { "ReduceMax", fold_reduce }, { "ReduceMean", fold_reduce }, { "ReduceMin", fold_reduce },
    { "ReduceProd", fold_reduce }, { "ReduceSum", fold_reduce }, { "Relu", fold_elements }, { "Round", fold_elements },
    { "Sigmoid", fold_elements }, { "Sign", fold_elements }, { "Sin", fold_elements }, { "Sqrt", fold_elements },
    { "Sub", fold_elements }, { "Sum", fold_elements }, { "Tanh", fold_elements }, { "Where", fold_where },
    { "Xor", fold_elements },
    { NULL, NULL },
};
