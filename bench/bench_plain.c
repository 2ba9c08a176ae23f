/* The plain C kernels: what each takes for a step of usual size, and the share of the speed of copying.
 *
 *   bench_plain [--threads N] [--all]
 *
 * A row is one kernel from layout to layout: microseconds, the bytes it reads and writes a second, the same of memcpy() over
 * as many bytes on one thread, which lie in the same caches, and the guess that layouts are chosen by. --all: on every
 * instruction set, too. Median of many runs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "engine/plain.h"

#define TRY(expr)                                                             \
    do {                                                                      \
        if ((expr) != LEGO_OK) {                                              \
            fprintf(stderr, "bench_plain: %s\n", lego_last_error());          \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

#define MAX_RUNS 200
#define ENOUGH_NS 20000000

/* One op on (N,C,H,W), or a value of `n_dims` extents; `other`: a constant second operand. */
typedef struct bench_case {
    const char *what, *op;
    int n_dims;
    int64_t dims[3];
    lg_attrs attrs;
    int n_other;
    int64_t other[3];
    int n_weights; /* of `channels` entries: gamma and beta, slopes */
} bench_case;

static const bench_case cases[] = {
    { "add", "add", 3, { 64, 56, 56 }, .n_other = 3, .other = { 64, 56, 56 } },
    { "mul by a channel's factor", "mul", 3, { 64, 56, 56 }, .n_other = 3, .other = { 64, 1, 1 } },
    { "the same, small", "mul", 3, { 960, 7, 7 }, .n_other = 3, .other = { 960, 1, 1 } },
    { "mul by a pixel's factor", "mul", 3, { 64, 56, 56 }, .n_other = 3, .other = { 1, 56, 56 } },
    { "relu", "relu", 3, { 64, 56, 56 }, .n_other = 0 },
    { "hard_swish", "hard_swish", 3, { 64, 56, 56 }, .n_other = 0 },
    { "sigmoid", "sigmoid", 3, { 64, 56, 56 }, .n_other = 0 },
    { "gelu", "gelu", 3, { 64, 56, 56 }, .n_other = 0 },
    { "prelu", "prelu", 3, { 64, 56, 56 }, .n_weights = 1 },
    { "concat, channels", "concat", 3, { 64, 28, 28 }, .attrs.axis = { 1 }, .n_other = 3, .other = { 32, 28, 28 } },
    { "slice, channels", "slice", 3, { 64, 56, 56 }, .attrs.slice = { 1, 0, 32, 1 } },
    { "slice, every other", "slice", 3, { 64, 56, 56 }, .attrs.slice = { 3, 0, 56, 2 } },
    { "permute, channels last", "permute", 3, { 64, 56, 56 }, .attrs.permute = { { 3, { 2, 3, 1 } } } },
    { "permute, heads", "permute", 3, { 197, 12, 64 }, .attrs.permute = { { 3, { 2, 1, 3 } } } },
    { "permute, keys", "permute", 3, { 12, 197, 64 }, .attrs.permute = { { 3, { 1, 3, 2 } } } },
    { "max_pool, dilated", "max_pool", 3, { 64, 56, 56 },
      .attrs.pool = { { 3, 3 }, { 1, 1 }, { 2, 2 }, { 2, 2, 2, 2 }, 0, 0 } },
    { "avg_pool", "avg_pool", 3, { 64, 56, 56 }, .attrs.pool = { { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 }, 0, 1 } },
    { "adaptive_avg_pool, uneven", "adaptive_avg_pool", 3, { 512, 13, 13 }, .attrs.adaptive_pool = { { 7, 7 } } },
    { "pad", "pad", 3, { 64, 56, 56 }, .attrs.pad = { { 1, 1, 1, 1 }, 0.0 } },
    { "upsample, nearest", "upsample", 3, { 64, 28, 28 }, .attrs.upsample = { { 56, 56 }, LG_UPSAMPLE_NEAREST, 0 } },
    { "upsample, bilinear", "upsample", 3, { 64, 28, 28 }, .attrs.upsample = { { 56, 56 }, LG_UPSAMPLE_BILINEAR, 0 } },
    { "the same, large", "upsample", 3, { 21, 28, 28 }, .attrs.upsample = { { 224, 224 }, LG_UPSAMPLE_BILINEAR, 0 } },
    { "mean of channels", "mean", 3, { 64, 56, 56 }, .attrs.mean = { { 1, { 1 } }, 1 } },
    { "mean of rows", "mean", 3, { 64, 56, 56 }, .attrs.mean = { { 1, { 3 } }, 1 } },
    { "softmax of channels", "softmax", 3, { 21, 56, 56 }, .attrs.axis = { 1 } },
    { "softmax of rows", "softmax", 3, { 12, 197, 197 }, .attrs.axis = { 3 } },
    { "layer_norm", "layer_norm", 2, { 197, 768 }, .attrs.layer_norm = { 2, 1e-5 }, .n_weights = 2 },
    { "group_norm", "group_norm", 3, { 64, 56, 56 }, .attrs.group_norm = { 8, 1e-5 }, .n_weights = 2 },
};

/* --- building a step --- */

static int32_t add_weight(lg_graph *graph, const char *name, int n_dims, const int64_t *dims)
{
    const lg_shape shape = lg_shape_make(n_dims, dims);
    lego_tensor tensor = { 0 };
    int32_t weight;

    TRY(lg_tensor_init(&tensor, LEGO_DTYPE_F32, &shape));
    for (int64_t i = 0; i < lg_tensor_count(&tensor); i++)
        ((float *)lg_tensor_data(&tensor))[i] = 0.5f;
    TRY(lg_graph_add_weight(&weight, graph, name, &tensor));
    lg_tensor_dispose(&tensor);
    return weight;
}

static lg_program *build(const bench_case *c)
{
    const lg_op *op = lg_op_find(c->op);
    const int64_t channels = c->n_dims == 2 ? c->dims[1] : c->dims[0];
    const lg_shape shape = lg_shape_make(c->n_dims, c->dims), other = lg_shape_make(c->n_other, c->other);
    int32_t inputs[2], weights[2], value;
    lg_graph *graph;
    lg_program *program;

    TRY(lg_graph_create(&graph, "bench"));
    TRY(lg_graph_add_input(&inputs[0], graph, "x", LEGO_DTYPE_F32, &shape));
    if (c->n_other > 0)
        TRY(lg_graph_add_input(&inputs[1], graph, "other", LEGO_DTYPE_F32, &other));
    for (int i = 0; i < c->n_weights; i++)
        weights[i] = add_weight(graph, op->slots[i].name, 1, &channels);
    TRY(lg_graph_add_node(&value, graph, c->op, "op", &c->attrs, c->n_other > 0 ? 2 : 1, inputs, c->n_weights, weights));
    TRY(lg_graph_add_output(graph, value));
    TRY(lg_graph_validate(graph));
    TRY(lg_program_create(&program, graph, 1, 1));
    lg_graph_free(graph);
    return program;
}

/* --- timing --- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median_us(void (*run)(void *what), void *what)
{
    double times[MAX_RUNS];
    uint64_t total = 0;
    int n = 0;

    for (int i = 0; i < 5; i++)
        run(what);
    while (n < MAX_RUNS && total < ENOUGH_NS) {
        uint64_t ns = lg_clock_ns();
        run(what);
        ns = lg_clock_ns() - ns;
        total += ns;
        times[n++] = 1e-3 * (double)ns;
    }
    qsort(times, (size_t)n, sizeof(*times), by_value);
    return times[n / 2];
}

static void run_call(void *what)
{
    lg_plain_run(what);
}

typedef struct copy {
    char *memory;
    size_t bytes; /* half of them are read, half are written */
} copy;

static void run_copy(void *what)
{
    const copy *c = what;

    memcpy(c->memory, c->memory + c->bytes / 2, c->bytes / 2);
}

static double copy_us(size_t bytes)
{
    copy c = { lg_alloc_aligned(bytes), bytes };
    double us;

    if (!c.memory)
        exit(1);
    memset(c.memory, 0x3c, bytes);
    us = median_us(run_copy, &c);
    lg_free_aligned(c.memory);
    return us;
}

static float *make_values(const lg_cell *cell, lg_layout layout, size_t *bytes)
{
    const lg_planes planes = lg_planes_of(cell, layout, lg_kernels_block());
    const int64_t n = lg_planes_elements(&planes);
    float *values = lg_alloc_aligned((size_t)n * sizeof(float));

    if (!values)
        exit(1);
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)((i * 37 + 11) % 101) / 25.0f - 2.0f;
    *bytes += (size_t)n * sizeof(float);
    return values;
}

static int has_kernel(const lg_program *program, lg_layout in, lg_layout out)
{
    return lg_plain_us(program, &program->steps[0], in, out, lg_kernels_block()) < INFINITY;
}

static void bench_layout(const bench_case *c, const lg_program *program, lg_layout in, lg_layout out, int n_threads,
                         lg_isa isa)
{
    static const char *const isas[] = { "base", "avx2", "avx512" };
    const lg_step *step = &program->steps[0];
    const double guess = lg_plain_us(program, step, in, out, lg_kernels_block());
    lg_plain_call call = {
        .program = program, .step = step, .in = in, .out = out, .block = lg_kernels_block(), .isa = isa
    };
    float *inputs[2];
    size_t bytes = 0;
    double us, memory_us;

    for (int32_t i = 0; i < step->n_inputs; i++)
        inputs[i] = make_values(&program->cells[step->inputs[i]], in, &bytes);
    call.inputs = (const float *const *)inputs;
    call.y = make_values(&program->cells[step->output], out, &bytes);
    call.n_parts = lg_plain_parts(guess, n_threads);
    call.scratch = lg_alloc_aligned((size_t)call.n_parts * lg_plain_scratch_bytes(program, step) + 1);
    us = median_us(run_call, &call);
    memory_us = copy_us(bytes);
    printf("%-26s %-8s %-8s %-7s %6d %9.1f %8.1f %8.1f %6.0f%% %9.1f\n", c->what, lg_layout_name(in), lg_layout_name(out),
           isas[isa], call.n_parts, us, 1e-3 * (double)bytes / us, 1e-3 * (double)bytes / memory_us,
           100.0 * memory_us / us, guess);
    for (int32_t i = 0; i < step->n_inputs; i++)
        lg_free_aligned(inputs[i]);
    lg_free_aligned(call.y);
    lg_free_aligned(call.scratch);
}

int main(int argc, char **argv)
{
    int n_threads = 1, all = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            n_threads = (int)strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--all") == 0)
            all = 1;
        else
            n_threads = 0;
    }
    if (n_threads < 1) {
        fprintf(stderr, "usage: bench_plain [--threads N] [--all]\n");
        return 2;
    }
    printf("%-26s %-8s %-8s %-7s %6s %9s %8s %8s %7s %9s\n", "kernel", "from", "to", "vectors", "parts", "us", "GB/s",
           "memcpy", "share", "guess us");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lg_program *program = build(&cases[i]);
        for (int in = 0; in < LG_N_LAYOUTS; in++)
            for (int out = 0; out < LG_N_LAYOUTS; out++)
                for (int isa = all ? 0 : (int)lg_kernels_isa(); isa <= (int)lg_kernels_isa(); isa++)
                    if (has_kernel(program, (lg_layout)in, (lg_layout)out))
                        bench_layout(&cases[i], program, (lg_layout)in, (lg_layout)out, n_threads, (lg_isa)isa);
        lg_program_free(program);
    }
    return 0;
}
