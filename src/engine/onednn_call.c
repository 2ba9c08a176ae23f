/* onednn_call.c: kernels of oneDNN bound to memory, and their execution.
 *
 * What newcomers get wrong: scratch memory is the caller's (user scratchpad mode): only then may two threads run one
 * primitive at once. */
#include <string.h>

#include "base/alloc.h"
#include "engine/onednn.h"

#define MAX_ARGS 6
#define IN 0 /* places in lg_call.memory */
#define IN2 1
#define OUT 2
#define WEIGHT 3
#define BIAS 4
#define SCRATCH 5

struct lg_call {
    const lg_kernel *kernel;
    dnnl_stream_t stream;
    dnnl_memory_t memory[MAX_ARGS];
    dnnl_exec_arg_t args[MAX_ARGS];
    int n_args;
    const float *image; /* GEMM: what im2col reads */
    float *columns;
};

static dnnl_status_t add_arg(lg_call *call, int place, int name, const desc *d, const void *data)
{
    dnnl_status_t status =
        dnnl_memory_create(&call->memory[place], arg(d), call->kernel->lib->engine, (void *)data);

    if (status == dnnl_success)
        call->args[call->n_args++] = (dnnl_exec_arg_t){ name, call->memory[place] };
    return status;
}

static dnnl_status_t add_args(lg_call *call, const lg_call_memory *m)
{
    const lg_kernel *k = call->kernel;
    int binary = k->work.kind == LG_WORK_BINARY, matmul = k->work.kind == LG_WORK_MATMUL;
    int gemm = k->candidate.method == LG_METHOD_GEMM, norm = k->work.kind == LG_WORK_LAYER_NORM;
    dnnl_status_t status = add_arg(call, IN, binary ? DNNL_ARG_SRC_0 : DNNL_ARG_SRC, &k->in, gemm ? m->scratch : m->in);

    if (status == dnnl_success && (binary || matmul))
        status = add_arg(call, IN2, binary ? DNNL_ARG_SRC_1 : DNNL_ARG_WEIGHTS, &k->in2, m->in2);
    if (status == dnnl_success)
        status = add_arg(call, OUT, DNNL_ARG_DST, &k->out, m->out);
    if (status == dnnl_success && lg_kernel_weight_bytes(k) > 0) {
        status = add_arg(call, WEIGHT, norm ? DNNL_ARG_SCALE : DNNL_ARG_WEIGHTS, &k->weight, m->weight);
        if (status == dnnl_success)
            status = add_arg(call, BIAS, norm ? DNNL_ARG_SHIFT : DNNL_ARG_BIAS, &k->bias, m->bias);
    }
    if (status == dnnl_success && desc_bytes(&k->scratch) > 0)
        status = add_arg(call, SCRATCH, DNNL_ARG_SCRATCHPAD, &k->scratch, (char *)m->scratch + lg_onednn_column_space(k));
    return status;
}

lego_status lg_call_create(lg_call **out, const lg_kernel *kernel, const lg_call_memory *memory)
{
    lg_call *call = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&call, 1));
    call->kernel = kernel;
    if (kernel->candidate.method == LG_METHOD_GEMM) {
        call->image = memory->in;
        call->columns = memory->scratch;
    }
    LG_TRY(lg_onednn_check(dnnl_stream_create(&call->stream, kernel->lib->engine, dnnl_stream_default_flags),
                 "creating a stream"));
    LG_TRY(lg_onednn_check(add_args(call, memory), "creating memory objects"));
    *out = call;
    call = NULL; /* the caller owns it now */
done:
    lg_call_free(call);
    return status;
}

void lg_call_free(lg_call *call)
{
    if (!call)
        return;
    for (int i = 0; i < MAX_ARGS; i++)
        if (call->memory[i])
            dnnl_memory_destroy(call->memory[i]);
    if (call->stream)
        dnnl_stream_destroy(call->stream);
    lg_free(call);
}

lego_status lg_call_bind_in(lg_call *call, int index, const void *in)
{
    if (call->kernel->candidate.method == LG_METHOD_GEMM) {
        call->image = in;
        return LEGO_OK;
    }
    return lg_onednn_check(dnnl_memory_set_data_handle(call->memory[index == 0 ? IN : IN2], (void *)in),
                           "binding an input");
}

lego_status lg_call_bind_weight(lg_call *call, const float *weight)
{
    return lg_onednn_check(dnnl_memory_set_data_handle(call->memory[WEIGHT], (void *)weight), "binding weights");
}

lego_status lg_call_bind_out(lg_call *call, void *out)
{
    return lg_onednn_check(dnnl_memory_set_data_handle(call->memory[OUT], out), "binding an output");
}

/* What the window that starts at (d,h,v) of one image sees, zeros outside; returns where the next one goes. */
static float *cut_window(float *to, const float *x, const lg_work *work, int64_t d, int64_t h, int64_t v)
{
    const lg_sliding *w = &work->window;
    const int64_t *in = work->in + 2;
    const size_t pixel = (size_t)work->in[1] * sizeof(float);

    for (int64_t t = 0; t < w->kernel[0]; t++)
        for (int64_t r = 0; r < w->kernel[1]; r++)
            for (int64_t s = 0; s < w->kernel[2]; s++, to += work->in[1]) {
                const int64_t z = d + t * w->dilation[0], y = h + r * w->dilation[1], u = v + s * w->dilation[2];
                if (z < 0 || z >= in[0] || y < 0 || y >= in[1] || u < 0 || u >= in[2])
                    memset(to, 0, pixel);
                else
                    memcpy(to, x + ((z * in[1] + y) * in[2] + u) * work->in[1], pixel);
            }
    return to;
}

/* x (N,D,H,W,C) -> columns (output pixels, kernel positions * C) */
static void im2col(float *columns, const float *x, const lg_work *work)
{
    const lg_sliding *w = &work->window;
    const int64_t *out = work->out + 2;

    for (int64_t n = 0; n < work->out[0]; n++, x += work->in[1] * work->in[2] * work->in[3] * work->in[4])
        for (int64_t o = 0; o < out[0]; o++)
            for (int64_t p = 0; p < out[1]; p++)
                for (int64_t q = 0; q < out[2]; q++)
                    columns = cut_window(columns, x, work, o * w->stride[0] - w->before[0],
                                         p * w->stride[1] - w->before[1], q * w->stride[2] - w->before[2]);
}

/* Execute with the stack pointer at an odd multiple of 16. The library's generated code spills vectors where its caller's
 * stack happens to lie; at even multiples they straddle, and a whole network takes 8 to 10 % longer (measured: AMD, AVX-512,
 * 2.6.3). Left to chance that differs from process to process, and between lg_plan_run() and lg_plan_run_timed(). */
static dnnl_status_t execute(const lg_call *call)
{
    volatile char *bottom = __builtin_alloca(1); /* takes 16 bytes */

    if ((uintptr_t)bottom % 32 == 0)
        bottom = __builtin_alloca(1);
    *bottom = 0; /* keeps it where it is */
    return dnnl_primitive_execute(call->kernel->primitive, call->stream, call->n_args, call->args);
}

lego_status lg_call_run(lg_call *call)
{
    const lg_kernel *kernel = call->kernel;
    dnnl_status_t result;

    if (kernel->candidate.method == LG_METHOD_GEMM)
        im2col(call->columns, call->image, &kernel->work);
    result = execute(call);
    if (result == dnnl_success)
        result = dnnl_stream_wait(call->stream);
    return result == dnnl_success ? LEGO_OK : lg_onednn_check(result, kernel->key);
}
