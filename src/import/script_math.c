/* Converters of TorchScript's operators that compute element by element or along an axis. */
#include "import/script.h"

#include <string.h>

#include "import/imported.h"

#define LARGEST 3.4028234663852886e38 /* of float32 */

#define PLAIN_UNARY(name, KIND)                               \
    static lego_status convert_##name(lg_script_at *at)       \
    {                                                         \
        return lg_script_give_unary(at, LG_OP_##KIND, NULL);  \
    }
#define PLAIN_FUNCTION(KIND, name) PLAIN_UNARY(name, KIND)
PLAIN_UNARY(relu, RELU)
PLAIN_UNARY(relu6, CLIP) /* whose defaults are 0 and 6 */
PLAIN_UNARY(sigmoid, SIGMOID)
PLAIN_UNARY(tanh, TANH)
PLAIN_UNARY(hard_sigmoid, HARD_SIGMOID)
PLAIN_UNARY(hard_swish, HARD_SWISH)
PLAIN_UNARY(silu, SILU)
LG_FUNCTIONS(PLAIN_FUNCTION)

static lego_status convert_gelu(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_GELU);
    const lg_script_arg *form = lg_script_argument(at, 1);

    attrs.gelu.tanh = form->type == LG_SCRIPT_TEXT && strcmp(form->text, "tanh") == 0;
    return lg_script_give_unary(at, LG_OP_GELU, &attrs);
}

static lego_status convert_leaky_relu(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_LEAKY_RELU);
    lego_status status = lg_script_number(&attrs.leaky_relu.slope, at, 1);

    return status == LEGO_OK ? lg_script_give_unary(at, LG_OP_LEAKY_RELU, &attrs) : status;
}

/* hardtanh(x, min, max), clamp(x, min, max): None is no limit, and float32 has none beyond its largest number */
static lego_status convert_clamp(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_CLIP);
    lego_status status = LEGO_OK;

    attrs.clip.min = -LARGEST;
    attrs.clip.max = LARGEST;
    if (!lg_script_is_none(at, 1))
        LG_TRY(lg_script_number(&attrs.clip.min, at, 1));
    if (!lg_script_is_none(at, 2))
        LG_TRY(lg_script_number(&attrs.clip.max, at, 2));
    LG_TRY(lg_script_give_unary(at, LG_OP_CLIP, &attrs));
done:
    return status;
}

/* clamp_min(x, min), clamp_max(x, max) */
static lego_status give_clamp(lg_script_at *at, int is_max)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_CLIP);
    double limit = 0.0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_number(&limit, at, 1));
    attrs.clip.min = is_max ? -LARGEST : limit;
    attrs.clip.max = is_max ? limit : LARGEST;
    LG_TRY(lg_script_give_unary(at, LG_OP_CLIP, &attrs));
done:
    return status;
}

static lego_status convert_clamp_min(lg_script_at *at)
{
    return give_clamp(at, 0);
}

static lego_status convert_clamp_max(lg_script_at *at)
{
    return give_clamp(at, 1);
}

/* glu(x, axis): the first half, gated by the second */
static lego_status convert_glu(lg_script_at *at)
{
    int64_t axis = 0, half;
    int32_t x, parts[2], y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_axis(&axis, at, 1, lg_script_output(at, 0)->n_dims));
    half = lg_script_output(at, 0)->dims[axis];
    for (int i = 0; i < 2; i++)
        LG_TRY(lg_script_emit_slice(&parts[i], at, x, axis, i * half, (i + 1) * half));
    LG_TRY(lg_script_emit_unary(&parts[1], at, LG_OP_SIGMOID, NULL, parts[1]));
    LG_TRY(lg_script_emit(&y, at, LG_OP_MUL, NULL, 2, parts, 0, NULL));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

static lego_status convert_prelu(lg_script_at *at)
{
    int32_t x, y, weight;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_weight(&weight, at, 1, "weight", LG_SCRIPT_AS_IS));
    LG_TRY(lg_script_emit(&y, at, LG_OP_PRELU, NULL, 1, &x, 1, &weight));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

static lego_status give_softmax(lg_script_at *at, lg_op_kind kind)
{
    lg_attrs attrs = lg_script_defaults(kind);
    lg_place place;
    int64_t dim;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&x, &place, at, 0));
    LG_TRY(lg_script_placed_axis(&dim, &attrs.axis.axis, at, 1, &place));
    LG_TRY(lg_script_give_unary(at, kind, &attrs));
done:
    return status;
}

static lego_status convert_softmax(lg_script_at *at)
{
    return give_softmax(at, LG_OP_SOFTMAX);
}

static lego_status convert_log_softmax(lg_script_at *at)
{
    return give_softmax(at, LG_OP_LOG_SOFTMAX);
}

static lego_status convert_dropout(lg_script_at *at)
{
    int64_t training = 0;
    lego_status status = lg_script_int(&training, at, 2);

    if (status != LEGO_OK)
        return status;
    return training ? lg_script_unsupported("it drops at random even in evaluation") : lg_script_hand_on(at);
}

/* Argument i of an operator whose tensors meet in this place: one of them, or a number. */
static lego_status operand_at(int32_t *value, lg_script_at *at, int i, const lg_place *place)
{
    const lg_script_arg *arg = lg_script_argument(at, i);
    double number = 0.0;
    lego_status status = LEGO_OK;

    if (arg->type == LG_SCRIPT_TENSOR)
        return lg_script_tensor_at(value, at, arg->integer, place);
    LG_TRY(lg_script_number(&number, at, i));
    LG_TRY(lg_script_scalar(value, at, number, lg_place_graph_shape(place).n_dims));
done:
    return status;
}

/* Where arguments 0 and 1 meet, with the recorded shape. */
static lego_status meeting_of_two(lg_place *place, lg_script_at *at)
{
    const lg_script_tensor *out = lg_script_output(at, 0);
    int64_t tensors[2];
    int n = 0;
    lego_status status = LEGO_OK;

    for (int i = 0; i < 2; i++)
        if (lg_script_argument(at, i)->type == LG_SCRIPT_TENSOR)
            tensors[n++] = lg_script_argument(at, i)->integer;
    LG_TRY(lg_script_meeting(place, at, tensors, n, out->n_dims));
    place->shape = lg_shape_make(out->n_dims, out->dims);
done:
    return status;
}

/* x op (alpha y); `swapped`: (y op alpha x) */
static lego_status binary(lg_script_at *at, lg_op_kind kind, int i_alpha, int swapped)
{
    double alpha = 1.0;
    lg_place place;
    int32_t operands[2], scale, y;
    lego_status status = LEGO_OK;

    LG_TRY(meeting_of_two(&place, at));
    for (int i = 0; i < 2; i++)
        LG_TRY(operand_at(&operands[i], at, swapped ? 1 - i : i, &place));
    if (i_alpha >= 0 && !lg_script_is_none(at, i_alpha))
        LG_TRY(lg_script_number(&alpha, at, i_alpha));
    if (alpha != 1.0) {
        LG_TRY(lg_script_scalar(&scale, at, alpha, lg_place_graph_shape(&place).n_dims));
        LG_TRY(lg_script_emit(&operands[1], at, LG_OP_MUL, NULL, 2, (int32_t[]){ operands[1], scale }, 0, NULL));
    }
    LG_TRY(lg_script_emit(&y, at, kind, NULL, 2, operands, 0, NULL));
    LG_TRY(lg_script_finish_placed(at, 0, y, &place));
done:
    return status;
}

static lego_status convert_add(lg_script_at *at)
{
    return binary(at, LG_OP_ADD, 2, 0);
}

static lego_status convert_sub(lg_script_at *at)
{
    return binary(at, LG_OP_SUB, 2, 0);
}

static lego_status convert_rsub(lg_script_at *at)
{
    return binary(at, LG_OP_SUB, 2, 1);
}

static lego_status convert_mul(lg_script_at *at)
{
    return binary(at, LG_OP_MUL, -1, 0);
}

static lego_status convert_div(lg_script_at *at)
{
    if (!lg_script_is_none(at, 2))
        return lg_script_unsupported("a division that rounds");
    return binary(at, LG_OP_DIV, -1, 0);
}

static lego_status convert_neg(lg_script_at *at)
{
    lg_place place;
    int32_t operands[2], y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&operands[0], &place, at, 0));
    LG_TRY(lg_script_scalar(&operands[1], at, -1.0, lg_place_graph_shape(&place).n_dims));
    LG_TRY(lg_script_emit(&y, at, LG_OP_MUL, NULL, 2, operands, 0, NULL));
    LG_TRY(lg_script_finish_placed(at, 0, y, &place));
done:
    return status;
}

/* pow(x, exponent), square(x), rsqrt(x) */
static lego_status give_power(lg_script_at *at, double exponent)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_POW);

    attrs.pow.exponent = exponent;
    return lg_script_give_unary(at, LG_OP_POW, &attrs);
}

static lego_status convert_square(lg_script_at *at)
{
    return give_power(at, 2.0);
}

static lego_status convert_rsqrt(lg_script_at *at)
{
    return give_power(at, -0.5);
}

static lego_status convert_pow(lg_script_at *at)
{
    double exponent = 0.0;
    lego_status status = lg_script_number(&exponent, at, 1);

    return status == LEGO_OK ? give_power(at, exponent) : status;
}

/* elu(x, alpha, scale, input_scale) */
static lego_status convert_elu(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_ELU);
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_number(&attrs.elu.alpha, at, 1));
    LG_TRY(lg_script_number(&attrs.elu.scale, at, 2));
    LG_TRY(lg_script_number(&attrs.elu.input_scale, at, 3));
    LG_TRY(lg_script_give_unary(at, LG_OP_ELU, &attrs));
done:
    return status;
}

static lego_status convert_selu(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_ELU);

    attrs.elu.alpha = 1.6732632423543772;
    attrs.elu.scale = 1.0507009873554805;
    return lg_script_give_unary(at, LG_OP_ELU, &attrs);
}

static lego_status convert_celu(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_ELU);
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_number(&attrs.elu.alpha, at, 1));
    attrs.elu.input_scale = 1.0 / attrs.elu.alpha;
    LG_TRY(lg_script_give_unary(at, LG_OP_ELU, &attrs));
done:
    return status;
}

/* softplus(x, beta, threshold): from beta x = threshold on it is x itself, which at 15 is less than a float can tell */
static lego_status convert_softplus(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_SOFTPLUS);
    double threshold = 20.0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_number(&attrs.softplus.beta, at, 1));
    LG_TRY(lg_script_number(&threshold, at, 2));
    if (!(threshold >= 15.0))
        LG_FAIL(LEGO_EUNSUPPORTED, "threshold %g; 15 and more are supported", threshold);
    LG_TRY(lg_script_give_unary(at, LG_OP_SOFTPLUS, &attrs));
done:
    return status;
}

/* hardshrink(x, lambda), softshrink(x, lambda), whose bias is lambda */
static lego_status give_shrink(lg_script_at *at, int soft)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_SHRINK);
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_number(&attrs.shrink.lambda, at, 1));
    attrs.shrink.bias = soft ? attrs.shrink.lambda : 0.0;
    LG_TRY(lg_script_give_unary(at, LG_OP_SHRINK, &attrs));
done:
    return status;
}

static lego_status convert_hardshrink(lg_script_at *at)
{
    return give_shrink(at, 0);
}

static lego_status convert_softshrink(lg_script_at *at)
{
    return give_shrink(at, 1);
}

/* threshold(x, threshold, value) */
static lego_status convert_threshold(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_THRESHOLDED_RELU);
    double value = 0.0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_number(&attrs.thresholded_relu.alpha, at, 1));
    LG_TRY(lg_script_number(&value, at, 2));
    if (value != 0.0)
        LG_FAIL(LEGO_EUNSUPPORTED, "value %g below the threshold; 0 is supported", value);
    LG_TRY(lg_script_give_unary(at, LG_OP_THRESHOLDED_RELU, &attrs));
done:
    return status;
}

typedef enum reduction { REDUCE_MEAN, REDUCE_SUM, REDUCE_MAX, REDUCE_MIN } reduction;
static const char *const reduction_names[] = { "mean", "sum", "maximum", "minimum" };

/* x times a number. */
static lego_status emit_scaled(int32_t *y, lg_script_at *at, int32_t x, double factor)
{
    int32_t values[2] = { x };
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_scalar(&values[1], at, factor, lg_script_shape(at, x)->n_dims));
    LG_TRY(lg_script_emit(y, at, LG_OP_MUL, NULL, 2, values, 0, NULL));
done:
    return status;
}

/* The largest element over the axes of the bits, to this shape: a pool over all places. */
static lego_status emit_largest(int32_t *y, lg_script_at *at, int32_t x, unsigned axes, const lg_shape *shape)
{
    lg_attrs order = lg_script_defaults(LG_OP_PERMUTE), pool = lg_script_defaults(LG_OP_ADAPTIVE_MAX_POOL);
    lg_attrs form = lg_script_defaults(LG_OP_RESHAPE);
    lego_status status = LEGO_OK;

    if (lg_imported_plane(&order.permute.order, &form.reshape.shape, lg_script_shape(at, x), axes))
        LG_TRY(lg_script_emit_unary(&x, at, LG_OP_PERMUTE, &order, x));
    if (form.reshape.shape.n > 0)
        LG_TRY(lg_script_emit_unary(&x, at, LG_OP_RESHAPE, &form, x));
    pool.adaptive_pool.size[0] = pool.adaptive_pool.size[1] = 1;
    LG_TRY(lg_script_emit_unary(&x, at, LG_OP_ADAPTIVE_MAX_POOL, &pool, x));
    form.reshape.shape.n = shape->n_dims - 1;
    for (int i = 1; i < shape->n_dims; i++)
        form.reshape.shape.dims[i - 1] = shape->dims[i];
    LG_TRY(lg_script_emit_unary(y, at, LG_OP_RESHAPE, &form, x));
done:
    return status;
}

/* mean, sum, amax, amin(x, axes, keepdim), of a sum the mean times the number of elements; max, min(x, axis, keepdim) */
static lego_status give_reduction(lg_script_at *at, reduction kind)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_MEAN);
    const lg_script_arg *axes = lg_script_argument(at, 1);
    const lg_script_tensor *x = lg_script_tensor_of(at, 0);
    const char *name = reduction_names[kind];
    int64_t list[LEGO_MAX_DIMS];
    lg_place from, to;
    lg_shape shape;
    unsigned reduced = 0, in_graph = 0;
    int64_t keep = 0;
    double n = 1.0;
    int32_t value, y;
    int n_axes;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_refuse_indices(at));
    n_axes = axes->type == LG_SCRIPT_INTS ? (int)axes->n : axes->type == LG_SCRIPT_INT ? 1 : 0;
    if (!x || n_axes < 1 || n_axes > LEGO_MAX_DIMS)
        LG_FAIL(LEGO_EUNSUPPORTED, "a %s over everything, the batch included", name);
    LG_TRY(lg_script_ints(list, at, 1, n_axes));
    LG_TRY(lg_script_placed(&value, &from, at, 0));
    LG_TRY(lg_script_int(&keep, at, 2));
    attrs.mean.keep = keep != 0;
    attrs.mean.axes.n = n_axes;
    for (int i = 0; i < n_axes; i++) {
        const int64_t dim = list[i] < 0 ? list[i] + x->n_dims : list[i];

        if (dim < 0 || dim >= x->n_dims || lg_place_axis(&from, (int)dim) == 0)
            LG_FAIL(LEGO_EUNSUPPORTED, "a %s over axis %lld, which holds the batch", name, (long long)dim);
        attrs.mean.axes.dims[i] = lg_place_axis(&from, (int)dim);
        reduced |= 1u << dim;
        in_graph |= 1u << attrs.mean.axes.dims[i];
        n *= (double)x->dims[dim];
    }
    to = lg_place_reduced(&from, reduced, keep != 0);
    shape = lg_place_graph_shape(&to);
    if (kind == REDUCE_MIN)
        LG_TRY(emit_scaled(&value, at, value, -1.0));
    if (kind == REDUCE_MAX || kind == REDUCE_MIN)
        LG_TRY(emit_largest(&y, at, value, in_graph, &shape));
    else
        LG_TRY(lg_script_emit_unary(&y, at, LG_OP_MEAN, &attrs, value));
    if (kind == REDUCE_SUM || kind == REDUCE_MIN)
        LG_TRY(emit_scaled(&y, at, y, kind == REDUCE_SUM ? n : -1.0));
    LG_TRY(lg_script_finish_placed(at, 0, y, &to));
done:
    return status;
}

static lego_status convert_mean(lg_script_at *at)
{
    return give_reduction(at, REDUCE_MEAN);
}

static lego_status convert_sum(lg_script_at *at)
{
    return give_reduction(at, REDUCE_SUM);
}

static lego_status convert_amax(lg_script_at *at)
{
    return give_reduction(at, REDUCE_MAX);
}

static lego_status convert_amin(lg_script_at *at)
{
    return give_reduction(at, REDUCE_MIN);
}

/* Of two values, or over an axis; what says where it was, the second output, must be unused. */
static lego_status convert_min(lg_script_at *at)
{
    return lg_script_tensor_of(at, 1) ? binary(at, LG_OP_MIN, -1, 0) : give_reduction(at, REDUCE_MIN);
}

static lego_status convert_max(lg_script_at *at)
{
    return lg_script_tensor_of(at, 1) ? binary(at, LG_OP_MAX, -1, 0) : give_reduction(at, REDUCE_MAX);
}

const lg_script_op lg_script_math_ops[] = {
    { "relu", convert_relu },
    { "relu6", convert_relu6 },
    { "sigmoid", convert_sigmoid },
    { "tanh", convert_tanh },
    { "hardsigmoid", convert_hard_sigmoid },
    { "hardswish", convert_hard_swish },
    { "silu", convert_silu },
    { "gelu", convert_gelu },
    { "leaky_relu", convert_leaky_relu },
    { "hardtanh", convert_clamp },
    { "clamp", convert_clamp },
    { "clip", convert_clamp },
    { "prelu", convert_prelu },
    { "softmax", convert_softmax },
    { "dropout", convert_dropout },
    { "feature_dropout", convert_dropout },
    { "contiguous", lg_script_hand_on },
    { "clone", lg_script_hand_on },
    { "detach", lg_script_hand_on },
    { "to", lg_script_hand_on },
    { "alias", lg_script_hand_on },
    { "type_as", lg_script_hand_on },
    { "float", lg_script_hand_on },
    { "alpha_dropout", convert_dropout },
    { "feature_alpha_dropout", convert_dropout },
    { "clamp_min", convert_clamp_min },
    { "clamp_max", convert_clamp_max },
    { "glu", convert_glu },
    { "subtract", convert_sub },
    { "divide", convert_div },
    { "true_divide", convert_div },
    { "negative", convert_neg },
    { "add", convert_add },
    { "sub", convert_sub },
    { "rsub", convert_rsub },
    { "mul", convert_mul },
    { "multiply", convert_mul },
    { "div", convert_div },
    { "neg", convert_neg },
    { "min", convert_min },
    { "minimum", convert_min },
    { "max", convert_max },
    { "maximum", convert_max },
    { "pow", convert_pow },
    { "square", convert_square },
    { "rsqrt", convert_rsqrt },
    { "elu", convert_elu },
    { "selu", convert_selu },
    { "celu", convert_celu },
    { "softplus", convert_softplus },
    { "hardshrink", convert_hardshrink },
    { "softshrink", convert_softshrink },
    { "threshold", convert_threshold },
    { "log_softmax", convert_log_softmax },
#define FUNCTION(KIND, name) { #name, convert_##name },
    LG_FUNCTIONS(FUNCTION)
#undef FUNCTION
    { "amax", convert_amax },
    { "amin", convert_amin },
    { "mean", convert_mean },
    { "sum", convert_sum },
    { NULL, NULL },
};
