/* What a training step costs, and what allocator, threads, precision and layout gain.
 *
 *   bench_train [steps [threads]]
 *   LEGODNN_TORCH_ALLOCATOR=system bench_train ...       the same with libtorch's own allocator
 *
 * Forward and backward of a batch of 128 in every recipe, with so many threads (default: with one, then with two):
 * ResNet18 of width 16 and 64 as a teacher trains (batch statistics), and a residual block of 64 channels at 32x32 as
 * retraining trains it (frozen, folded). Prints the fastest step of several in milliseconds, GFLOP/s (three times the
 * forward), and page faults a step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "torch/torch.h"

#define BATCH 128

static const lg_torch_api *api;

/* The nodes whose names start with `prefix`, as a graph of their own. */
static lego_status cut(lg_graph **out, const lg_graph *graph, const char *prefix)
{
    uint8_t *in_set = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&in_set, graph->n_nodes));
    for (int32_t n = 0; n < graph->n_nodes; n++)
        in_set[n] = strncmp(graph->nodes[n].name, prefix, strlen(prefix)) == 0;
    LG_TRY(lg_graph_subgraph(out, graph, in_set, NULL, NULL));
done:
    lg_free(in_set);
    return status;
}

static lego_status step(lg_torch_net *net, lg_torch_mode mode, lg_torch_tensor *x)
{
    lg_torch_tensor *y = NULL, *zeros = NULL, *loss = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_torch_net_forward(net, mode, &x, &y));
    LG_TRY(LG_TORCH(api, tensor_zeros_like(&zeros, y)));
    LG_TRY(LG_TORCH(api, distance(&loss, LG_TORCH_MSE, y, zeros)));
    LG_TRY(LG_TORCH(api, backward(loss)));
    for (int32_t i = 0; i < lg_torch_net_n_leaves(net); i++)
        LG_TRY(LG_TORCH(api, tensor_drop_grad(lg_torch_net_leaves(net)[i])));
done:
    lg_torch_free_all(api, &y, 1);
    lg_torch_free_all(api, &zeros, 1);
    lg_torch_free_all(api, &loss, 1);
    return status;
}

static long page_faults(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_minflt : 0;
}

typedef struct plan {
    int steps, min_threads, max_threads;
} plan;

static lego_status measure(lg_torch_net *net, lg_torch_mode mode, lg_torch_tensor *x, const plan *p, const char *what)
{
    static const lg_torch_recipe recipes[] = {
        { LEGO_DTYPE_F32, LG_TORCH_CONTIGUOUS },
        { LEGO_DTYPE_F32, LG_TORCH_CHANNELS_LAST },
        { LEGO_DTYPE_BF16, LG_TORCH_CONTIGUOUS },
        { LEGO_DTYPE_BF16, LG_TORCH_CHANNELS_LAST },
    };
    static const char *const names[] = { "f32", "f32 channels_last", "bf16", "bf16 channels_last" };
    const double flops = 3.0 * BATCH * (double)lg_graph_flops(lg_torch_net_graph(net));
    lego_status status = LEGO_OK;

    for (int threads = p->min_threads; threads <= p->max_threads; threads++) {
        LG_TRY(LG_TORCH(api, set_threads(threads)));
        for (int r = 0; r < 4; r++) {
            double best = 0.0;
            long faults;

            lg_torch_net_set_recipe(net, recipes[r]);
            LG_TRY(step(net, mode, x));
            faults = page_faults();
            for (int i = 0; i < p->steps; i++) {
                const uint64_t start = lg_clock_ns();
                double ms;

                LG_TRY(step(net, mode, x));
                ms = lg_clock_ms_since(start);
                best = i == 0 || ms < best ? ms : best;
            }
            printf("%-22s %d thread%s  %-18s %8.1f ms  %6.1f GFLOP/s  %8ld page faults a step\n", what, threads,
                   threads == 1 ? " " : "s", names[r], best, flops / best * 1e-6, (page_faults() - faults) / p->steps);
            (void)fflush(stdout);
        }
    }
done:
    return status;
}

static lego_status bench(int32_t width, const char *prefix, lg_torch_mode mode, const plan *p, const char *what)
{
    lego_zoo_options options = LEGO_ZOO_OPTIONS_INIT;
    lego_model *model = NULL;
    lg_graph *part = NULL;
    lg_torch_net *net = NULL;
    lg_torch_tensor *x = NULL;
    const lg_value *in;
    float *data = NULL;
    size_t used = 0, cached = 0;
    lego_status status = LEGO_OK;

    options.width = width;
    options.classes = 10;
    LG_TRY(lego_zoo_build(&model, NULL, "resnet18-cifar", &options));
    if (prefix)
        LG_TRY(cut(&part, model->graph, prefix));
    LG_TRY(lg_torch_net_create(&net, api, part ? part : model->graph, "cpu"));
    in = &lg_torch_net_graph(net)->values[lg_torch_net_graph(net)->inputs[0]];
    LG_TRY(LG_CALLOC(&data, BATCH * lg_value_elements(in)));
    for (int64_t i = 0; i < BATCH * lg_value_elements(in); i++)
        data[i] = (float)(i % 17) / 17.f;
    LG_TRY(lg_torch_upload(&x, api, in, BATCH, data, "cpu"));
    LG_TRY(measure(net, mode, x, p, what));
    LG_TRY(LG_TORCH(api, allocator_stats(&used, &cached)));
    printf("%-22s %.0f MB in the allocator's cache\n", what, (double)cached * 1e-6);
done:
    lg_torch_free_all(api, &x, 1);
    lg_torch_net_free(net);
    lg_graph_free(part);
    lego_model_free(model);
    lg_free(data);
    if (api)
        api->allocator_trim();
    return status;
}

int main(int argc, char **argv)
{
    const int threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    const plan p = { argc > 1 ? (int)strtol(argv[1], NULL, 10) : 5, threads > 0 ? threads : 1,
                     threads > 0 ? threads : 2 };
    lego_status status = LEGO_OK;

    if (p.steps < 1) {
        fprintf(stderr, "bench_train: steps must be positive\n");
        return 2;
    }
    LG_TRY(lg_torch_open(&api, NULL, "cpu"));
    printf("%s, allocator %s\n", api->describe(), getenv("LEGODNN_TORCH_ALLOCATOR") ? getenv("LEGODNN_TORCH_ALLOCATOR")
                                                                                 : "caching");
    LG_TRY(bench(16, NULL, LG_TORCH_TRAIN, &p, "ResNet18 width 16"));
    LG_TRY(bench(64, "layer1.0.", LG_TORCH_FROZEN, &p, "block of 64 channels"));
    LG_TRY(bench(64, NULL, LG_TORCH_TRAIN, &p, "ResNet18 width 64"));
done:
    if (status != LEGO_OK)
        fprintf(stderr, "bench_train: %s\n", lego_last_error());
    return status == LEGO_OK ? 0 : 1;
}
