/* exec_ref.c: the reference engine, one clear loop nest a step; the oracle of every other engine.
 *
 * Row-major data, one thread, products accumulated in double in one fixed order and rounded once, so that a result
 * depends on nothing but the step's inputs: planned with `exact`, a composition of originals equals the model bit for
 * bit. The innermost loop of convolution and linear runs over output channels: it vectorises for every image size,
 * and keeps the order of additions of each output.
 *
 * What newcomers get wrong: average pooling divides by the window clipped to the *padded* image when padding counts
 * (as torch does), so a window that ceil_mode pushes beyond the padding is smaller than the kernel. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/cache.h"
#include "engine/plan.h"
#include "engine/ref.h"

static float activate(double x, const lg_act *act)
{
    if (act->kind == LG_ACT_NONE)
        return (float)x;
    if (x < act->lo) /* a NaN passes */
        return act->lo;
    return x > act->hi ? act->hi : (float)x;
}

/* --- convolution and linear --- */

lego_status lg_ref_pack(float *to, const float *from, const lg_step *step, void *payload)
{
    int64_t n_groups = step->kind == LG_STEP_CONV ? step->attrs.conv.groups : 1;
    int64_t n_out = step->weight.shape.dims[0] / n_groups;
    int64_t row = lg_tensor_count(&step->weight) / step->weight.shape.dims[0];

    (void)payload;
    for (int64_t g = 0; g < n_groups; g++)
        for (int64_t k = 0; k < n_out; k++)
            for (int64_t i = 0; i < row; i++)
                to[(g * row + i) * n_out + k] = from[(g * n_out + k) * row + i];
    return LEGO_OK;
}

static void multiply_add(double *restrict sums, double x, const float *restrict weight, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        sums[k] += x * weight[k];
}

/* Sums of one output pixel: x (C/g,H,W) of one group, weight (C/g,R,S,K/g). */
static void convolve_pixel(double *sums, const float *x, const float *weight, const lg_conv_attrs *conv,
                           const int64_t *kernel, int64_t n_in, int64_t height, int64_t width, int64_t top,
                           int64_t left, int64_t n_out)
{
    for (int64_t c = 0; c < n_in; c++)
        for (int64_t r = 0; r < kernel[0]; r++) {
            int64_t h = top + r * conv->dilation[0];
            if (h < 0 || h >= height)
                continue;
            for (int64_t s = 0; s < kernel[1]; s++) {
                int64_t w = left + s * conv->dilation[1];
                if (w >= 0 && w < width)
                    multiply_add(sums, x[(c * height + h) * width + w],
                                 weight + ((c * kernel[0] + r) * kernel[1] + s) * n_out, n_out);
            }
        }
}

/* x (N,C,H,W) -> y (N,K,P,Q) */
static void convolve(float *y, const lg_program *program, const lg_step *step, const float *x, const float *residual,
                     const float *weight, const float *bias, double *sums)
{
    const lg_conv_attrs *conv = &step->attrs.conv;
    const int64_t *in = program->cells[step->inputs[0]].shape.dims;
    const int64_t *out = program->cells[step->output].shape.dims;
    const int64_t *kernel = step->weight.shape.dims + 2;
    int64_t n_in = in[1] / conv->groups, n_out = out[1] / conv->groups;
    int64_t row = n_in * kernel[0] * kernel[1];

    for (int64_t n = 0; n < out[0]; n++)
        for (int64_t g = 0; g < conv->groups; g++)
            for (int64_t p = 0; p < out[2]; p++)
                for (int64_t q = 0; q < out[3]; q++) {
                    for (int64_t k = 0; k < n_out; k++)
                        sums[k] = bias[g * n_out + k];
                    convolve_pixel(sums, x + (n * in[1] + g * n_in) * in[2] * in[3], weight + g * row * n_out, conv,
                                   kernel, n_in, in[2], in[3], p * conv->stride[0] - conv->pads[0],
                                   q * conv->stride[1] - conv->pads[1], n_out);
                    for (int64_t k = 0; k < n_out; k++) {
                        int64_t i = ((n * out[1] + g * n_out + k) * out[2] + p) * out[3] + q;
                        y[i] = activate(residual ? sums[k] + residual[i] : sums[k], &step->act);
                    }
                }
}

/* x (rows,C) -> y (rows,K) */
static void multiply(float *y, const lg_program *program, const lg_step *step, const float *x, const float *residual,
                     const float *weight, const float *bias, double *sums)
{
    int64_t n_out = step->weight.shape.dims[0], n_in = step->weight.shape.dims[1];
    int64_t n_rows = program->cells[step->output].elements / n_out;

    for (int64_t row = 0; row < n_rows; row++) {
        for (int64_t k = 0; k < n_out; k++)
            sums[k] = bias[k];
        for (int64_t c = 0; c < n_in; c++)
            multiply_add(sums, x[row * n_in + c], weight + c * n_out, n_out);
        for (int64_t k = 0; k < n_out; k++) {
            int64_t i = row * n_out + k;
            y[i] = activate(residual ? sums[k] + residual[i] : sums[k], &step->act);
        }
    }
}

/* --- element by element --- */

/* x (N,C,...) -> y of the same shape */
static void scale_shift(float *y, const lg_program *program, const lg_step *step, const float *x, double *factors)
{
    const lg_cell *cell = &program->cells[step->output];
    int64_t n_channels = cell->shape.dims[1];
    int64_t inner = n_channels > 0 ? cell->elements / (cell->shape.dims[0] * n_channels) : 0;

    lg_norm_affine(factors, factors + n_channels, &step->norm, n_channels);
    for (int64_t n = 0; n < cell->shape.dims[0]; n++)
        for (int64_t c = 0; c < n_channels; c++)
            for (int64_t i = (n * n_channels + c) * inner; i < (n * n_channels + c + 1) * inner; i++)
                y[i] = activate(x[i] * factors[c] + factors[n_channels + c], &step->act);
}

static void add(float *y, const lg_step *step, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = activate((double)a[i] + b[i], &step->act);
}

static void act_only(float *y, const lg_step *step, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = activate(x[i], &step->act);
}

/* --- pooling: x (N,C,H,W) -> y (N,C,P,Q), one plane at a time --- */

static float max_window(const float *x, const lg_pool_attrs *pool, int64_t height, int64_t width, int64_t top,
                        int64_t left)
{
    float best = -INFINITY;

    for (int64_t r = 0; r < pool->kernel[0]; r++)
        for (int64_t s = 0; s < pool->kernel[1]; s++) {
            int64_t h = top + r * pool->dilation[0], w = left + s * pool->dilation[1];
            if (h < 0 || h >= height || w < 0 || w >= width)
                continue;
            if (x[h * width + w] > best || isnan(x[h * width + w]))
                best = x[h * width + w];
        }
    return best;
}

static float mean_window(const float *x, const lg_pool_attrs *pool, int64_t height, int64_t width, int64_t top,
                         int64_t left)
{
    double sum = 0.0;
    int64_t count = 0;

    for (int64_t r = 0; r < pool->kernel[0]; r++)
        for (int64_t s = 0; s < pool->kernel[1]; s++) {
            int64_t h = top + r * pool->dilation[0], w = left + s * pool->dilation[1];
            int inside = h >= 0 && h < height && w >= 0 && w < width;
            int padding = h < height + pool->pads[2] && w < width + pool->pads[3];
            if (inside)
                sum += x[h * width + w];
            count += inside || (padding && pool->count_include_pad);
        }
    return count > 0 ? (float)(sum / (double)count) : 0.0f;
}

static void pool_windows(float *y, const lg_program *program, const lg_step *step, const float *x)
{
    const lg_pool_attrs *pool = &step->attrs.pool;
    const int64_t *in = program->cells[step->inputs[0]].shape.dims;
    const int64_t *out = program->cells[step->output].shape.dims;

    for (int64_t plane = 0; plane < in[0] * in[1]; plane++)
        for (int64_t p = 0; p < out[2]; p++)
            for (int64_t q = 0; q < out[3]; q++) {
                const float *from = x + plane * in[2] * in[3];
                int64_t top = p * pool->stride[0] - pool->pads[0], left = q * pool->stride[1] - pool->pads[1];
                y[(plane * out[2] + p) * out[3] + q] = step->kind == LG_STEP_MAX_POOL
                                                           ? max_window(from, pool, in[2], in[3], top, left)
                                                           : mean_window(from, pool, in[2], in[3], top, left);
            }
}

/* Window p of P over H: [floor(p*H/P), ceil((p+1)*H/P)), as torch cuts it. */
static void pool_adaptive(float *y, const lg_program *program, const lg_step *step, const float *x)
{
    const int64_t *in = program->cells[step->inputs[0]].shape.dims;
    const int64_t *out = program->cells[step->output].shape.dims;

    for (int64_t plane = 0; plane < in[0] * in[1]; plane++)
        for (int64_t p = 0; p < out[2]; p++)
            for (int64_t q = 0; q < out[3]; q++) {
                int64_t top = p * in[2] / out[2], bottom = ((p + 1) * in[2] + out[2] - 1) / out[2];
                int64_t left = q * in[3] / out[3], right = ((q + 1) * in[3] + out[3] - 1) / out[3];
                double sum = 0.0;
                for (int64_t h = top; h < bottom; h++)
                    for (int64_t w = left; w < right; w++)
                        sum += x[(plane * in[2] + h) * in[3] + w];
                y[(plane * out[2] + p) * out[3] + q] = (float)(sum / (double)((bottom - top) * (right - left)));
            }
}

/* --- one step --- */

size_t lg_ref_scratch_bytes(const lg_step *step)
{
    switch (step->kind) {
    case LG_STEP_CONV:
    case LG_STEP_LINEAR:
        return (size_t)lg_step_channels(step) * sizeof(double);
    case LG_STEP_AFFINE:
        return (size_t)lg_step_channels(step) * 2 * sizeof(double);
    default:
        return 0;
    }
}

void lg_ref_run(float *out, const lg_program *program, const lg_step *step, const float *const *inputs,
                const float *residual, const float *weight, const float *bias, void *scratch)
{
    int64_t n = program->cells[step->output].elements;

    switch (step->kind) {
    case LG_STEP_CONV:
        convolve(out, program, step, inputs[0], residual, weight, bias, scratch);
        break;
    case LG_STEP_LINEAR:
        multiply(out, program, step, inputs[0], residual, weight, bias, scratch);
        break;
    case LG_STEP_AFFINE:
        scale_shift(out, program, step, inputs[0], scratch);
        break;
    case LG_STEP_ADD:
        add(out, step, inputs[0], inputs[1], n);
        break;
    case LG_STEP_ACT:
        act_only(out, step, inputs[0], n);
        break;
    case LG_STEP_MAX_POOL:
    case LG_STEP_AVG_POOL:
        pool_windows(out, program, step, inputs[0]);
        break;
    case LG_STEP_ADAPTIVE_POOL:
        pool_adaptive(out, program, step, inputs[0]);
        break;
    }
}

/* --- the backend --- */

typedef struct ref_state {
    const float **cells;       /* base cells: where the data is; graph inputs are bound by begin() */
    float **written;           /* the same for what steps write */
    void **scratch;            /* per step */
    lg_cache_entry **weights;  /* per step, NULL where there are none */
    float *const *outputs;     /* of the run under way */
} ref_state;

static const char *ref_name(void)
{
    return "ref";
}

/* One request a base cell that a step writes, one a step's scratch. */
static lego_status place(lg_plan *plan, ref_state *state)
{
    const lg_program *program = plan->program;
    size_t n = (size_t)program->n_cells + (size_t)program->n_steps;
    lg_arena_request *requests = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&requests, n));
    for (int32_t i = 0; i < program->n_cells; i++) {
        const lg_cell *cell = &program->cells[i];
        int owns = cell->base == i && cell->first >= 0;
        requests[i] = (lg_arena_request){ owns ? (size_t)cell->elements * sizeof(float) : 0, cell->first, cell->last,
                                          0 };
    }
    for (int32_t i = 0; i < program->n_steps; i++)
        requests[program->n_cells + i] =
            (lg_arena_request){ lg_ref_scratch_bytes(&program->steps[i]), i, i, 0 };
    LG_TRY(lg_plan_allocate(plan, requests, n));
    for (int32_t i = 0; i < program->n_cells; i++)
        if (program->cells[i].base == i && program->cells[i].first >= 0) {
            state->written[i] = (float *)(void *)(plan->arena + requests[i].offset);
            state->cells[i] = state->written[i];
        }
    for (int32_t i = 0; i < program->n_steps; i++)
        state->scratch[i] = plan->arena + requests[program->n_cells + i].offset;
done:
    lg_free(requests);
    return status;
}

static lego_status ref_prepare(lg_plan *plan)
{
    const lg_program *program = plan->program;
    ref_state *state = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&state, 1));
    plan->state = state;
    LG_TRY(LG_CALLOC(&state->cells, program->n_cells));
    LG_TRY(LG_CALLOC(&state->written, program->n_cells));
    LG_TRY(LG_CALLOC(&state->scratch, program->n_steps));
    LG_TRY(LG_CALLOC(&state->weights, program->n_steps));
    LG_TRY(LG_CALLOC(&plan->op_blocks, program->n_steps + program->n_outputs));
    LG_TRY(LG_CALLOC(&plan->op_weight_bytes, program->n_steps + program->n_outputs));
    plan->n_ops = program->n_steps + program->n_outputs;
    for (int32_t i = 0; i < program->n_steps; i++) {
        const lg_step *step = &program->steps[i];
        plan->op_blocks[i] = step->block;
        if (step->kind != LG_STEP_CONV && step->kind != LG_STEP_LINEAR)
            continue;
        LG_TRY(lg_packed_get(&state->weights[i], plan->cache, step, "ref", lg_tensor_bytes(&step->weight),
                             lg_ref_pack, NULL));
        plan->op_weight_bytes[i] = lg_cache_entry_bytes(state->weights[i]);
        plan->weight_bytes += plan->op_weight_bytes[i];
    }
    for (int32_t i = 0; i < program->n_outputs; i++)
        plan->op_blocks[program->n_steps + i] = LG_NONE;
    LG_TRY(place(plan, state));
done:
    return status;
}

static void ref_dispose(lg_plan *plan)
{
    ref_state *state = plan->state;

    if (!state)
        return;
    for (int32_t i = 0; state->weights && i < plan->program->n_steps; i++)
        lg_cache_release(plan->cache, state->weights[i]);
    lg_free(state->weights);
    lg_free(state->cells);
    lg_free(state->written);
    lg_free(state->scratch);
    lg_free(state);
}

static lego_status ref_begin(lg_plan *plan, const float *const *inputs, float *const *outputs)
{
    ref_state *state = plan->state;

    for (int32_t i = 0; i < plan->program->n_inputs; i++)
        state->cells[plan->program->inputs[i]] = inputs[i];
    state->outputs = outputs;
    return LEGO_OK;
}

static const float *cell_data(const lg_plan *plan, int32_t cell)
{
    const ref_state *state = plan->state;

    return state->cells[plan->program->cells[cell].base];
}

static lego_status ref_run_op(lg_plan *plan, int32_t op)
{
    const lg_program *program = plan->program;
    ref_state *state = plan->state;
    const lg_step *step;
    const float *inputs[2] = { NULL, NULL };
    const lg_packed *packed;

    if (op >= program->n_steps) { /* hand a graph output over */
        int32_t output = op - program->n_steps;
        int32_t cell = program->outputs[output];
        memcpy(state->outputs[output], cell_data(plan, cell), (size_t)program->cells[cell].elements * sizeof(float));
        return LEGO_OK;
    }
    step = &program->steps[op];
    for (int32_t i = 0; i < step->n_inputs; i++)
        inputs[i] = cell_data(plan, step->inputs[i]);
    packed = state->weights[op] ? lg_cache_payload(state->weights[op]) : NULL;
    lg_ref_run(state->written[step->output], program, step, inputs,
               step->residual == LG_NONE ? NULL : cell_data(plan, step->residual), packed ? packed->weight : NULL,
               packed ? packed->bias : NULL, state->scratch[op]);
    return LEGO_OK;
}

static void ref_end(lg_plan *plan)
{
    ref_state *state = plan->state;

    state->outputs = NULL;
}

static void ref_describe(lg_str *out, const lg_plan *plan)
{
    for (int32_t i = 0; i < plan->program->n_steps; i++) {
        const lg_step *step = &plan->program->steps[i];
        lg_str_appendf(out, "%s: ref %s%s%s\n", step->name, lg_step_kind_name(step->kind),
                       step->residual == LG_NONE ? "" : " + residual",
                       step->act.kind == LG_ACT_NONE ? "" : " + activation");
    }
}

const lg_backend lg_backend_ref = {
    .engine = LEGO_ENGINE_REF,
    .name = ref_name,
    .prepare = ref_prepare,
    .dispose = ref_dispose,
    .begin = ref_begin,
    .run_op = ref_run_op,
    .end = ref_end,
    .describe = ref_describe,
};
