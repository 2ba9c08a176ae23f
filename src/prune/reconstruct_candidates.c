/* One block: its variants by several statistics, and the better one of each.
 *
 * Flow: reconstruct.c has the streams ready at the block. Statistics of the original's inputs alone make the best light
 * variants, statistics pooled over all environments the best heavy ones (PERFORMANCE.md section 5), and where the
 * border lies depends on the block; so both are solved, and each variant is judged on images that neither was fitted to, in
 * compositions as they will run: the mixed streams and the one where all blocks have the variant's own sparsity.
 *
 * Newcomers: before the first block all streams are one, so there is one environment and nothing to judge. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "graph/ops.h"
#include "prune/reconstruct_block.h"

/* A Fisher matrix says what small errors cost at the original; errors of a heavy variant are not small, so a share of
 * its mean diagonal is added: every output matters somewhat. */
#define EQUAL_SHARE 0.3

enum { BY_ORIGINAL, BY_POOLED, N_CANDIDATES };
static const char *const candidate_names[N_CANDIDATES] = { "original", "pooled" };

/* The block at work: its environments and what came of them. */
typedef struct solving {
    const lg_block_task *task;
    lg_prune_block *block;
    const lg_segment *segment;
    lg_work work;
    int32_t n;                  /* distinct environments; 0 is the original */
    int32_t *environment_of;    /* [streams->n] */
    const float **pointers;     /* [n][segment->n_inputs] */
    const float *const **inputs; /* [n] */
    double *weights;            /* [n] */
    lg_graph **graphs;          /* [N_CANDIDATES][n_variants] */
    double *errors;             /* [N_CANDIDATES][n_variants]: on held-out images; NaN: not judged */
    float **wanted;             /* [segment->n_outputs]: the original's outputs for the held-out images */
    lg_remarks remarks;
} solving;

static const float *input_of(const solving *s, int32_t environment, int32_t i)
{
    return s->pointers[(int64_t)environment * s->segment->n_inputs + i];
}

/* Distinct environments: streams with the same inputs are one. */
static lego_status find_environments(solving *s)
{
    const lg_streams *streams = s->task->streams;
    const int32_t n_inputs = s->segment->n_inputs;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&s->environment_of, streams->n));
    LG_TRY(LG_CALLOC(&s->pointers, (int64_t)streams->n * n_inputs));
    LG_TRY(LG_CALLOC(&s->inputs, streams->n));
    LG_TRY(LG_CALLOC(&s->weights, streams->n));
    for (int32_t stream = 0; stream < streams->n; stream++) {
        int32_t e = 0;

        for (int32_t i = 0; i < n_inputs; i++)
            s->pointers[(int64_t)s->n * n_inputs + i] = lg_streams_input(streams, stream, s->task->segment, i);
        while (memcmp(&s->pointers[(int64_t)e * n_inputs], &s->pointers[(int64_t)s->n * n_inputs],
                      sizeof(*s->pointers) * (size_t)n_inputs) != 0)
            e++; /* ends at the new one itself */
        s->environment_of[stream] = e;
        s->n += e == s->n;
    }
    for (int32_t e = 0; e < s->n; e++) {
        s->inputs[e] = &s->pointers[(int64_t)e * n_inputs];
        s->weights[e] = 1.0;
    }
done:
    return status;
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

static lego_status solve_candidates(solving *s)
{
    const lg_environments original = { 1, 0, s->inputs, s->weights, s->task->n_fit };
    const lg_environments pooled = { s->n, 0, s->inputs, s->weights, s->task->n_fit };
    lego_status status = LEGO_OK;

    LG_TRY(lg_work_solve(s->graphs, &s->remarks, &s->work, &original));
    if (s->n > 1)
        LG_TRY(lg_work_solve(s->graphs + s->block->n_variants, &s->remarks, &s->work, &pooled));
    else
        s->task->steps->done += (size_t)s->work.layers.n;
done:
    return status;
}

/* --- judging --- */

typedef struct judge {
    const solving *solving;
    float **keep;                  /* store the outputs here instead of comparing them */
    double *errors, *squares;      /* [n_outputs] */
} judge;

static lego_status take_outputs(void *payload, float *const *outputs, int64_t first, int64_t count)
{
    judge *j = payload;
    const lg_segment *segment = j->solving->segment;

    for (int32_t o = 0; o < segment->n_outputs; o++) {
        const int64_t elements = lg_value_elements(&j->solving->task->streams->segments->values[segment->outputs[o]]);
        float *wanted = j->solving->wanted[o] + first * elements;

        if (j->keep) {
            memcpy(wanted, outputs[o], sizeof(float) * (size_t)(count * elements));
            continue;
        }
        for (int64_t i = 0; i < count * elements; i++) {
            const double error = (double)outputs[o][i] - wanted[i];

            j->errors[o] += error * error;
            j->squares[o] += (double)wanted[i] * wanted[i];
        }
    }
    return LEGO_OK;
}

/* Run a graph on an environment's held-out images. */
static lego_status run_held_out(judge *j, lg_runner *runner, int32_t environment)
{
    const solving *s = j->solving;
    const float **inputs = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&inputs, s->segment->n_inputs));
    for (int32_t i = 0; i < s->segment->n_inputs; i++)
        inputs[i] = input_of(s, environment, i) +
                    s->task->n_fit * lg_value_elements(&s->task->streams->segments->values[s->segment->inputs[i]]);
    LG_TRY(lg_runner_run(runner, inputs, s->task->streams->n_images - s->task->n_fit, take_outputs, j));
done:
    lg_free(inputs);
    return status;
}

static lego_status run_original(solving *s)
{
    const int64_t n = s->task->streams->n_images - s->task->n_fit;
    judge j = { s, NULL, NULL, NULL };
    lg_runner *runner = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&s->wanted, s->segment->n_outputs));
    for (int32_t o = 0; o < s->segment->n_outputs; o++)
        LG_TRY(LG_CALLOC(&s->wanted[o],
                         n * lg_value_elements(&s->task->streams->segments->values[s->segment->outputs[o]])));
    j.keep = s->wanted;
    LG_TRY(lg_runner_create(&runner, s->task->context, s->work.graph, n));
    LG_TRY(run_held_out(&j, runner, 0));
done:
    lg_runner_free(runner);
    return status;
}

/* Whether a variant of this sparsity is judged in a stream. */
static int is_judged_in(const lg_block_task *task, int32_t stream, double sparsity)
{
    return stream > task->n_sparsities || (stream > 0 && task->sparsities[stream - 1] == sparsity);
}

/* Squared error of the outputs relative to their squares, mean over outputs and the streams judged in. */
static lego_status judge_variant(double *out, const solving *s, const lg_graph *graph, double sparsity)
{
    judge j = { s, NULL, NULL, NULL };
    lg_runner *runner = NULL;
    int32_t n_runs = 0;
    lego_status status = LEGO_OK;

    *out = 0.0;
    LG_TRY(LG_CALLOC(&j.errors, s->segment->n_outputs));
    LG_TRY(LG_CALLOC(&j.squares, s->segment->n_outputs));
    LG_TRY(lg_runner_create(&runner, s->task->context, graph, s->task->streams->n_images - s->task->n_fit));
    for (int32_t stream = 0; stream < s->task->streams->n; stream++)
        if (is_judged_in(s->task, stream, sparsity)) {
            LG_TRY(run_held_out(&j, runner, s->environment_of[stream]));
            n_runs++;
        }
    for (int32_t o = 0; o < s->segment->n_outputs; o++)
        if (j.squares[o] > 0.0)
            *out += j.errors[o] / j.squares[o] / s->segment->n_outputs;
    if (n_runs == 0)
        *out = NAN;
done:
    lg_runner_free(runner);
    lg_free(j.errors);
    lg_free(j.squares);
    return status;
}

static lego_status judge_candidates(solving *s)
{
    lego_status status = LEGO_OK;

    LG_TRY(run_original(s));
    for (int32_t c = 0; c < N_CANDIDATES; c++)
        for (int32_t v = 0; v < s->block->n_variants; v++) {
            const int32_t at = c * s->block->n_variants + v;

            s->errors[at] = NAN;
            if (s->graphs[at])
                LG_TRY(judge_variant(&s->errors[at], s, s->graphs[at], s->block->variants[v].sparsity));
        }
done:
    return status;
}

/* --- choosing --- */

static lego_status report_variant(lg_json *report, const lg_prune_variant *variant, const char *statistics,
                                  double error)
{
    lg_json *object = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_object(&object, report, variant->name));
    LG_TRY(lg_json_set_string(object, "statistics", statistics));
    LG_TRY(lg_json_set_double(object, "held_out_error", error));
done:
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

static lego_status choose(solving *s)
{
    const int32_t n = s->block->n_variants;
    lg_json *report = NULL;
    lego_status status = LEGO_OK;

    if (s->block->report)
        LG_TRY(lg_json_set_object(&report, s->block->report, "reconstruction"));
    for (int32_t v = 0; v < n; v++) {
        const int32_t best = s->errors[n + v] < s->errors[v] ? BY_POOLED : BY_ORIGINAL;

        if (report)
            LG_TRY(report_variant(report, &s->block->variants[v], candidate_names[best], s->errors[best * n + v]));
        s->block->variants[v].graph = s->graphs[best * n + v];
        s->graphs[best * n + v] = NULL;
    }
    if (report)
        LG_TRY(report_remarks(report, &s->remarks));
done:
    return status;
}

static void dispose(solving *s)
{
    for (int32_t i = 0; s->graphs && i < N_CANDIDATES * s->block->n_variants; i++)
        lg_graph_free(s->graphs[i]);
    for (int32_t o = 0; s->wanted && o < s->segment->n_outputs; o++)
        lg_free(s->wanted[o]);
    lg_free(s->graphs);
    lg_free(s->errors);
    lg_free(s->wanted);
    lg_free(s->environment_of);
    lg_free(s->pointers);
    lg_free(s->inputs);
    lg_free(s->weights);
    lg_work_dispose(&s->work);
}

lego_status lg_block_reconstruct(lg_prune_block *block, const lg_block_task *task)
{
    solving s = { .task = task, .block = block, .segment = &task->streams->segments->segments[task->segment] };
    lg_effort effort = task->effort;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&s.graphs, N_CANDIDATES * (int64_t)block->n_variants));
    LG_TRY(LG_CALLOC(&s.errors, N_CANDIDATES * (int64_t)block->n_variants));
    LG_TRY(find_environments(&s));
    effort.max_environments = s.n;
    LG_TRY(lg_work_create(&s.work, task->context, block, &effort, s.inputs[0], task->n_fit));
    s.work.steps = task->steps;
    LG_TRY(set_roots(&s.work, task->fisher));
    LG_TRY(solve_candidates(&s));
    LG_TRY(judge_candidates(&s));
    LG_TRY(choose(&s));
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
    return n * N_CANDIDATES;
}
