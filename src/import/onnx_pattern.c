/* Patterns: ops that exporters write as several nodes become one again, before anything is converted.
 *
 *   Gelu                x * 0.5 * (1 + erf(x / sqrt 2))                       torch up to opset 19
 *   LayerNormalization  (x - mean) / sqrt(mean((x - mean)^2) + eps) * w + b   torch up to opset 16
 *   GroupNormalization  instance norm of (N,groups,-1), then * w + b          torch
 *
 * The last node of a pattern is rewritten in the protobuf; those before it are then needed by nobody and dropped, unless
 * something else reads them. One op is faster than nine, and its channel rule knows more than that of a mean. */
#include "import/onnx.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

/* What stands behind a name: exporters give equal weights further names through Identity. */
static const lg_onnx_value *origin(const lg_onnx *import, const char *name)
{
    const lg_onnx_value *value = lg_onnx_value_named(import, name);

    for (int steps = 0; value && value->producer != LG_NONE && steps < 8; steps++) {
        const lg_onnx_proto *node = import->proto->node[value->producer];

        if (strcmp(node->op_type, "Identity") != 0 || node->n_input != 1)
            break;
        value = lg_onnx_value_named(import, node->input[0]);
    }
    return value;
}

/* The node that makes input `index` of a node, as its first output, if it is of this op; else NULL. */
static const lg_onnx_proto *maker(const lg_onnx *import, const lg_onnx_proto *node, size_t index, const char *op)
{
    const lg_onnx_value *value = index < node->n_input ? origin(import, node->input[index]) : NULL;
    const lg_onnx_proto *found = value && value->producer != LG_NONE ? import->proto->node[value->producer] : NULL;

    return found && found != node && strcmp(found->op_type, op) == 0 && strcmp(found->output[0], value->name) == 0
               ? found
               : NULL;
}

/* Which of the two inputs of a commutative node is made by `op`; -1: none. */
static int side_made_by(const lg_onnx *import, const lg_onnx_proto *node, const char *op)
{
    for (int i = 0; i < 2 && node->n_input == 2; i++)
        if (maker(import, node, (size_t)i, op))
            return i;
    return -1;
}

/* A constant of one element; NaN if it is none. */
static double number_of(const lg_onnx *import, const lg_onnx_proto *node, size_t index)
{
    const lg_onnx_value *value = index < node->n_input ? origin(import, node->input[index]) : NULL;

    return value && value->is_constant && lg_tensor_count(&value->constant) == 1
               ? lg_onnx_element(&value->constant, 0)
               : NAN;
}

/* Whether input `index` is this number, up to how exporters round. */
static int is_number(const lg_onnx *import, const lg_onnx_proto *node, size_t index, double number)
{
    return fabs(number_of(import, node, index) - number) <= 1e-4 * fabs(number);
}

static int same_input(const lg_onnx_proto *a, size_t i, const lg_onnx_proto *b, size_t k)
{
    return i < a->n_input && k < b->n_input && strcmp(a->input[i], b->input[k]) == 0;
}

/* --- rewriting --- */

static lego_status set_text(char **text, const char *to)
{
    char *copy = lg_strdup(to);

    if (!copy)
        return lg_error(LEGO_ENOMEM, "out of memory rewriting a node");
    lg_free(*text);
    *text = copy;
    return LEGO_OK;
}

/* The node becomes op(inputs ...), without attributes. The names may be the node's own. */
static lego_status rewrite(lg_onnx_proto *node, const char *op, size_t n_inputs, const char *const *inputs)
{
    char **copies = NULL;
    size_t n = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&copies, n_inputs));
    for (; n < n_inputs; n++)
        LG_TRY(LG_STRDUP(&copies[n], inputs[n]));
    LG_TRY(set_text(&node->op_type, op));
    for (size_t i = 0; i < node->n_input; i++)
        lg_free(node->input[i]);
    lg_free(node->input);
    lg_onnx_free_attributes(node);
    node->input = copies;
    node->n_input = n_inputs;
    copies = NULL;
done:
    for (size_t i = 0; copies && i < n; i++)
        lg_free(copies[i]);
    lg_free(copies);
    return status;
}

static lego_status add_attribute(Onnx__AttributeProto **out, lg_onnx_proto *node, const char *name)
{
    Onnx__AttributeProto *attribute = NULL, **list = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&list, node->n_attribute + 1));
    LG_TRY(LG_CALLOC(&attribute, 1));
    onnx__attribute_proto__init(attribute);
    LG_TRY(LG_STRDUP(&attribute->name, name));
    for (size_t i = 0; i < node->n_attribute; i++)
        list[i] = node->attribute[i];
    list[node->n_attribute++] = *out = attribute;
    lg_free(node->attribute);
    node->attribute = list;
    attribute = NULL;
    list = NULL;
done:
    lg_free(attribute);
    lg_free(list);
    return status;
}

/* --- Gelu --- */

/* erf(x / sqrt 2) + 1; returns the Div or Mul that x enters, *side where. */
static const lg_onnx_proto *gelu_gate(const lg_onnx *import, const lg_onnx_proto *add, size_t *side)
{
    const int erf_side = side_made_by(import, add, "Erf");
    const lg_onnx_proto *scaled, *erf;

    if (erf_side < 0 || !is_number(import, add, (size_t)(1 - erf_side), 1.0))
        return NULL;
    erf = maker(import, add, (size_t)erf_side, "Erf");
    *side = 0;
    scaled = maker(import, erf, 0, "Div");
    if (scaled && is_number(import, scaled, 1, sqrt(2.0)))
        return scaled;
    scaled = maker(import, erf, 0, "Mul");
    for (*side = 0; scaled && *side < 2; ++*side)
        if (is_number(import, scaled, 1 - *side, sqrt(0.5)))
            return scaled;
    return NULL;
}

/* `last` multiplies x, 0.5 and the gate in any order: (x * gate) * 0.5, (x * 0.5) * gate, x * (gate * 0.5). */
static lego_status fuse_gelu(int *done, lg_onnx *import, lg_onnx_proto *last)
{
    const lg_onnx_proto *inner, *gate, *factors[4];
    size_t sides[4], n = 0, at = 0;
    int half = 0, reads_x = 0;

    for (int i = 0; i < 2 && n == 0 && last->n_input == 2; i++)
        if ((inner = maker(import, last, (size_t)i, "Mul")) != NULL && inner->n_input == 2) {
            const lg_onnx_proto *nodes[3] = { inner, inner, last };
            const size_t indices[3] = { 0, 1, (size_t)(1 - i) };
            for (; n < 3; n++) {
                factors[n] = nodes[n];
                sides[n] = indices[n];
            }
        }
    for (size_t i = 0; i < n; i++) {
        const lg_onnx_proto *add = maker(import, factors[i], sides[i], "Add");

        if (!add || !(gate = gelu_gate(import, add, &at)))
            continue;
        for (size_t k = 0; k < n; k++) {
            half += k != i && is_number(import, factors[k], sides[k], 0.5);
            reads_x += k != i && same_input(factors[k], sides[k], gate, at);
        }
        if (half == 1 && reads_x == 1) {
            const char *const x = gate->input[at];
            *done = 1;
            return rewrite(last, "Gelu", 1, &x);
        }
    }
    return LEGO_OK;
}

/* --- LayerNormalization --- */

/* The mean over the last axes, of which there are *n. */
static int is_mean(lg_onnx *import, const lg_onnx_proto *mean, int64_t *n)
{
    const lg_onnx_node node = { import, mean, mean->name ? mean->name : "", 0, 0 };
    lg_dims axes;

    if (lg_onnx_list(&axes, &node, "axes", 1, 18) != LEGO_OK || axes.n < 1)
        return 0;
    for (int64_t i = 0; i < axes.n; i++)
        if (axes.dims[i] != i - axes.n)
            return 0;
    *n = axes.n;
    return 1;
}

/* (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps); returns the Sub. */
static const lg_onnx_proto *normalised(lg_onnx *import, const lg_onnx_proto *div, int64_t *n_axes, double *eps)
{
    const lg_onnx_proto *sub = maker(import, div, 0, "Sub"), *root = maker(import, div, 1, "Sqrt");
    const lg_onnx_proto *mean = sub ? maker(import, sub, 1, "ReduceMean") : NULL;
    const lg_onnx_proto *sum = root ? maker(import, root, 0, "Add") : NULL;
    const int side = sum ? side_made_by(import, sum, "ReduceMean") : -1;
    const lg_onnx_proto *variance, *square;
    int64_t n = 0;

    if (!mean || side < 0 || !same_input(sub, 0, mean, 0))
        return NULL;
    *eps = number_of(import, sum, (size_t)(1 - side));
    variance = maker(import, sum, (size_t)side, "ReduceMean");
    square = maker(import, variance, 0, "Pow");
    if (square && !is_number(import, square, 1, 2.0))
        return NULL;
    if (!square) {
        square = maker(import, variance, 0, "Mul");
        if (!square || !same_input(square, 0, square, 1))
            return NULL;
    }
    if (strcmp(square->input[0], sub->output[0]) != 0 || !is_mean(import, mean, n_axes) ||
        !is_mean(import, variance, &n) || n != *n_axes || !(*eps > 0.0 && *eps <= 1.0))
        return NULL;
    return sub;
}

/* `last` is x^ * weight + bias. */
static lego_status fuse_layer_norm(int *done, lg_onnx *import, lg_onnx_proto *last)
{
    const int scaled = side_made_by(import, last, "Mul");
    const lg_onnx_proto *mul = scaled < 0 ? NULL : maker(import, last, (size_t)scaled, "Mul");
    const int divided = mul ? side_made_by(import, mul, "Div") : -1;
    const lg_onnx_proto *sub = NULL;
    const char *inputs[3];
    const lg_onnx_value *weights[2];
    Onnx__AttributeProto *attribute;
    int64_t n_axes = 0;
    double eps;
    lego_status status = LEGO_OK;

    if (divided >= 0)
        sub = normalised(import, maker(import, mul, (size_t)divided, "Div"), &n_axes, &eps);
    if (!sub)
        return LEGO_OK;
    inputs[0] = sub->input[0];
    inputs[1] = mul->input[1 - divided];
    inputs[2] = last->input[1 - scaled];
    for (int i = 0; i < 2; i++) {
        weights[i] = origin(import, inputs[1 + i]);
        if (!weights[i] || !weights[i]->is_constant || weights[i]->constant.shape.n_dims != n_axes)
            return LEGO_OK;
    }
    LG_TRY(rewrite(last, "LayerNormalization", 3, inputs));
    LG_TRY(add_attribute(&attribute, last, "axis"));
    attribute->i = -n_axes;
    LG_TRY(add_attribute(&attribute, last, "epsilon"));
    attribute->f = (float)eps;
    *done = 1;
done:
    return status;
}

/* --- GroupNormalization --- */

/* What a group norm is made of; the names are the file's. Weights: one a channel, "" where there are none. */
typedef struct group_norm {
    const char *x, *weight, *bias;
    int64_t groups;
    double eps;
    lg_dims shape; /* of the result, where the file says it; n = -1 */
} group_norm;

static lego_status become_group_norm(int *done, lg_onnx_proto *node, const group_norm *norm)
{
    const char *const inputs[3] = { norm->x, norm->weight, norm->bias };
    Onnx__AttributeProto *attribute;
    lego_status status = LEGO_OK;

    LG_TRY(rewrite(node, "GroupNormalization", 3, inputs));
    LG_TRY(add_attribute(&attribute, node, "num_groups"));
    attribute->i = norm->groups;
    LG_TRY(add_attribute(&attribute, node, "epsilon"));
    attribute->f = (float)norm->eps;
    if (norm->shape.n > 0) {
        LG_TRY(add_attribute(&attribute, node, "shape"));
        LG_TRY(LG_CALLOC(&attribute->ints, norm->shape.n));
        attribute->n_ints = (size_t)norm->shape.n;
        memcpy(attribute->ints, norm->shape.dims, (size_t)norm->shape.n * sizeof(*attribute->ints));
    }
    *done = 1;
done:
    return status;
}

/* Whether input `index` is a constant of n elements, all of them this number. */
static int is_filled(const lg_onnx *import, const lg_onnx_proto *node, size_t index, int64_t n, double number)
{
    const lg_onnx_value *value = index < node->n_input ? origin(import, node->input[index]) : NULL;

    if (!value || !value->is_constant || lg_tensor_count(&value->constant) != n)
        return 0;
    for (int64_t i = 0; i < n; i++)
        if (lg_onnx_element(&value->constant, i) != number)
            return 0;
    return 1;
}

/* A constant list of extents; n = -1 if it is none. */
static void extents_of(lg_dims *out, const lg_onnx *import, const lg_onnx_proto *reshape)
{
    const lg_onnx_value *value = reshape->n_input == 2 ? origin(import, reshape->input[1]) : NULL;
    const int64_t n = value && value->is_constant ? lg_tensor_count(&value->constant) : 0;

    out->n = n > 0 && n <= LEGO_MAX_DIMS ? n : -1;
    for (int64_t i = 0; i < out->n; i++)
        out->dims[i] = lg_onnx_element_int(&value->constant, i);
}

/* `last` reshapes back what was normalised as (N,groups,-1). */
static lego_status fuse_plain_group_norm(int *done, lg_onnx *import, lg_onnx_proto *last)
{
    const lg_onnx_proto *instance = maker(import, last, 0, "InstanceNormalization"), *into, *shape;
    const lg_onnx_node node = { import, instance, "", 0, 0 };
    group_norm norm = { NULL, "", "", 0, 0.0, { -1, { 0 } } };
    lg_dims groups;
    lego_status status = LEGO_OK;

    into = instance ? maker(import, instance, 0, "Reshape") : NULL;
    if (!into)
        return LEGO_OK;
    extents_of(&groups, import, into);
    if (groups.n != 3 || groups.dims[1] < 1 || !is_filled(import, instance, 1, groups.dims[1], 1.0) ||
        !is_filled(import, instance, 2, groups.dims[1], 0.0))
        return LEGO_OK;
    norm.x = into->input[0];
    norm.groups = groups.dims[1];
    extents_of(&norm.shape, import, last);
    shape = maker(import, last, 1, "Shape");
    if (norm.shape.n < 3 && !(shape && same_input(shape, 0, into, 0)))
        return LEGO_OK;
    for (int64_t i = 1; i < norm.shape.n; i++)
        if (norm.shape.dims[i] == 0) /* an extent of (N,groups,-1) */
            return LEGO_OK;
    LG_TRY(lg_onnx_float(&norm.eps, &node, "epsilon", (double)1e-5f));
    LG_TRY(become_group_norm(done, last, &norm));
done:
    return status;
}

/* One number a channel: (C,1,...). */
static int is_by_channel(const lg_onnx *import, const lg_onnx_proto *node, size_t index)
{
    const lg_onnx_value *value = origin(import, node->input[index]);
    const lg_shape *shape = value && value->is_constant ? &value->constant.shape : NULL;
    int first = 0;

    if (!shape)
        return 0;
    while (first < shape->n_dims && shape->dims[first] == 1)
        first++;
    return first < shape->n_dims - 1 && shape->dims[first] == lg_tensor_count(&value->constant);
}

/* `last` is a group norm times its weight, or plus its bias. */
static lego_status fuse_weighted_group_norm(int *done, lg_onnx *import, lg_onnx_proto *last)
{
    const int is_weight = strcmp(last->op_type, "Mul") == 0, side = side_made_by(import, last, "GroupNormalization");
    const lg_onnx_proto *inner = side < 0 ? NULL : maker(import, last, (size_t)side, "GroupNormalization");
    const lg_onnx_node node = { import, inner, "", 0, 0 };
    group_norm norm;
    lego_status status = LEGO_OK;

    if (!inner || *inner->input[2] || (is_weight && *inner->input[1]) || !is_by_channel(import, last, (size_t)(1 - side)))
        return LEGO_OK;
    norm = (group_norm){ inner->input[0], inner->input[1], "", 0, 0.0, { -1, { 0 } } };
    *(is_weight ? &norm.weight : &norm.bias) = last->input[1 - side];
    LG_TRY(lg_onnx_int(&norm.groups, &node, "num_groups", 0));
    LG_TRY(lg_onnx_float(&norm.eps, &node, "epsilon", 0.0));
    LG_TRY(lg_onnx_ints(&norm.shape, &node, "shape"));
    LG_TRY(become_group_norm(done, last, &norm));
done:
    return status;
}

lego_status lg_onnx_fuse_patterns(lg_onnx *import)
{
    static const struct {
        const char *op; /* of the last node */
        lego_status (*fuse)(int *done, lg_onnx *import, lg_onnx_proto *last);
    } patterns[] = { { "Mul", fuse_gelu },
                     { "Add", fuse_layer_norm },
                     { "Reshape", fuse_plain_group_norm },
                     { "Mul", fuse_weighted_group_norm },
                     { "Add", fuse_weighted_group_norm } };
    lego_status status = LEGO_OK;

    for (size_t i = 0; i < import->proto->n_node; i++) {
        int done = 0;

        for (size_t p = 0; !done && p < sizeof(patterns) / sizeof(patterns[0]); p++)
            if (strcmp(import->proto->node[i]->op_type, patterns[p].op) == 0)
                LG_TRY(patterns[p].fuse(&done, import, import->proto->node[i]));
    }
done:
    return status;
}
