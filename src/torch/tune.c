/* Chooses how a net computes: float32 or bfloat16, NCHW or NHWC, by timing a few training steps of each.
 *
 * Which is fastest depends on the processor, the channel counts and the library: channels_last with bfloat16 gains 40 to
 * 76 % on one machine and loses a third on another, so nothing is assumed. bfloat16 is tried only where the processor
 * multiplies it; elsewhere libtorch emulates it a hundred times slower. */
#include "torch/torch.h"

#include "base/alloc.h"
#include "base/clock.h"

#define TIMED_STEPS 2

static const lg_torch_recipe candidates[] = {
    { LEGO_DTYPE_F32, LG_TORCH_CONTIGUOUS },
    { LEGO_DTYPE_F32, LG_TORCH_CHANNELS_LAST },
    { LEGO_DTYPE_BF16, LG_TORCH_CONTIGUOUS },
    { LEGO_DTYPE_BF16, LG_TORCH_CHANNELS_LAST },
};

static int cpu_has_bf16(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512bf16") != 0;
#else
    return 0;
#endif
}

static const char *recipe_name(lg_torch_recipe recipe)
{
    if (recipe.dtype == LEGO_DTYPE_BF16)
        return recipe.layout == LG_TORCH_CHANNELS_LAST ? "bf16 channels_last" : "bf16";
    return recipe.layout == LG_TORCH_CHANNELS_LAST ? "f32 channels_last" : "f32";
}

/* Forward and backward once; the loss only has to reach every weight. */
static lego_status step(lg_torch_net *net, const lg_torch_api *api, lg_torch_mode mode,
                        lg_torch_tensor *const *inputs)
{
    const int32_t n_outputs = lg_torch_net_graph(net)->n_outputs;
    lg_torch_tensor **outputs = NULL, *zeros = NULL, *loss = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&outputs, n_outputs));
    LG_TRY(lg_torch_net_forward(net, mode, inputs, outputs));
    LG_TRY(LG_TORCH(api, tensor_zeros_like(&zeros, outputs[0])));
    LG_TRY(LG_TORCH(api, distance(&loss, LG_TORCH_MSE, outputs[0], zeros)));
    LG_TRY(LG_TORCH(api, backward(loss)));
done:
    for (int32_t i = 0; i < lg_torch_net_n_leaves(net); i++) /* a failed backward leaves some, too */
        api->tensor_drop_grad(lg_torch_net_leaves(net)[i]);
    lg_torch_free_all(api, outputs, n_outputs);
    lg_torch_free_all(api, &zeros, 1);
    lg_torch_free_all(api, &loss, 1);
    lg_free(outputs);
    return status;
}

static lego_status time_steps(double *ms, lg_torch_net *net, const lg_torch_api *api, lg_torch_mode mode,
                              lg_torch_tensor *const *inputs)
{
    lego_status status = LEGO_OK;

    LG_TRY(step(net, api, mode, inputs)); /* warm-up: creates kernels, fills the allocator's cache */
    *ms = 0.0;
    for (int i = 0; i < TIMED_STEPS; i++) {
        const uint64_t start = lg_clock_ns();
        double elapsed;

        LG_TRY(step(net, api, mode, inputs));
        elapsed = lg_clock_ms_since(start);
        if (i == 0 || elapsed < *ms) /* the machine may be shared: the fastest is the least disturbed */
            *ms = elapsed;
    }
done:
    return status;
}

lego_status lg_torch_net_tune(lg_torch_net *net, const lego_context *context, lg_torch_mode mode,
                              lg_torch_tensor *const *inputs, lg_torch_tune among, const char *what)
{
    /* Where the processor has no bf16, asking for it alone leaves float32. */
    const int has_bf16 = cpu_has_bf16();
    const int want_f32 = among != LG_TORCH_TUNE_BF16 || !has_bf16;
    const int want_bf16 = among != LG_TORCH_TUNE_F32 && has_bf16;
    const lg_torch_api *api = NULL;
    lg_torch_recipe best = candidates[0];
    double best_ms = 0.0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_torch_load(&api));
    for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
        double ms = 0.0;
        lego_status timed;

        if (candidates[i].dtype == LEGO_DTYPE_BF16 ? !want_bf16 : !want_f32)
            continue;
        lg_torch_net_set_recipe(net, candidates[i]);
        timed = time_steps(&ms, net, api, mode, inputs);
        if (timed == LEGO_EBACKEND && i > 0) { /* an op without a kernel for it: float32 as it is has them all */
            lg_log(context, LEGO_LOG_DEBUG, "torch", "%s: not in %s: %s", what, recipe_name(candidates[i]),
                   lego_last_error());
            continue;
        }
        LG_TRY(timed);
        lg_log(context, LEGO_LOG_DEBUG, "torch", "%s: %s takes %.1f ms a step", what, recipe_name(candidates[i]), ms);
        if (best_ms == 0.0 || ms < best_ms) {
            best = candidates[i];
            best_ms = ms;
        }
    }
    lg_torch_net_set_recipe(net, best);
    lg_log(context, LEGO_LOG_INFO, "torch", "%s: computing in %s, %.1f ms a step", what, recipe_name(best), best_ms);
done:
    if (status == LEGO_OK && mode == LG_TORCH_TRAIN) /* running statistics moved */
        status = lg_torch_net_write(net, lg_torch_net_graph(net));
    return status;
}
