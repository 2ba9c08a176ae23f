/* Padding with the value's own elements: slices of it, up or down, joined in front and behind, axis by axis.
 *
 *   reflect   3 2 [1 2 3 4] 3 2      edge   1 1 [1 2 3 4] 4 4      wrap   3 4 [1 2 3 4] 1 2 */
#include "import/onnx.h"

#define MOST_REPEATED 64 /* times that an element at an edge is joined on */

/* n elements of an axis from `start` on, in steps of `step`. */
static lego_status emit_run(int32_t *out, lg_onnx_node *node, int32_t x, int64_t axis, int64_t start, int64_t n, int64_t step)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_SLICE);

    attrs.slice.axis = axis;
    attrs.slice.start = start;
    attrs.slice.end = start + n * step;
    attrs.slice.step = step;
    return lg_onnx_emit(out, node, LG_OP_SLICE, &attrs, x);
}

static lego_status emit_reflected(int32_t *out, lg_onnx_node *node, int32_t x, int64_t axis, int64_t extent, const int64_t *n)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_CONCAT);
    int32_t parts[3], n_parts = 0;
    lego_status status = LEGO_OK;

    attrs.axis.axis = axis;
    if (n[0] >= extent || n[1] >= extent)
        LG_FAIL(LEGO_EUNSUPPORTED, "reflections of %lld and %lld elements of %lld", (long long)n[0], (long long)n[1],
                (long long)extent);
    if (n[0] > 0)
        LG_TRY(emit_run(&parts[n_parts++], node, x, axis, n[0], n[0], -1));
    parts[n_parts++] = x;
    if (n[1] > 0)
        LG_TRY(emit_run(&parts[n_parts++], node, x, axis, extent - 2, n[1], -1));
    LG_TRY(lg_onnx_emit_full(out, node, LG_OP_CONCAT, &attrs, n_parts, parts, 0, NULL));
done:
    return status;
}

static lego_status emit_wrapped(int32_t *out, lg_onnx_node *node, int32_t x, int64_t axis, int64_t extent, const int64_t *n)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_CONCAT);
    int32_t parts[3], n_parts = 0;
    lego_status status = LEGO_OK;

    attrs.axis.axis = axis;
    if (n[0] > extent || n[1] > extent)
        LG_FAIL(LEGO_EUNSUPPORTED, "%lld and %lld elements of %lld, wrapped around", (long long)n[0], (long long)n[1],
                (long long)extent);
    if (n[0] > 0)
        LG_TRY(emit_run(&parts[n_parts++], node, x, axis, extent - n[0], n[0], 1));
    parts[n_parts++] = x;
    if (n[1] > 0)
        LG_TRY(emit_run(&parts[n_parts++], node, x, axis, 0, n[1], 1));
    LG_TRY(lg_onnx_emit_full(out, node, LG_OP_CONCAT, &attrs, n_parts, parts, 0, NULL));
done:
    return status;
}

static lego_status emit_edges(int32_t *out, lg_onnx_node *node, int32_t x, int64_t axis, int64_t extent, const int64_t *n)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_CONCAT);
    int32_t parts[2 * MOST_REPEATED + 1], edges[2] = { LG_NONE, LG_NONE }, n_parts = 0;
    lego_status status = LEGO_OK;

    attrs.axis.axis = axis;
    if (n[0] > MOST_REPEATED || n[1] > MOST_REPEATED)
        LG_FAIL(LEGO_EUNSUPPORTED, "edges repeated more than %d times", MOST_REPEATED);
    for (int side = 0; side < 2; side++)
        if (n[side] > 0)
            LG_TRY(emit_run(&edges[side], node, x, axis, side ? extent - 1 : 0, 1, 1));
    for (int64_t i = 0; i < n[0]; i++)
        parts[n_parts++] = edges[0];
    parts[n_parts++] = x;
    for (int64_t i = 0; i < n[1]; i++)
        parts[n_parts++] = edges[1];
    LG_TRY(lg_onnx_emit_full(out, node, LG_OP_CONCAT, &attrs, n_parts, parts, 0, NULL));
done:
    return status;
}

lego_status lg_onnx_pad_with_itself(lg_onnx_node *node, const int64_t *pads, const ProtobufCBinaryData *mode)
{
    lego_status (*emit)(int32_t *, lg_onnx_node *, int32_t, int64_t, int64_t, const int64_t *) = NULL;
    lg_place place;
    int32_t x;
    lego_status status = LEGO_OK;

    if (lg_onnx_text_is(mode, "reflect"))
        emit = emit_reflected;
    else if (lg_onnx_text_is(mode, "edge"))
        emit = emit_edges;
    else if (lg_onnx_text_is(mode, "wrap"))
        emit = emit_wrapped;
    else
        LG_FAIL(LEGO_EUNSUPPORTED, "padding with mode '%.*s', 'constant', 'reflect', 'edge' and 'wrap' are supported",
                (int)(mode->len > 32 ? 32 : mode->len), (const char *)mode->data);
    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    for (int dim = 0; dim < place.shape.n_dims; dim++) {
        const int64_t n[2] = { pads[dim], pads[place.shape.n_dims + dim] };
        int64_t axis;

        if (n[0] == 0 && n[1] == 0)
            continue;
        if (n[0] < 0 || n[1] < 0)
            LG_FAIL(LEGO_EUNSUPPORTED, "negative padding with this mode");
        LG_TRY(lg_onnx_place_axis(&axis, &place, dim, "it would pad"));
        LG_TRY(emit(&x, node, x, axis, place.shape.dims[dim], n));
        place.shape.dims[dim] += n[0] + n[1];
    }
    LG_TRY(lg_onnx_finish_placed(node, 0, x, &place));
done:
    return status;
}
