/* One block: its variants, each in the environments that it is likely to meet.
 *
 * Flow: reconstruct.c has the streams ready at the block. A variant is solved from the original's inputs, those where
 * all blocks have its own sparsity, and those of drawn compositions. Variants with the same environments are solved
 * together, which at the first block, where all streams are still one, are all of them.
 *
 * Newcomers: why not the same environments for all? Pooling a light variant's statistics with inputs from heavily
 * pruned neighbours makes least squares shrink its weights to be safe against errors that it rarely meets. On
 * MobileNetV2 that cost a light composition (0.3) three points and one at 0.6 two, and gained the drawn ones nothing;
 * choosing per variant between the original's inputs alone and all pooled, by held-out error, mended half of it. */
#include <string.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "graph/ops.h"
#include "prune/reconstruct_block.h"

/* A Fisher matrix says what small errors cost at the original; errors of a heavy variant are not small, so a share of
 * its mean diagonal is added: every output matters somewhat. */
#define EQUAL_SHARE 0.3

/* A stream of drawn compositions stands for all that the optimiser may choose, the others for one each. */
#define MIXED_WEIGHT 2.0

/* The environments of one variant. */
typedef struct surroundings {
    int32_t n;
    const float *const **inputs; /* [n] */
    double *weights;             /* [n] */
} surroundings;

/* The block at work. */
typedef struct solving {
    const lg_block_task *task;
    lg_prune_block *block;
    const lg_segment *segment;
    lg_work work;
    const float **pointers; /* [streams->n][segment->n_inputs] */
    surroundings *around;   /* [n_variants] */
    lg_remarks remarks;
} solving;

static const float *const *inputs_of(const solving *s, int32_t stream)
{
    return &s->pointers[(int64_t)stream * s->segment->n_inputs];
}

static int same_inputs(const solving *s, const float *const *a, const float *const *b)
{
    return memcmp(a, b, sizeof(*a) * (size_t)s->segment->n_inputs) == 0;
}

/* Streams with the same inputs are one environment, of the higher weight. */
static void add_environment(surroundings *around, const solving *s, int32_t stream, double weight)
{
    int32_t e = 0;

    while (e < around->n && !same_inputs(s, around->inputs[e], inputs_of(s, stream)))
        e++;
    around->inputs[e] = inputs_of(s, stream);
    if (weight > around->weights[e])
        around->weights[e] = weight;
    around->n += e == around->n;
}

/* The original comes first. */
static lego_status surround(surroundings *around, const solving *s, double sparsity)
{
    const lg_block_task *task = s->task;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&around->inputs, task->streams->n));
    LG_TRY(LG_CALLOC(&around->weights, task->streams->n));
    add_environment(around, s, 0, 1.0);
    for (int32_t i = 0; i < task->n_sparsities; i++)
        if (task->sparsities[i] == sparsity)
            add_environment(around, s, 1 + i, 1.0);
    for (int32_t stream = 1 + task->n_sparsities; stream < task->streams->n; stream++)
        add_environment(around, s, stream, MIXED_WEIGHT);
done:
    return status;
}

static lego_status find_environments(solving *s)
{
    const lg_streams *streams = s->task->streams;
    const int32_t n_inputs = s->segment->n_inputs;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&s->pointers, (int64_t)streams->n * n_inputs));
    LG_TRY(LG_CALLOC(&s->around, s->block->n_variants));
    for (int32_t stream = 0; stream < streams->n; stream++)
        for (int32_t i = 0; i < n_inputs; i++)
            s->pointers[(int64_t)stream * n_inputs + i] = lg_streams_input(streams, stream, s->task->segment, i);
    for (int32_t v = 0; v < s->block->n_variants; v++)
        LG_TRY(surround(&s->around[v], s, s->block->variants[v].sparsity));
done:
    return status;
}

static int same_surroundings(const solving *s, const surroundings *a, const surroundings *b)
{
    if (a->n != b->n)
        return 0;
    for (int32_t e = 0; e < a->n; e++)
        if (!same_inputs(s, a->inputs[e], b->inputs[e]) || a->weights[e] != b->weights[e])
            return 0;
    return 1;
}

/* Roots of the layers' Fisher matrices. */
static lego_status set_roots(lg_work *work, const lg_fisher *fisher)
{
    lego_status status = LEGO_OK;

    for (int32_t l = 0; l < work->layers.n; l++) {
        const int64_t m = work->layers.layers[l].n_outputs;
        const char *name = work->graph->values[work->layers.layers[l].joined].name;
        const double *matrix = lg_fisher_find(fisher, name, m);
        double *root = NULL, trace = 0.0;

        for (int64_t i = 0; matrix && i < m; i++)
            trace += matrix[i * m + i];
        if (!(trace > 0.0)) /* nothing known, or nothing depends on it */
            continue;
        LG_TRY(LG_CALLOC(&root, m * m));
        work->roots[l] = root;
        work->n_roots[l] = m;
        memcpy(root, matrix, sizeof(*root) * (size_t)(m * m));
        for (int64_t i = 0; i < m; i++)
            root[i * m + i] += EQUAL_SHARE * trace / (double)m;
        LG_TRY(lg_dpotrf(m, root, m)); /* lower triangle; the upper one is to be zero */
        for (int64_t i = 0; i < m; i++)
            memset(root + i * m + i + 1, 0, sizeof(*root) * (size_t)(m - 1 - i));
    }
done:
    return status;
}

static lego_status solve_variants(solving *s)
{
    const int32_t n = s->block->n_variants;
    lg_graph **graphs = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&graphs, n));
    for (int32_t first = 0, end = 0; first < n; first = end) {
        const surroundings *around = &s->around[first];
        const lg_environments environments = { around->n, 0, around->inputs, around->weights,
                                               s->task->streams->n_images };

        while (end < n && same_surroundings(s, around, &s->around[end]))
            end++;
        LG_TRY(lg_work_solve(graphs, &s->remarks, &s->work, first, end - first, &environments));
        for (int32_t v = first; v < end; v++)
            s->block->variants[v].graph = graphs[v - first];
        /* steps are counted for every variant by itself */
        s->task->steps->done += (size_t)(end - first - 1) * (size_t)s->work.layers.n;
    }
done:
    lg_free(graphs);
    return status;
}

static lego_status report_remarks(lg_json *report, const lg_remarks *remarks)
{
    lego_status status = LEGO_OK;

    if (remarks->n_raised > 0)
        LG_TRY(lg_json_set_int(report, "ridges_raised", remarks->n_raised));
    if (remarks->n_pooled > 0)
        LG_TRY(lg_json_set_int(report, "choices_on_pooled_positions", remarks->n_pooled));
    if (remarks->n_not_fitted > 0)
        LG_TRY(lg_json_set_int(report, "layers_too_large_to_fit", remarks->n_not_fitted));
done:
    return status;
}

static lego_status report(const solving *s)
{
    lg_json *object = NULL, *environments = NULL;
    lego_status status = LEGO_OK;

    if (!s->block->report)
        return LEGO_OK;
    LG_TRY(lg_json_set_object(&object, s->block->report, "reconstruction"));
    LG_TRY(lg_json_set_object(&environments, object, "environments"));
    for (int32_t v = 0; v < s->block->n_variants; v++)
        LG_TRY(lg_json_set_int(environments, s->block->variants[v].name, s->around[v].n));
    LG_TRY(report_remarks(object, &s->remarks));
done:
    return status;
}

static void dispose(solving *s)
{
    for (int32_t v = 0; s->around && v < s->block->n_variants; v++) {
        lg_free(s->around[v].inputs);
        lg_free(s->around[v].weights);
    }
    lg_free(s->around);
    lg_free(s->pointers);
    lg_work_dispose(&s->work);
}

lego_status lg_block_reconstruct(lg_prune_block *block, const lg_block_task *task)
{
    solving s = { .task = task, .block = block, .segment = &task->streams->segments->segments[task->segment] };
    lg_effort effort = task->effort;
    lego_status status = LEGO_OK;

    LG_TRY(find_environments(&s));
    for (int32_t v = 0; v < block->n_variants; v++)
        if (s.around[v].n > effort.max_environments)
            effort.max_environments = s.around[v].n;
    LG_TRY(lg_work_create(&s.work, task->context, block, &effort, inputs_of(&s, 0), task->streams->n_images));
    s.work.steps = task->steps;
    LG_TRY(set_roots(&s.work, task->fisher));
    LG_TRY(solve_variants(&s));
    LG_TRY(report(&s));
done:
    dispose(&s);
    return status;
}

int32_t lg_block_variant_at(const lg_prune_block *block, double sparsity)
{
    int32_t found = -1;

    for (int32_t v = 0; v < block->n_variants; v++)
        if (block->variants[v].sparsity <= sparsity)
            found = v;
    return found;
}

size_t lg_block_steps(const lg_prune_block *block)
{
    size_t n = 0;

    for (int32_t i = 0; i < block->graph->n_nodes; i++)
        n += lg_op_is_compressible(block->graph->nodes[i].op) != 0;
    return n * (size_t)block->n_variants;
}
