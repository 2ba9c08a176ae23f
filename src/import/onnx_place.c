/* Values whose batch is anywhere: their way into a converter, to where several meet element by element, and back to where
 * the batch is the first axis (batch_axis.h has the rules). Constants come in as they are for one sample. */
#include "import/onnx_fold.h"

#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"

lego_status lg_onnx_check_place(const lg_place *place)
{
    return lg_place_fits(place) ? LEGO_OK
                                : lg_onnx_unsupported("a value of more than %d axes with the batch", LEGO_MAX_DIMS);
}

lego_status lg_onnx_place_axis(int64_t *axis, const lg_place *place, int64_t dim, const char *what)
{
    *axis = lg_place_axis(place, (int)dim);
    return *axis == 0 ? lg_onnx_unsupported("%s axis %lld, which holds the batch", what, (long long)dim) : LEGO_OK;
}

lego_status lg_onnx_move(int32_t *value, lg_onnx_node *node, const lg_place *from, const lg_place *to)
{
    lg_shape have, want;
    lg_attrs attrs = lg_onnx_defaults(LG_OP_RESHAPE);
    lego_status status = lg_onnx_check_place(to);

    if (status != LEGO_OK)
        return status;
    have = lg_place_graph_shape(from);
    want = lg_place_graph_shape(to);
    if (lg_shape_equal(&have, &want))
        return LEGO_OK;
    if (want.n_dims < 2)
        return lg_onnx_unsupported("a value of one number a sample where an axis is needed");
    attrs.reshape.shape.n = want.n_dims - 1;
    memcpy(attrs.reshape.shape.dims, want.dims + 1, (size_t)(want.n_dims - 1) * sizeof(*want.dims));
    return lg_onnx_emit_helper(value, node, LG_OP_RESHAPE, &attrs, *value);
}

lego_status lg_onnx_activation(int32_t *value, lg_onnx_node *node, int index)
{
    lg_place place, first;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(value, &place, node, index));
    first = node->import->batch == 1 ? lg_place_first_of_one(&place) : place;
    if (!lg_place_is_first(&first))
        LG_FAIL(LEGO_EUNSUPPORTED, "the batch is not the first axis of input '%s'", node->proto->input[index]);
    LG_TRY(lg_onnx_move(value, node, &place, &first));
done:
    return status;
}

lego_status lg_onnx_activation_of(int32_t *value, lg_onnx_node *node, int index, int n_dims)
{
    lego_status status = lg_onnx_activation(value, node, index);

    if (status == LEGO_OK && lg_onnx_shape(node, *value)->n_dims != n_dims)
        return lg_onnx_unsupported("input '%s' has %d axes, %d are supported", node->proto->input[index],
                                   (int)lg_onnx_shape(node, *value)->n_dims, n_dims);
    return status;
}

/* --- where values meet --- */

lego_status lg_onnx_meeting(lg_place *out, const lg_onnx_node *node)
{
    const int n = lg_onnx_n_inputs(node);
    lg_shape shape = { 0 };
    int found = 0;

    for (int i = 0; i < n; i++) {
        const lg_onnx_value *input = lg_onnx_input(node, i);

        if (!input)
            return lg_onnx_malformed(node, "input %d is missing", i);
        if (!lg_onnx_broadcast(&shape, input->is_constant ? &input->constant.shape : &input->place.shape))
            return lg_onnx_malformed(node, "the shape of input '%s' does not fit", input->name);
    }
    for (int i = 0; i < n; i++) {
        const lg_onnx_value *input = lg_onnx_input(node, i);
        lg_place wide;

        if (input->is_constant)
            continue;
        wide = lg_place_widen(&input->place, shape.n_dims);
        if (!found)
            *out = wide;
        else if (!lg_place_meet(out, out, &wide, node->import->batch))
            return lg_onnx_unsupported("the batch is on other axes of '%s' than of the inputs before it", input->name);
        found = 1;
    }
    if (!found)
        return lg_onnx_unsupported("all inputs are constants");
    if (node->import->batch == 1 && out->dim != LG_NONE && shape.dims[out->dim] != 1)
        out->dim = LG_NONE; /* a constant repeats the one sample: an axis like any other */
    out->shape = shape;
    return lg_onnx_check_place(out);
}

lego_status lg_onnx_operand_at(int32_t *value, lg_onnx_node *node, int index, const lg_place *place)
{
    const lg_onnx_value *input = lg_onnx_input(node, index);
    const lego_tensor *tensor;
    lego_tensor stored = { 0 };
    lg_place from, to;
    int32_t weight;
    lego_status status = LEGO_OK;

    if (input && !input->is_constant) {
        LG_TRY(lg_onnx_placed(value, &from, node, index));
        to = lg_place_widen(&from, place->shape.n_dims);
        to.dim = place->dim;
        LG_TRY(lg_onnx_move(value, node, &from, &to));
        goto done;
    }
    LG_TRY(lg_onnx_weight_tensor(&tensor, node, index, -1));
    if (tensor->shape.n_dims > place->shape.n_dims)
        LG_FAIL(LEGO_EUNSUPPORTED, "constant '%s' has more axes than the values that it meets", input->name);
    LG_TRY(lg_place_sample(&stored, tensor, input->name, place, node->import->batch));
    if (stored.shape.n_dims < 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "constant '%s' meets values of one number a sample; keep an axis", input->name);
    LG_TRY(lg_onnx_weight(&weight, node, index, &stored));
    LG_TRY(lg_onnx_emit_constant(value, node, weight));
done:
    lg_tensor_dispose(&stored);
    return status;
}

lego_status lg_onnx_operand(int32_t *value, lg_onnx_node *node, int index, int n_dims)
{
    const lg_onnx_value *input = lg_onnx_input(node, index);
    lg_place place = { { n_dims, { 0 } }, 0, 1, 1 };

    if (input && !input->is_constant)
        return lg_onnx_activation_of(value, node, index, n_dims);
    if (n_dims < 1)
        return lg_onnx_unsupported("all inputs are constants");
    return lg_onnx_operand_at(value, node, index, &place);
}

/* --- repeating --- */

lego_status lg_onnx_emit_filled(int32_t *out, lg_onnx_node *node, const lg_shape *shape, double number)
{
    lego_tensor tensor = { 0 };
    char *name = lg_asprintf("%s.filled%d", node->name, (int)++node->n_helpers);
    int32_t weight;
    lego_status status = LEGO_OK;

    if (!name)
        LG_FAIL(LEGO_ENOMEM, "out of memory naming a constant of '%s'", node->name);
    LG_TRY(lg_fold_create(&tensor, node, LEGO_DTYPE_F32, shape));
    for (int64_t i = 0; number != 0.0 && i < lg_tensor_count(&tensor); i++)
        lg_fold_set(&tensor, i, number, 0);
    LG_TRY(lg_graph_add_weight(&weight, node->import->graph, name, &tensor));
    LG_TRY(lg_onnx_emit_constant(out, node, weight));
done:
    lg_tensor_dispose(&tensor);
    lg_free(name);
    return status;
}

lego_status lg_onnx_repeat(int32_t *value, lg_onnx_node *node, const lg_place *from, const lg_place *to)
{
    const lg_shape have = lg_place_graph_shape(from), want = lg_place_graph_shape(to);
    lg_shape shape = { want.n_dims - 1, { 0 } };
    int32_t inputs[2] = { *value, LG_NONE };
    lego_status status = LEGO_OK;

    if (lg_shape_equal(&have, &want))
        return LEGO_OK;
    for (int i = 1; i < want.n_dims; i++) /* a sum with zeros repeats */
        shape.dims[i - 1] = have.dims[i] == want.dims[i] ? 1 : want.dims[i];
    LG_TRY(lg_onnx_emit_filled(&inputs[1], node, &shape, 0.0));
    LG_TRY(lg_onnx_emit_full(value, node, LG_OP_ADD, NULL, 2, inputs, 0, NULL));
done:
    return status;
}
