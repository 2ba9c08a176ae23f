/* What a converter asks about its node, and how it appends to the graph. Everything asked comes from a file: attributes
 * may have the wrong type, inputs may be left out (an empty name), constants may have any shape. */
#include "import/onnx_fold.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"

/* --- errors --- */

lego_status lg_onnx_unsupported(const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return lg_error(LEGO_EUNSUPPORTED, "%s", text);
}

lego_status lg_onnx_malformed(const lg_onnx_node *node, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return lg_error(LEGO_EFORMAT, "node '%s' (%s): %s", node->name, node->proto->op_type, text);
}

/* --- inputs and attributes --- */

int lg_onnx_n_inputs(const lg_onnx_node *node)
{
    return (int)node->proto->n_input;
}

lg_onnx_value *lg_onnx_value_named(const lg_onnx *import, const char *name)
{
    const int32_t id = *name ? lg_name_map_find(&import->names, name) : LG_NONE;

    return id == LG_NONE ? NULL : &import->values[id];
}

lg_onnx_value *lg_onnx_input(const lg_onnx_node *node, int index)
{
    if (index < 0 || (size_t)index >= node->proto->n_input)
        return NULL;
    return lg_onnx_value_named(node->import, node->proto->input[index]);
}

const Onnx__AttributeProto *lg_onnx_attribute(const lg_onnx_node *node, const char *name)
{
    for (size_t i = 0; i < node->proto->n_attribute; i++)
        if (node->proto->attribute[i]->name && strcmp(node->proto->attribute[i]->name, name) == 0)
            return node->proto->attribute[i];
    return NULL;
}

/* The attribute with its type checked; files before IR version 2 may leave the type out. */
static lego_status find_attribute(const Onnx__AttributeProto **out, const lg_onnx_node *node, const char *name,
                                  int type)
{
    const Onnx__AttributeProto *attribute = lg_onnx_attribute(node, name);

    *out = attribute;
    if (attribute && attribute->has_type && (int)attribute->type != type)
        return lg_onnx_malformed(node, "attribute '%s' has type %d, %d is needed", name, (int)attribute->type, type);
    return LEGO_OK;
}

lego_status lg_onnx_int(int64_t *out, const lg_onnx_node *node, const char *name, int64_t fallback)
{
    const Onnx__AttributeProto *attribute;
    lego_status status = find_attribute(&attribute, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);

    *out = attribute ? attribute->i : fallback;
    return status;
}

lego_status lg_onnx_float(double *out, const lg_onnx_node *node, const char *name, double fallback)
{
    const Onnx__AttributeProto *attribute;
    lego_status status = find_attribute(&attribute, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);

    *out = attribute ? (double)attribute->f : fallback;
    return status;
}

lego_status lg_onnx_text(ProtobufCBinaryData *out, const lg_onnx_node *node, const char *name, const char *fallback)
{
    const Onnx__AttributeProto *attribute;
    lego_status status = find_attribute(&attribute, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);

    if (attribute)
        *out = attribute->s;
    else
        *out = (ProtobufCBinaryData){ strlen(fallback), (uint8_t *)(uintptr_t)fallback };
    return status;
}

int lg_onnx_text_is(const ProtobufCBinaryData *text, const char *word)
{
    return text->len == strlen(word) && (text->len == 0 || memcmp(text->data, word, text->len) == 0);
}

lego_status lg_onnx_ints(lg_dims *out, const lg_onnx_node *node, const char *name)
{
    const Onnx__AttributeProto *attribute;
    lego_status status = LEGO_OK;

    out->n = -1;
    LG_TRY(find_attribute(&attribute, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS));
    if (!attribute)
        goto done;
    if (attribute->n_ints > LEGO_MAX_DIMS)
        LG_FAIL(LEGO_EUNSUPPORTED, "attribute '%s' has %zu entries, at most %d are supported", name,
                attribute->n_ints, LEGO_MAX_DIMS);
    out->n = (int64_t)attribute->n_ints;
    for (size_t i = 0; i < attribute->n_ints; i++)
        out->dims[i] = attribute->ints[i];
done:
    return status;
}

double lg_onnx_element(const lego_tensor *tensor, int64_t index)
{
    return tensor->dtype == LEGO_DTYPE_F32 ? (double)((const float *)lg_tensor_data(tensor))[index]
                                           : (double)lg_onnx_element_int(tensor, index);
}

int64_t lg_onnx_element_int(const lego_tensor *tensor, int64_t index)
{
    const void *data = lg_tensor_data(tensor);
    double number;

    switch (tensor->dtype) {
    case LEGO_DTYPE_I64:
        return ((const int64_t *)data)[index];
    case LEGO_DTYPE_I32:
        return ((const int32_t *)data)[index];
    case LEGO_DTYPE_I16:
        return ((const int16_t *)data)[index];
    case LEGO_DTYPE_I8:
        return ((const int8_t *)data)[index];
    case LEGO_DTYPE_U8:
    case LEGO_DTYPE_BOOL:
        return ((const uint8_t *)data)[index];
    default: /* F32: loading leaves no other */
        number = (double)((const float *)data)[index];
        return number >= -9e15 && number <= 9e15 ? (int64_t)number : 0; /* also NaN */
    }
}

lego_status lg_onnx_constant_ints(lg_dims *out, const lg_onnx_node *node, int index)
{
    const lg_onnx_value *value = lg_onnx_input(node, index);

    out->n = -1;
    if (!value)
        return LEGO_OK;
    if (!value->is_constant)
        return lg_onnx_unsupported("input '%s' must be a constant", value->name);
    if (value->constant.shape.n_dims > 1 || lg_tensor_count(&value->constant) > LEGO_MAX_DIMS)
        return lg_onnx_unsupported("input '%s' is no list of at most %d numbers", value->name, LEGO_MAX_DIMS);
    out->n = lg_tensor_count(&value->constant);
    for (int64_t i = 0; i < out->n; i++) {
        const int64_t number = lg_onnx_element_int(&value->constant, i);

        out->dims[i] = lg_batch_is_mark(number) ? lg_mul_sat(number / LG_BATCH_MARK, node->import->batch) : number;
    }
    return LEGO_OK;
}

lego_status lg_onnx_list(lg_dims *out, const lg_onnx_node *node, const char *name, int index, int64_t since)
{
    return node->import->opset < since ? lg_onnx_ints(out, node, name) : lg_onnx_constant_ints(out, node, index);
}

lego_status lg_onnx_number(double *out, const lg_onnx_node *node, const char *name, int index, int64_t since,
                           double fallback)
{
    const lg_onnx_value *value = lg_onnx_input(node, index);

    *out = fallback;
    if (node->import->opset < since)
        return lg_onnx_float(out, node, name, fallback);
    if (!value)
        return LEGO_OK;
    if (!value->is_constant)
        return lg_onnx_unsupported("input '%s' must be a constant", value->name);
    if (lg_tensor_count(&value->constant) != 1)
        return lg_onnx_malformed(node, "input '%s' has %lld elements, one is needed", value->name,
                                 (long long)lg_tensor_count(&value->constant));
    *out = lg_onnx_element(&value->constant, 0);
    return LEGO_OK;
}

lego_status lg_onnx_axis(int64_t *axis, const lg_onnx_node *node, int n_dims)
{
    const int64_t given = *axis;

    if (given < -n_dims || given >= n_dims)
        return lg_onnx_malformed(node, "axis %lld, the value has %d axes", (long long)given, n_dims);
    if (given < 0)
        *axis += n_dims;
    return LEGO_OK;
}

/* --- what folding and converting share --- */

/* The axes listed by the node as a set of bits; LEGO_EFORMAT if one is named twice. */
static lego_status axis_set(unsigned *set, lg_dims *axes, const lg_onnx_node *node, int n_dims)
{
    lego_status status = LEGO_OK;

    *set = 0;
    for (int i = 0; i < axes->n; i++) {
        LG_TRY(lg_onnx_axis(&axes->dims[i], node, n_dims));
        if (*set >> axes->dims[i] & 1)
            return lg_onnx_malformed(node, "axis %lld is named twice", (long long)axes->dims[i]);
        *set |= 1u << axes->dims[i];
    }
done:
    return status;
}

lego_status lg_onnx_unsqueezed(lg_place *out, const lg_onnx_node *node, const lg_place *in)
{
    unsigned added;
    lg_dims axes;
    int from = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_list(&axes, node, "axes", 1, 13));
    if (axes.n < 0 || in->shape.n_dims + axes.n > LEGO_MAX_DIMS)
        LG_FAIL(LEGO_EUNSUPPORTED, "axes are missing, or there would be more than %d", LEGO_MAX_DIMS);
    *out = *in;
    out->shape.n_dims = in->shape.n_dims + (int)axes.n;
    LG_TRY(axis_set(&added, &axes, node, out->shape.n_dims));
    for (int i = 0; i < out->shape.n_dims; i++) {
        if (!(added >> i & 1) && from == in->dim)
            out->dim = i;
        out->shape.dims[i] = added >> i & 1 ? 1 : in->shape.dims[from++];
    }
done:
    return status;
}

lego_status lg_onnx_squeezed(lg_place *out, const lg_onnx_node *node, const lg_place *in)
{
    unsigned removed;
    lg_dims axes;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_list(&axes, node, "axes", 1, 13));
    LG_TRY(axis_set(&removed, &axes, node, in->shape.n_dims));
    *out = (lg_place){ { 0 }, LG_NONE, in->before, in->behind };
    for (int i = 0; i < in->shape.n_dims; i++) {
        const int64_t extent = in->shape.dims[i];

        if ((removed >> i & 1) && i == in->dim && node->import->batch != 1)
            LG_FAIL(LEGO_EUNSUPPORTED, "the batch would be squeezed away");
        if ((removed >> i & 1) && extent != 1)
            return lg_onnx_malformed(node, "axis %d to squeeze has extent %lld", i, (long long)extent);
        if (axes.n < 0 ? extent == 1 : removed >> i & 1)
            continue;
        if (i == in->dim)
            out->dim = out->shape.n_dims;
        out->shape.dims[out->shape.n_dims++] = extent;
    }
done:
    return status;
}

lego_status lg_onnx_reshaped(lg_shape *out, const lg_onnx_node *node, const lg_shape *in)
{
    int64_t known = 1, total = 1, allow_zero;
    int open_axis = -1;
    lg_dims wanted;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_list(&wanted, node, "shape", 1, 5));
    LG_TRY(lg_onnx_int(&allow_zero, node, "allowzero", 0));
    if (wanted.n < 0)
        return lg_onnx_malformed(node, "no shape to reshape to");
    for (int i = 0; i < in->n_dims; i++)
        total = lg_mul_sat(total, in->dims[i]);
    out->n_dims = (int32_t)wanted.n;
    for (int i = 0; i < wanted.n; i++) {
        int64_t extent = wanted.dims[i];

        if (extent == 0 && !allow_zero && i < in->n_dims)
            extent = in->dims[i];
        if (extent == -1 && open_axis < 0) {
            open_axis = i;
            continue;
        }
        if (extent < 0)
            return lg_onnx_malformed(node, "extent %lld of axis %d", (long long)extent, i);
        known = lg_mul_sat(known, extent);
        out->dims[i] = extent;
    }
    if (open_axis >= 0) {
        out->dims[open_axis] = known > 0 ? total / known : 0;
        known = lg_mul_sat(known, out->dims[open_axis]);
    }
    if (known != total || total == INT64_MAX)
        return lg_onnx_malformed(node, "%lld elements do not fit into the shape asked for", (long long)total);
done:
    return status;
}

lego_status lg_onnx_order(lg_dims *out, const lg_onnx_node *node, int n_dims)
{
    unsigned seen = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_ints(out, node, "perm"));
    if (out->n < 0) {
        out->n = n_dims;
        for (int i = 0; i < n_dims; i++)
            out->dims[i] = n_dims - 1 - i;
    }
    for (int i = 0; i < out->n; i++)
        seen |= out->dims[i] >= 0 && out->dims[i] < n_dims ? 1u << out->dims[i] : 0;
    if (out->n != n_dims || seen != (1u << n_dims) - 1)
        return lg_onnx_malformed(node, "perm is no order of %d axes", n_dims);
done:
    return status;
}

lego_status lg_onnx_split_sizes(lg_dims *sizes, int64_t *axis, const lg_onnx_node *node, const lg_shape *in)
{
    const int64_t n = (int64_t)node->proto->n_output;
    int64_t extent, sum = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_int(axis, node, "axis", 0));
    LG_TRY(lg_onnx_axis(axis, node, in->n_dims));
    LG_TRY(lg_onnx_list(sizes, node, "split", 1, 13));
    if (n < 1 || n > LEGO_MAX_DIMS || (sizes->n >= 0 && sizes->n != n))
        LG_FAIL(LEGO_EUNSUPPORTED, "%lld outputs and %lld sizes, up to %d outputs are supported", (long long)n,
                (long long)sizes->n, LEGO_MAX_DIMS);
    extent = in->dims[*axis];
    for (int64_t i = 0; sizes->n < 0 && i < n; i++) { /* equal parts; since opset 18 the last may be smaller */
        const int64_t part = (extent + n - 1) / n;

        if (node->import->opset < 18 && extent % n != 0)
            LG_FAIL(LEGO_EFORMAT, "node '%s' (Split): %lld elements in %lld equal parts", node->name,
                    (long long)extent, (long long)n);
        sizes->dims[i] = i < n - 1 ? part : extent - part * (n - 1);
    }
    sizes->n = n;
    for (int64_t i = 0; i < n; i++) {
        if (sizes->dims[i] < 0 || sizes->dims[i] > extent - sum)
            return lg_onnx_malformed(node, "the sizes do not add up to the %lld elements of axis %lld",
                                     (long long)extent, (long long)*axis);
        sum += sizes->dims[i];
    }
    if (sum != extent)
        return lg_onnx_malformed(node, "the sizes add up to %lld, axis %lld has %lld elements", (long long)sum,
                                 (long long)*axis, (long long)extent);
done:
    return status;
}

int lg_onnx_broadcast(lg_shape *shape, const lg_shape *other)
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

lego_status lg_onnx_slice_lists(lg_onnx_slices *out, const lg_onnx_node *node, int n_dims)
{
    lg_dims starts, ends, axes, steps = { -1, { 0 } };
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_list(&starts, node, "starts", 1, 10));
    LG_TRY(lg_onnx_list(&ends, node, "ends", 2, 10));
    LG_TRY(lg_onnx_list(&axes, node, "axes", 3, 10));
    if (node->import->opset >= 10)
        LG_TRY(lg_onnx_constant_ints(&steps, node, 4));
    if (starts.n < 0 || starts.n != ends.n || (axes.n >= 0 && axes.n != starts.n) ||
        (steps.n >= 0 && steps.n != starts.n))
        return lg_onnx_malformed(node, "starts, ends, axes and steps differ in length");
    out->n = (int)starts.n;
    for (int i = 0; i < out->n; i++) {
        out->starts[i] = starts.dims[i];
        out->ends[i] = ends.dims[i];
        out->axes[i] = axes.n < 0 ? i : axes.dims[i];
        out->steps[i] = steps.n < 0 ? 1 : steps.dims[i];
        LG_TRY(lg_onnx_axis(&out->axes[i], node, n_dims));
    }
done:
    return status;
}

lego_status lg_onnx_slice_clamp(int64_t *n, int64_t *start, int64_t *end, const lg_onnx_node *node, int64_t step,
                                int64_t extent)
{
    const int64_t low = step < 0 ? -1 : 0, high = step < 0 ? extent - 1 : extent;

    if (step == 0 || step < -INT32_MAX || step > INT32_MAX)
        return lg_onnx_malformed(node, "a step of %lld", (long long)step);
    *start = *start < -extent ? low : *start < 0 ? *start + extent : *start > high ? high : *start;
    *end = *end < -extent ? low : *end < 0 ? *end + extent : *end > high ? high : *end;
    if (step > 0)
        *n = *start < *end ? (*end - *start + step - 1) / step : 0;
    else
        *n = *start > *end ? (*start - *end - step - 1) / -step : 0;
    return LEGO_OK;
}

/* --- values and weights of the graph --- */

/* Append a node of this name (NULL: out of memory), which it takes over. */
static lego_status emit_named(int32_t *out, lg_onnx_node *node, char *name, lg_op_kind kind, const lg_attrs *attrs,
                              int n_inputs, const int32_t *inputs, int n_weights, const int32_t *weights)
{
    lego_status status = LEGO_OK;

    *out = LG_NONE;
    if (!name)
        LG_FAIL(LEGO_ENOMEM, "out of memory naming node '%s'", node->name);
    LG_TRY(lg_graph_add_node(out, node->import->graph,
                             lg_op_for(kind, node->import->graph, n_inputs, inputs)->name, name, attrs, n_inputs, inputs,
                             n_weights, weights));
done:
    lg_free(name);
    return status;
}

const lg_shape *lg_onnx_shape(const lg_onnx_node *node, int32_t value)
{
    return &node->import->graph->values[value].shape;
}

lego_status lg_onnx_placed(int32_t *value, lg_place *place, lg_onnx_node *node, int index)
{
    const lg_onnx_value *input = lg_onnx_input(node, index);

    *value = LG_NONE;
    if (!input)
        return lg_onnx_malformed(node, "input %d is missing", index);
    if (input->is_constant)
        return lg_onnx_unsupported("input '%s' is a constant", input->name);
    *value = input->value;
    *place = input->place;
    return LEGO_OK;
}

lego_status lg_onnx_weight_tensor(const lego_tensor **out, const lg_onnx_node *node, int index, int n_dims)
{
    const lg_onnx_value *input = lg_onnx_input(node, index);

    *out = NULL;
    if (!input)
        return lg_onnx_malformed(node, "input %d is missing", index);
    if (!input->is_constant)
        return lg_onnx_unsupported("input '%s' is no constant; make it an initialiser", input->name);
    if (input->constant.dtype != LEGO_DTYPE_F32)
        return lg_onnx_unsupported("input '%s' is %s, weights must be FLOAT", input->name,
                                   lg_dtype_name(input->constant.dtype));
    if (n_dims >= 0 && input->constant.shape.n_dims != n_dims)
        return lg_onnx_unsupported("input '%s' has %d axes, %d are supported", input->name,
                                   (int)input->constant.shape.n_dims, n_dims);
    *out = &input->constant;
    return LEGO_OK;
}

lego_status lg_onnx_weight(int32_t *weight, lg_onnx_node *node, int index, const lego_tensor *changed)
{
    lg_onnx_value *input = lg_onnx_input(node, index);
    const lego_tensor *tensor;
    char *name = NULL;
    lego_status status = LEGO_OK;

    *weight = LG_NONE;
    LG_TRY(lg_onnx_weight_tensor(&tensor, node, index, -1));
    if (!changed && input->weight != LG_NONE) {
        *weight = input->weight;
        goto done;
    }
    /* The first weight made from a constant has its name, whatever was done to it. */
    name = input->n_variants++ == 0 ? lg_strdup(input->name)
                                    : lg_asprintf("%s#%d", input->name, (int)input->n_variants);
    if (!name)
        LG_FAIL(LEGO_ENOMEM, "out of memory naming a weight of '%s'", node->name);
    LG_TRY(lg_graph_add_weight(weight, node->import->graph, name, changed ? changed : tensor));
    if (!changed)
        input->weight = *weight;
done:
    lg_free(name);
    return status;
}

/* --- nodes of the graph --- */

lg_attrs lg_onnx_defaults(lg_op_kind kind)
{
    return lg_op_of_kind(kind)->defaults;
}

/* The first has the name of the node of the file. */
static char *next_name(lg_onnx_node *node)
{
    return node->n_emitted++ == 0 ? lg_strdup(node->name)
                                  : lg_asprintf("%s#%d", node->name, (int)node->n_emitted);
}

lego_status lg_onnx_emit_full(int32_t *out, lg_onnx_node *node, lg_op_kind kind, const lg_attrs *attrs, int n_inputs,
                              const int32_t *inputs, int n_weights, const int32_t *weights)
{
    return emit_named(out, node, next_name(node), kind, attrs, n_inputs, inputs, n_weights, weights);
}

lego_status lg_onnx_emit_helper(int32_t *out, lg_onnx_node *node, lg_op_kind kind, const lg_attrs *attrs, int32_t input)
{
    char *name = lg_asprintf("%s#in%d", node->name, (int)++node->n_helpers);

    return emit_named(out, node, name, kind, attrs, 1, &input, 0, NULL);
}

/* "of/what", or the node's next name where the file has that already. */
static char *part_name(lg_onnx_node *node, const char *of, const char *what)
{
    char *name = lg_asprintf("%s/%s", of, what);

    if (!name || lg_name_map_find(&node->import->node_names, name) == LG_NONE)
        return name;
    lg_free(name);
    return next_name(node);
}

lego_status lg_onnx_emit_constant(int32_t *out, lg_onnx_node *node, int32_t weight)
{
    char *name = part_name(node, node->import->graph->weights[weight].name, "constant");

    return emit_named(out, node, name, LG_OP_CONSTANT, NULL, 0, NULL, 1, &weight);
}

lego_status lg_onnx_emit_form(int32_t *out, lg_onnx_node *node, int32_t input, const lg_dims *shape, const char *what)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_RESHAPE);

    attrs.reshape.shape = *shape;
    return emit_named(out, node, part_name(node, node->name, what), LG_OP_RESHAPE, &attrs, 1, &input, 0, NULL);
}

lego_status lg_onnx_emit(int32_t *out, lg_onnx_node *node, lg_op_kind kind, const lg_attrs *attrs, int32_t input)
{
    return lg_onnx_emit_full(out, node, kind, attrs, 1, &input, 0, NULL);
}

lego_status lg_onnx_give(lg_onnx_node *node, lg_op_kind kind, const lg_attrs *attrs, int n_inputs, const int32_t *inputs,
                         int n_weights, const int32_t *weights)
{
    int32_t value;
    lego_status status = lg_onnx_emit_full(&value, node, kind, attrs, n_inputs, inputs, n_weights, weights);

    return status == LEGO_OK ? lg_onnx_finish(node, 0, value) : status;
}

lego_status lg_onnx_give_function(lg_onnx_node *node, lg_op_kind kind, const lg_attrs *attrs)
{
    lg_place place;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    LG_TRY(lg_onnx_emit(&y, node, kind, attrs, x));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    return status;
}

lego_status lg_onnx_emit_reshape(int32_t *out, lg_onnx_node *node, int32_t input, const lg_dims *shape)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_RESHAPE);

    if (shape->n < 1)
        return lg_onnx_unsupported("a shape of the batch alone");
    attrs.reshape.shape = *shape;
    return lg_onnx_emit(out, node, LG_OP_RESHAPE, &attrs, input);
}

/* --- outputs of the node --- */

static lg_onnx_value *output_of(const lg_onnx_node *node, int index)
{
    if ((size_t)index >= node->proto->n_output)
        return NULL;
    return lg_onnx_value_named(node->import, node->proto->output[index]);
}

lego_status lg_onnx_finish_placed(lg_onnx_node *node, int index, int32_t value, const lg_place *place)
{
    lg_onnx_value *output = output_of(node, index);

    if (output) {
        output->value = value;
        output->place = *place;
    }
    return LEGO_OK;
}

lego_status lg_onnx_finish(lg_onnx_node *node, int index, int32_t value)
{
    const lg_place place = lg_place_at(lg_onnx_shape(node, value), 0, node->import->batch);

    return lg_onnx_finish_placed(node, index, value, &place);
}

void lg_onnx_finish_constant(lg_onnx_node *node, int index, lego_tensor *tensor)
{
    lg_onnx_value *output = output_of(node, index);

    if (output) {
        output->is_constant = 1;
        output->constant = *tensor;
        memset(tensor, 0, sizeof(*tensor));
    } else {
        lg_tensor_dispose(tensor);
    }
}
