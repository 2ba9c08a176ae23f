/* Converters of ops that move elements: reshape and its kin, transpose, concat, split, slice, and ops that do nothing.
 * Each says where the batch goes (batch_axis.h); what would tear it apart, cut it or join along it is refused. */
#include "import/onnx_fold.h"

#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"
#include "import/pad_runs.h"

static lego_status convert_identity(lg_onnx_node *node)
{
    lg_place place;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    LG_TRY(lg_onnx_finish_placed(node, 0, x, &place));
done:
    return status;
}

/* Outside training it does nothing. Up to opset 6 is_test says so, since opset 12 input 2 may say the opposite. */
static lego_status convert_dropout(lg_onnx_node *node)
{
    double ratio, training = 0.0;
    int64_t is_test;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_int(&is_test, node, "is_test", node->import->opset >= 7));
    LG_TRY(lg_onnx_number(&ratio, node, "ratio", 1, 12, 0.5));
    if (node->import->opset >= 12)
        LG_TRY(lg_onnx_number(&training, node, "", 2, 12, 0.0));
    if (!is_test || (training != 0.0 && ratio != 0.0))
        LG_FAIL(LEGO_EUNSUPPORTED, "it is in training mode; export the model in eval mode");
    LG_TRY(convert_identity(node));
done:
    return status;
}

/* Values are FLOAT, in files of halves and doubles as well, so a cast of one does nothing or cannot be. */
static lego_status convert_cast(lg_onnx_node *node)
{
    int64_t to;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_int(&to, node, "to", 0));
    if (!lg_onnx_is_real(to))
        LG_FAIL(LEGO_EUNSUPPORTED, "a cast to element type %lld, values are FLOAT (1)", (long long)to);
    LG_TRY(convert_identity(node));
done:
    return status;
}

/* The same elements in another place: a reshape, or nothing where only the batch's way through the file differs. */
static lego_status give_moved(lg_onnx_node *node, int32_t x, const lg_place *from, const lg_place *to)
{
    const lg_shape have = lg_place_graph_shape(from), want = lg_place_graph_shape(to);
    lg_dims shape = { want.n_dims - 1, { 0 } };
    int32_t y = x;
    lego_status status = LEGO_OK;

    memcpy(shape.dims, want.dims + 1, (size_t)shape.n * sizeof(*shape.dims));
    if (!lg_shape_equal(&have, &want) || (lg_place_is_first(from) && lg_place_is_first(to)))
        LG_TRY(lg_onnx_emit_reshape(&y, node, x, &shape));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, to));
done:
    return status;
}

static lego_status give_shape(lg_onnx_node *node, int32_t x, const lg_place *from, const lg_shape *shape)
{
    char text[128];
    lg_place to;

    if (!lg_place_reshape(&to, from, shape, node->import->batch))
        return lg_onnx_unsupported("the batch would be torn apart, or the value have more than %d axes with it: %s",
                                   LEGO_MAX_DIMS, lg_shape_format(text, shape));
    return give_moved(node, x, from, &to);
}

static lego_status convert_flatten(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_FLATTEN);
    lg_shape shape = { 2, { 1, 1 } };
    lg_place from, to;
    int64_t axis;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &from, node, 0));
    LG_TRY(lg_onnx_int(&axis, node, "axis", 1));
    if (axis < 0)
        axis += from.shape.n_dims;
    if (axis < 0 || axis > from.shape.n_dims)
        return lg_onnx_malformed(node, "axis %lld, the value has %d axes", (long long)axis, (int)from.shape.n_dims);
    for (int i = 0; i < from.shape.n_dims; i++)
        shape.dims[i >= axis] = lg_mul_sat(shape.dims[i >= axis], from.shape.dims[i]);
    if (axis != 1 || !lg_place_is_first(&from) || from.shape.n_dims == 1)
        return give_shape(node, x, &from, &shape);
    to = lg_place_at(&shape, 0, node->import->batch);
    LG_TRY(lg_onnx_emit(&y, node, LG_OP_FLATTEN, &attrs, x));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &to));
done:
    return status;
}

static lego_status convert_reshape(lg_onnx_node *node)
{
    lg_place from;
    lg_shape shape;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &from, node, 0));
    LG_TRY(lg_onnx_reshaped(&shape, node, &from.shape));
    LG_TRY(give_shape(node, x, &from, &shape));
done:
    return status;
}

typedef lego_status (*new_place)(lg_place *out, const lg_onnx_node *node, const lg_place *in);

/* The same elements in the place that `of` says. */
static lego_status convert_axes(lg_onnx_node *node, new_place of)
{
    lg_place from, to;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &from, node, 0));
    LG_TRY(of(&to, node, &from));
    LG_TRY(lg_onnx_check_place(&to));
    LG_TRY(give_moved(node, x, &from, &to));
done:
    return status;
}

static lego_status convert_unsqueeze(lg_onnx_node *node)
{
    return convert_axes(node, lg_onnx_unsqueezed);
}

static lego_status convert_squeeze(lg_onnx_node *node)
{
    return convert_axes(node, lg_onnx_squeezed);
}

/* (C s s, H, W) <-> (C, H s, W s), by a reshape, a permutation and a reshape. Torch's pixel shuffle is the mode CRD. */
static lego_status convert_depth_space(lg_onnx_node *node)
{
    const int to_space = node->proto->op_type[0] == 'D';
    lg_attrs attrs = lg_onnx_defaults(LG_OP_PERMUTE);
    lg_dims *order = &attrs.permute.order, split, joined;
    ProtobufCBinaryData mode;
    int64_t s, c, h, w;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation_of(&x, node, 0, 4));
    LG_TRY(lg_onnx_int(&s, node, "blocksize", 0));
    LG_TRY(lg_onnx_text(&mode, node, "mode", "DCR"));
    c = lg_onnx_shape(node, x)->dims[1];
    h = lg_onnx_shape(node, x)->dims[2];
    w = lg_onnx_shape(node, x)->dims[3];
    if (s < 1 || s > 4096 || (to_space ? c % (s * s) : h % s | w % s) != 0)
        return lg_onnx_malformed(node, "blocksize %lld does not divide (%lld,%lld,%lld)", (long long)s, (long long)c,
                                 (long long)h, (long long)w);
    if (!to_space) {
        split = (lg_dims){ 5, { c, h / s, s, w / s, s } };
        *order = (lg_dims){ 5, { 3, 5, 1, 2, 4 } };
        joined = (lg_dims){ 3, { c * s * s, h / s, w / s } };
    } else if (lg_onnx_text_is(&mode, "CRD")) {
        split = (lg_dims){ 5, { c / (s * s), s, s, h, w } };
        *order = (lg_dims){ 5, { 1, 4, 2, 5, 3 } };
        joined = (lg_dims){ 3, { c / (s * s), h * s, w * s } };
    } else {
        split = (lg_dims){ 5, { s, s, c / (s * s), h, w } };
        *order = (lg_dims){ 5, { 3, 4, 1, 5, 2 } };
        joined = (lg_dims){ 3, { c / (s * s), h * s, w * s } };
    }
    LG_TRY(lg_onnx_emit_reshape(&x, node, x, &split));
    LG_TRY(lg_onnx_emit(&x, node, LG_OP_PERMUTE, &attrs, x));
    LG_TRY(lg_onnx_emit_reshape(&x, node, x, &joined));
    LG_TRY(lg_onnx_finish(node, 0, x));
done:
    return status;
}

static lego_status convert_transpose(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_PERMUTE);
    lg_dims order;
    lg_place from, to;
    int moves = 0;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &from, node, 0));
    LG_TRY(lg_onnx_order(&order, node, from.shape.n_dims));
    lg_place_permute(&to, &attrs.permute.order, &from, order.dims);
    for (int i = 0; i < attrs.permute.order.n; i++)
        moves |= attrs.permute.order.dims[i] != i + 1;
    y = x;
    if (moves || (lg_place_is_first(&from) && lg_place_is_first(&to) && attrs.permute.order.n > 0))
        LG_TRY(lg_onnx_emit(&y, node, LG_OP_PERMUTE, &attrs, x));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &to));
done:
    return status;
}

#define MAX_JOINED 256

/* The values meet as those of sums do, but along `axis`, where each has its own extent. */
static lego_status convert_concat(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_CONCAT);
    const int n = lg_onnx_n_inputs(node);
    int32_t inputs[MAX_JOINED], y;
    int64_t axis, extent = 0;
    int found = 0;
    lg_place place = { 0 };
    lego_status status = LEGO_OK;

    if (n < 1 || n > MAX_JOINED)
        return lg_onnx_unsupported("%d inputs, 1 to %d are supported", n, MAX_JOINED);
    for (int i = 0; i < n; i++) {
        const lg_onnx_value *value = lg_onnx_input(node, i);

        if (!value)
            return lg_onnx_malformed(node, "input %d is missing", i);
        if (value->is_constant)
            continue;
        if (found && (value->place.shape.n_dims != place.shape.n_dims ||
                      !lg_place_meet(&place, &place, &value->place, node->import->batch)))
            LG_FAIL(LEGO_EUNSUPPORTED, "the batch is on other axes of '%s' than of the inputs before it", value->name);
        if (!found)
            place = value->place;
        found = 1;
    }
    LG_TRY(lg_onnx_int(&axis, node, "axis", 1));
    LG_TRY(lg_onnx_axis(&axis, node, place.shape.n_dims));
    for (int i = 0; i < n; i++) {
        const lg_onnx_value *value = lg_onnx_input(node, i);
        const lg_shape *shape = value->is_constant ? &value->constant.shape : &value->place.shape;

        if (shape->n_dims != place.shape.n_dims)
            return lg_onnx_malformed(node, "'%s' has %d axes, others have %d", value->name, (int)shape->n_dims,
                                     (int)place.shape.n_dims);
        extent += shape->dims[axis];
    }
    LG_TRY(lg_onnx_place_axis(&attrs.axis.axis, &place, axis, "values would be joined along"));
    LG_TRY(lg_onnx_check_place(&place));
    for (int i = 0; i < n; i++)
        LG_TRY(lg_onnx_operand_at(&inputs[i], node, i, &place));
    place.shape.dims[axis] = extent;
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_CONCAT, &attrs, n, inputs, 0, NULL));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    return status;
}

static lego_status convert_split(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_SPLIT);
    lg_place place;
    int64_t axis;
    int32_t x, first;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    LG_TRY(lg_onnx_split_sizes(&attrs.split.sizes, &axis, node, &place.shape));
    LG_TRY(lg_onnx_place_axis(&attrs.split.axis, &place, axis, "it would split"));
    LG_TRY(lg_onnx_emit(&first, node, LG_OP_SPLIT, &attrs, x));
    for (int i = 0; i < attrs.split.sizes.n; i++) {
        place.shape.dims[axis] = attrs.split.sizes.dims[i];
        LG_TRY(lg_onnx_finish_placed(node, i, first + i, &place));
    }
done:
    return status;
}

/* One run an axis; negative places count from the end, places outside are clamped (ONNX, Slice). */
static lego_status convert_slice(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_SLICE);
    lg_onnx_slices slices;
    lg_place place;
    int32_t y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&y, &place, node, 0));
    LG_TRY(lg_onnx_slice_lists(&slices, node, place.shape.n_dims));
    for (int i = 0; i < slices.n; i++) {
        const int64_t axis = slices.axes[i], extent = place.shape.dims[axis];
        int64_t n;

        attrs.slice.start = slices.starts[i];
        attrs.slice.end = slices.ends[i];
        attrs.slice.step = slices.steps[i];
        LG_TRY(lg_onnx_slice_clamp(&n, &attrs.slice.start, &attrs.slice.end, node, attrs.slice.step, extent));
        if (n == 0)
            LG_FAIL(LEGO_EUNSUPPORTED, "nothing of axis %lld would be left", (long long)axis);
        if (attrs.slice.start == 0 && n == extent)
            continue;
        LG_TRY(lg_onnx_place_axis(&attrs.slice.axis, &place, axis, "it would cut"));
        LG_TRY(lg_onnx_emit(&y, node, LG_OP_SLICE, &attrs, y));
        place.shape.dims[axis] = n;
    }
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    return status;
}

/* Elements of an axis as few slices, each from `first` on in equal steps. */
static lego_status emit_chosen(int32_t *out, lg_onnx_node *node, int32_t x, int64_t axis, const int64_t *at, int64_t n)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_SLICE), joined = lg_onnx_defaults(LG_OP_CONCAT);
    int32_t parts[MAX_JOINED];
    int n_parts = 0;
    lego_status status = LEGO_OK;

    for (int64_t first = 0, last; first < n; first = last + 1) {
        const int64_t step = first + 1 < n && at[first + 1] != at[first] ? at[first + 1] - at[first] : 1;

        for (last = first; last + 1 < n && at[last + 1] - at[last] == step;)
            last++;
        if (n_parts == MAX_JOINED)
            LG_FAIL(LEGO_EUNSUPPORTED, "indices that are more than %d runs", MAX_JOINED);
        attrs.slice.axis = axis;
        attrs.slice.start = at[first];
        attrs.slice.end = at[last] + (step > 0 ? 1 : -1);
        attrs.slice.step = step;
        LG_TRY(lg_onnx_emit(&parts[n_parts++], node, LG_OP_SLICE, &attrs, x));
    }
    joined.axis.axis = axis;
    *out = parts[0];
    if (n_parts > 1)
        LG_TRY(lg_onnx_emit_full(out, node, LG_OP_CONCAT, &joined, n_parts, parts, 0, NULL));
done:
    return status;
}

/* Rows or columns as nearest upsampling repeats them: our own export writes a Gather where runtimes round differently. */
static int is_upsampling(const int64_t *at, int64_t n, int64_t extent)
{
    for (int64_t i = 0; i < n; i++)
        if (at[i] != i * extent / n)
            return 0;
    return n > extent;
}

/* By constant indices: slices of an axis. One index without an axis of its own takes the axis away. */
static lego_status convert_gather(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_UPSAMPLE);
    const lg_onnx_value *indices = lg_onnx_input(node, 1);
    lg_place from, chosen, to;
    int64_t axis, n, graph_axis, extent, *at = NULL;
    int is_plane;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &from, node, 0));
    LG_TRY(lg_onnx_int(&axis, node, "axis", 0));
    LG_TRY(lg_onnx_axis(&axis, node, from.shape.n_dims));
    if (!indices)
        return lg_onnx_malformed(node, "input 1 is missing");
    n = indices->is_constant ? lg_tensor_count(&indices->constant) : 0;
    if (n < 1 || from.shape.n_dims + indices->constant.shape.n_dims - 1 > LEGO_MAX_DIMS)
        LG_FAIL(LEGO_EUNSUPPORTED, "indices must be constants, and the value have at most %d axes", LEGO_MAX_DIMS);
    LG_TRY(lg_onnx_place_axis(&graph_axis, &from, axis, "it chooses from"));
    extent = from.shape.dims[axis];
    LG_TRY(LG_CALLOC(&at, (size_t)n));
    for (int64_t i = 0; i < n; i++) {
        at[i] = lg_onnx_element_int(&indices->constant, i);
        if (at[i] < -extent || at[i] >= extent)
            LG_FAIL(LEGO_EFORMAT, "node '%s' (Gather): index %lld of %lld elements", node->name, (long long)at[i],
                    (long long)extent);
        at[i] += at[i] < 0 ? extent : 0;
    }
    is_plane = lg_onnx_shape(node, x)->n_dims == 4 && graph_axis >= 2;
    if (is_plane && is_upsampling(at, n, extent)) {
        for (int i = 0; i < 2; i++)
            attrs.upsample.size[i] = graph_axis == 2 + i ? n : lg_onnx_shape(node, x)->dims[2 + i];
        LG_TRY(lg_onnx_emit(&x, node, LG_OP_UPSAMPLE, &attrs, x));
    } else {
        LG_TRY(emit_chosen(&x, node, x, graph_axis, at, n));
    }
    chosen = from;
    chosen.shape.dims[axis] = n;
    to = from;
    to.shape.n_dims = 0;
    for (int i = 0; i < from.shape.n_dims; i++) {
        if (i == from.dim)
            to.dim = to.shape.n_dims;
        if (i != axis)
            to.shape.dims[to.shape.n_dims++] = from.shape.dims[i];
        else
            for (int k = 0; k < indices->constant.shape.n_dims; k++)
                to.shape.dims[to.shape.n_dims++] = indices->constant.shape.dims[k];
    }
    LG_TRY(lg_onnx_check_place(&to));
    if (indices->constant.shape.n_dims == 1)
        LG_TRY(lg_onnx_finish_placed(node, 0, x, &to));
    else
        LG_TRY(give_moved(node, x, &chosen, &to));
done:
    lg_free(at);
    return status;
}

/* A constant that is there for every sample: (1,d1,...) in dim `dim` of `shape`, which holds the batch alone. */
static lego_status give_repeated(lg_onnx_node *node, const lego_tensor *tensor, const lg_shape *shape, int dim)
{
    const lg_place place = lg_place_at(shape, dim, node->import->batch);
    lg_shape sample = lg_place_graph_shape(&place);
    lego_tensor filled = { 0 }, row = { 0 };
    char *name = NULL;
    int32_t weight, y;
    lego_status status = LEGO_OK;

    sample = lg_shape_make(sample.n_dims - 1, sample.dims + 1);
    lg_tensor_share(&row, tensor);
    row.shape.n_dims = 0;
    for (int i = 0; i < shape->n_dims; i++) {
        const int k = i - (shape->n_dims - tensor->shape.n_dims);

        if (i != dim)
            row.shape.dims[row.shape.n_dims++] = k < 0 ? 1 : tensor->shape.dims[k];
        else if (k >= 0 && tensor->shape.dims[k] != 1)
            LG_FAIL(LEGO_EUNSUPPORTED, "a constant that differs between the samples of the batch");
    }
    if (sample.n_dims < 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "a constant of one number a sample; keep an axis");
    LG_TRY(lg_fold_expand(&filled, node, &row, &sample));
    if (filled.dtype != LEGO_DTYPE_F32)
        LG_FAIL(LEGO_EUNSUPPORTED, "a constant of %s for every sample, values are FLOAT",
                lg_dtype_name(filled.dtype));
    name = lg_asprintf("%s.value", node->name);
    if (!name)
        LG_FAIL(LEGO_ENOMEM, "out of memory naming a constant of '%s'", node->name);
    if (lg_onnx_input(node, 0) && lg_onnx_input(node, 0)->is_constant && node->proto->op_type[0] == 'E')
        LG_TRY(lg_onnx_weight(&weight, node, 0, &filled));
    else
        LG_TRY(lg_graph_add_weight(&weight, node->import->graph, name, &filled));
    LG_TRY(lg_onnx_emit_constant(&y, node, weight));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    lg_tensor_dispose(&row);
    lg_tensor_dispose(&filled);
    lg_free(name);
    return status;
}

/* The one dim of a shape that is the batch; LG_NONE: none, or not it alone. */
static int batch_dim(const lg_onnx_node *node, int index)
{
    const lg_onnx_value *list = lg_onnx_input(node, index);
    int found = LG_NONE, n = 0;

    for (int64_t i = 0; list && list->is_constant && i < lg_tensor_count(&list->constant); i++)
        if (lg_batch_is_mark(lg_onnx_element_int(&list->constant, i))) {
            found = lg_onnx_element_int(&list->constant, i) == LG_BATCH_MARK ? (int)i : LG_NONE;
            n++;
        }
    return n == 1 ? found : LG_NONE;
}

/* (N,1,W) + (H,1) -> (N,H,W). */
static lego_status expand_value(lg_onnx_node *node, const lg_shape *wanted)
{
    lg_shape wide = *wanted;
    lg_place from, to, target;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &from, node, 0));
    if (!lg_onnx_broadcast(&wide, &from.shape))
        return lg_onnx_malformed(node, "the shapes do not fit");
    to = lg_place_widen(&from, wide.n_dims);
    if (node->import->batch == 1 && to.dim != LG_NONE && wide.dims[to.dim] != 1)
        to.dim = LG_NONE;
    LG_TRY(lg_onnx_move(&x, node, &from, &to));
    target = to;
    target.shape = wide;
    LG_TRY(lg_onnx_repeat(&x, node, &to, &target));
    LG_TRY(lg_onnx_finish_placed(node, 0, x, &target));
done:
    return status;
}

/* A constant is repeated for every sample (torch's class tokens), a value along any other axis. */
static lego_status convert_expand(lg_onnx_node *node)
{
    const lg_onnx_value *input = lg_onnx_input(node, 0);
    const int dim = batch_dim(node, 1);
    lg_dims wanted;
    lg_shape shape;
    lego_status status = LEGO_OK;

    if (!input)
        return lg_onnx_malformed(node, "input 0 is missing");
    LG_TRY(lg_onnx_constant_ints(&wanted, node, 1));
    if (wanted.n < 0)
        return lg_onnx_malformed(node, "input 1 is missing");
    shape = lg_shape_make((int)wanted.n, wanted.dims);
    if (!input->is_constant)
        return expand_value(node, &shape);
    if (dim == LG_NONE || input->constant.shape.n_dims > shape.n_dims)
        LG_FAIL(LEGO_EUNSUPPORTED, "a constant repeated over more than the batch");
    if (!lg_onnx_broadcast(&shape, &input->constant.shape))
        return lg_onnx_malformed(node, "the shapes do not fit");
    LG_TRY(give_repeated(node, &input->constant, &shape, dim));
done:
    return status;
}

static lego_status convert_constant_of_shape(lg_onnx_node *node)
{
    const int dim = batch_dim(node, 0);
    lego_tensor element = { 0 };
    lg_dims wanted;
    lg_shape shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_constant_ints(&wanted, node, 0));
    if (wanted.n < 0 || dim == LG_NONE)
        LG_FAIL(LEGO_EUNSUPPORTED, "the shape must be a constant, the batch at most one of its extents");
    shape = lg_shape_make((int)wanted.n, wanted.dims);
    LG_TRY(lg_fold_element(&element, node));
    LG_TRY(give_repeated(node, &element, &shape, dim));
done:
    lg_tensor_dispose(&element);
    return status;
}

/* Constants around a value, along any axes. */
lego_status lg_onnx_pad_anywhere(lg_onnx_node *node, const int64_t *pads, double number)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_CONCAT);
    lg_place place;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    for (int axis = 0; axis < place.shape.n_dims; axis++) {
        int32_t parts[3] = { LG_NONE, x, LG_NONE };
        int n = 1;

        for (int side = 0; side < 2; side++) {
            lg_place block = place;
            lg_shape shape;

            block.shape.dims[axis] = pads[side * place.shape.n_dims + axis];
            if (block.shape.dims[axis] == 0)
                continue;
            LG_TRY(lg_onnx_place_axis(&attrs.axis.axis, &place, axis, "it would pad"));
            shape = lg_place_graph_shape(&block);
            shape = lg_shape_make(shape.n_dims - 1, shape.dims + 1);
            LG_TRY(lg_onnx_emit_filled(&parts[2 * side], node, &shape, number));
            n++;
        }
        if (n > 1)
            LG_TRY(lg_onnx_emit_full(&x, node, LG_OP_CONCAT, &attrs, n, parts + (parts[0] == LG_NONE), 0, NULL));
        place.shape.dims[axis] += pads[axis] + pads[place.shape.n_dims + axis];
    }
    LG_TRY(lg_onnx_finish_placed(node, 0, x, &place));
done:
    return status;
}

/* One axis of x, padded with its own elements. */
static lego_status emit_padded(int32_t *out, lg_onnx_node *node, int32_t x, int64_t axis, lg_pad_mode mode,
                               int64_t extent, const int64_t pads[2])
{
    lg_attrs join = lg_onnx_defaults(LG_OP_CONCAT), cut = lg_onnx_defaults(LG_OP_SLICE);
    lg_pad_run runs[LG_MOST_PAD_RUNS];
    int32_t parts[LG_MOST_PAD_RUNS];
    int n;
    lego_status status = LEGO_OK;

    LG_TRY(lg_pad_runs(runs, &n, mode, extent, pads));
    join.axis.axis = cut.slice.axis = axis;
    for (int i = 0; i < n; i++) {
        parts[i] = x;
        if (runs[i].n == extent && runs[i].step == 1)
            continue;
        cut.slice.start = runs[i].start;
        cut.slice.end = runs[i].start + runs[i].n * runs[i].step;
        cut.slice.step = runs[i].step;
        LG_TRY(lg_onnx_emit(&parts[i], node, LG_OP_SLICE, &cut, x));
    }
    LG_TRY(lg_onnx_emit_full(out, node, LG_OP_CONCAT, &join, n, parts, 0, NULL));
done:
    return status;
}

lego_status lg_onnx_pad_with_itself(lg_onnx_node *node, const int64_t *pads, const ProtobufCBinaryData *mode)
{
    static const char *const names[] = { [LG_PAD_REFLECT] = "reflect", [LG_PAD_EDGE] = "edge", [LG_PAD_WRAP] = "wrap" };
    size_t m = 0;
    lg_place place;
    int32_t x;
    lego_status status = LEGO_OK;

    while (m < sizeof(names) / sizeof(names[0]) && !lg_onnx_text_is(mode, names[m]))
        m++;
    if (m == sizeof(names) / sizeof(names[0]))
        LG_FAIL(LEGO_EUNSUPPORTED, "padding with mode '%.*s', 'constant', 'reflect', 'edge' and 'wrap' are supported",
                (int)(mode->len > 32 ? 32 : mode->len), (const char *)mode->data);
    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    for (int dim = 0; dim < place.shape.n_dims; dim++) {
        const int64_t both[2] = { pads[dim], pads[place.shape.n_dims + dim] };
        int64_t axis;

        if (both[0] == 0 && both[1] == 0)
            continue;
        LG_TRY(lg_onnx_place_axis(&axis, &place, dim, "it would pad"));
        LG_TRY(emit_padded(&x, node, x, axis, (lg_pad_mode)m, place.shape.dims[dim], both));
        place.shape.dims[dim] += both[0] + both[1];
    }
    LG_TRY(lg_onnx_finish_placed(node, 0, x, &place));
done:
    return status;
}

const lg_onnx_op lg_onnx_shape_ops[] = {
    { "Cast", convert_cast },
    { "Concat", convert_concat },
    { "ConstantOfShape", convert_constant_of_shape },
    { "DepthToSpace", convert_depth_space },
    { "Dropout", convert_dropout },
    { "Expand", convert_expand },
    { "Flatten", convert_flatten },
    { "Gather", convert_gather },
    { "Identity", convert_identity },
    { "Reshape", convert_reshape },
    { "Slice", convert_slice },
    { "SpaceToDepth", convert_depth_space },
    { "Split", convert_split },
    { "Squeeze", convert_squeeze },
    { "Transpose", convert_transpose },
    { "Unsqueeze", convert_unsqueeze },
    { NULL, NULL },
};
