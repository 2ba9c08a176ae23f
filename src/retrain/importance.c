/* What an error of a block's output costs the model: beside plain distances, variants learn to shorten those that the
 * rest of the model sees, where it looks in few directions.
 *
 * Plain mean squared error spends a variant's capacity on directions that the model ignores. The model's divergence from
 * a small error e of an output is e^T F e / 2, with F the Fisher matrix over channels: the mean over samples and
 * positions of g g^T, g the gradient of the loss with labels drawn from the model's own softmax (Amari 1998; the same
 * matrix weighs reconstruction, prune/reconstruct_fisher.h). Before a classifier of few classes F is close to
 * L L^T + rho I with a narrow L, found by Cholesky's factorisation with pivots that stops when little is left (Harbrecht,
 * Peters and Schneider 2012), and e^T F e is rho |e|^2 + |L^T e|^2: two distances, the second behind a narrow 1x1
 * convolution on small maps. Far from the classifier the model looks everywhere: there L would be wide, gains little and
 * costs time on large maps, so distances stay plain. The identity's share never falls below a tenth: F comes from few
 * samples, and errors are not small at first. */
#include "retrain/retrain.h"

#include <math.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "base/context.h"
#include "base/rng.h"

#define SAMPLES 256
#define BATCH 64
#define LEAST_REST 0.1   /* rho's least share of F */
#define RANK_DIVISOR 4   /* L has at most this part of the channels, so that steps stay cheap */
#define MOST_REST 0.2    /* with more left the model looks everywhere: plain distances */
#define LABEL_STREAM 0x6c6162656cull

/* One boundary value: the sum of g g^T. */
typedef struct moment {
    int64_t channels;
    double *sum; /* (C,C) */
    lg_torch_tensor *value; /* of the running batch */
} moment;

/* Row-major gradient (N,C,...) -> sum += g g^T over samples and positions. */
static lego_status add_gradient(moment *m, const lg_torch_api *api)
{
    int64_t dims[LEGO_MAX_DIMS], positions = 1;
    lg_torch_tensor *grad = NULL;
    float *g = NULL, *square = NULL;
    int n_dims = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_TORCH(api, tensor_grad(&grad, m->value)));
    if (!grad)
        goto done;
    LG_TRY(LG_TORCH(api, tensor_shape(grad, &n_dims, dims)));
    for (int i = 2; i < n_dims; i++)
        positions *= dims[i];
    LG_TRY(LG_CALLOC(&g, dims[0] * m->channels * positions));
    LG_TRY(LG_CALLOC(&square, m->channels * m->channels));
    LG_TRY(LG_TORCH(api, tensor_to_host(grad, g, (size_t)(dims[0] * m->channels * positions) * sizeof(float))));
    for (int64_t n = 0; n < dims[0]; n++) {
        const float *sample = g + n * m->channels * positions;

        lg_sgemm(0, 1, m->channels, m->channels, positions, 1.0f, sample, positions, sample, positions,
                 n == 0 ? 0.0f : 1.0f, square, m->channels);
    }
    for (int64_t i = 0; i < m->channels * m->channels; i++)
        m->sum[i] += square[i];
done:
    lg_torch_free_all(api, &grad, 1);
    lg_free(g);
    lg_free(square);
    return status;
}

static lego_status draw_labels(lg_torch_tensor **out, const lg_retrain *r, const lg_torch_tensor *logits, lg_rng *rng)
{
    int64_t dims[LEGO_MAX_DIMS], *labels = NULL;
    float *y = NULL;
    int n_dims = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_TORCH(r->api, tensor_shape(logits, &n_dims, dims)));
    LG_TRY(LG_CALLOC(&y, dims[0] * dims[1]));
    LG_TRY(LG_CALLOC(&labels, dims[0]));
    LG_TRY(LG_TORCH(r->api, tensor_to_host(logits, y, (size_t)(dims[0] * dims[1]) * sizeof(float))));
    for (int64_t n = 0; n < dims[0]; n++) {
        const float *row = y + n * dims[1];
        double top = row[0], total = 0.0, at;

        for (int64_t k = 1; k < dims[1]; k++)
            top = row[k] > top ? row[k] : top;
        for (int64_t k = 0; k < dims[1]; k++)
            total += exp(row[k] - top);
        at = lg_rng_uniform(rng) * total;
        while (labels[n] < dims[1] - 1 && (at -= exp(row[labels[n]] - top)) > 0.0)
            labels[n]++;
    }
    LG_TRY(LG_TORCH(r->api, tensor_from_host(out, LEGO_DTYPE_I64, 1, dims, labels, r->opts->device)));
done:
    lg_free(y);
    lg_free(labels);
    return status;
}

/* Forward through all segments with history; block outputs keep their gradients. */
static lego_status forward(lg_retrain *r, lg_torch_tensor **pool, moment *moments, int64_t n, const float *images)
{
    const lg_segments *segments = r->segments;
    lg_torch_tensor **inputs = NULL, **outputs = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&inputs, segments->n_slots));
    LG_TRY(LG_CALLOC(&outputs, segments->n_slots));
    LG_TRY(lg_torch_upload(&pool[segments->inputs[0]], r->api, &segments->values[segments->inputs[0]], n, images,
                           r->opts->device));
    for (int32_t s = 0; s < segments->n_segments; s++) {
        const lg_segment *segment = &segments->segments[s];
        lg_torch_net *net = segment->block == LG_NONE ? r->frame_nets[s] : r->originals[segment->block];

        for (int32_t i = 0; i < segment->n_inputs; i++)
            inputs[i] = pool[segment->inputs[i]];
        LG_TRY(lg_torch_net_forward(net, LG_TORCH_FROZEN, inputs, outputs));
        for (int32_t i = 0; i < segment->n_outputs; i++) {
            pool[segment->outputs[i]] = outputs[i];
            if (segment->block != LG_NONE) {
                LG_TRY(LG_TORCH(r->api, tensor_keep_grad(outputs[i])));
                moments[segment->outputs[i]].value = outputs[i];
            }
        }
    }
done:
    lg_free(inputs);
    lg_free(outputs);
    return status;
}

/* Nobody trains the original: what backward left at its weights goes. */
static lego_status drop_gradients(const lg_retrain *r)
{
    lego_status status = LEGO_OK;

    for (int32_t s = 0; s < r->segments->n_segments; s++) {
        const int32_t block = r->segments->segments[s].block;
        const lg_torch_net *net = block == LG_NONE ? r->frame_nets[s] : r->originals[block];

        for (int32_t i = 0; i < lg_torch_net_n_leaves(net); i++)
            LG_TRY(LG_TORCH(r->api, tensor_drop_grad(lg_torch_net_leaves(net)[i])));
    }
done:
    return status;
}

static lego_status add_batch(lg_retrain *r, moment *moments, int64_t n, const float *images, lg_rng *rng)
{
    lg_torch_tensor **pool = NULL, *labels = NULL, *loss = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&pool, r->segments->n_slots));
    LG_TRY(forward(r, pool, moments, n, images));
    LG_TRY(draw_labels(&labels, r, pool[r->segments->outputs[0]], rng));
    LG_TRY(LG_TORCH(r->api, cross_entropy(&loss, pool[r->segments->outputs[0]], labels, 0.0)));
    LG_TRY(LG_TORCH(r->api, backward(loss)));
    for (int32_t slot = 0; slot < r->segments->n_slots; slot++)
        if (moments[slot].value)
            LG_TRY(add_gradient(&moments[slot], r->api));
    LG_TRY(drop_gradients(r));
done:
    if (pool)
        lg_torch_free_all(r->api, pool, r->segments->n_slots);
    lg_torch_free_all(r->api, &labels, 1);
    lg_torch_free_all(r->api, &loss, 1);
    lg_free(pool);
    return status;
}

int64_t lg_importance_factor(double *l, double *left, double *rest, const double *f, int64_t c, int64_t max_rank)
{
    int64_t rank = 0;

    for (int64_t i = 0; i < c; i++)
        left[i] = f[i * c + i];
    for (;; rank++) {
        double *column = l + rank * c;
        int64_t pivot = 0;

        *rest = 0.0;
        for (int64_t i = 0; i < c; i++) {
            *rest += left[i] / (double)c;
            pivot = left[i] > left[pivot] ? i : pivot;
        }
        if (rank == max_rank || *rest <= LEAST_REST || !(left[pivot] > 0.0))
            return rank;
        for (int64_t i = 0; i < c; i++) {
            column[i] = f[pivot * c + i];
            for (int64_t k = 0; k < rank; k++)
                column[i] -= l[k * c + i] * l[k * c + pivot];
        }
        for (int64_t i = c; i-- > 0;)
            column[i] /= sqrt(left[pivot]);
        for (int64_t i = 0; i < c; i++)
            left[i] = i == pivot ? 0.0 : fmax(left[i] - column[i] * column[i], 0.0);
    }
}

/* sqrt(r / (c rho)) L^T, as the weight (r,c,1,1) of a convolution, or (r,c) of a linear layer: then the mean of its
 * outputs' squares weighs against the mean of the inputs' squares as L L^T does against rho I. */
static lego_status factor(lg_torch_tensor **out, const lg_retrain *r, moment *m, int n_dims, const char *name)
{
    const int64_t c = m->channels, max_rank = (c + RANK_DIVISOR - 1) / RANK_DIVISOR;
    int64_t dims[4] = { 0, c, 1, 1 };
    double trace = 0.0, rest = 0.0, *l = NULL, *left = NULL;
    float *w = NULL;
    lego_status status = LEGO_OK;

    for (int64_t i = 0; i < c; i++)
        trace += m->sum[i * c + i];
    if (!(trace > 0.0) || !isfinite(trace))
        return LEGO_OK;
    for (int64_t i = 0; i < c * c; i++)
        m->sum[i] *= (double)c / trace;
    LG_TRY(LG_CALLOC(&l, max_rank * c));
    LG_TRY(LG_CALLOC(&left, c));
    dims[0] = lg_importance_factor(l, left, &rest, m->sum, c, max_rank);
    lg_log(r->context, LEGO_LOG_DEBUG, "retrain", "%s: %lld of %lld directions have %.0f %% of what errors cost", name,
           (long long)dims[0], (long long)c, 100.0 * (1.0 - rest));
    if (dims[0] == 0 || rest > MOST_REST)
        goto done;
    LG_TRY(LG_CALLOC(&w, dims[0] * c));
    for (int64_t i = 0; i < dims[0] * c; i++)
        w[i] = (float)(sqrt((double)dims[0] / ((double)c * fmax(rest, LEAST_REST))) * l[i]);
    LG_TRY(LG_TORCH(r->api, tensor_from_host(out, LEGO_DTYPE_F32, n_dims, dims, w, r->opts->device)));
done:
    lg_free(l);
    lg_free(left);
    lg_free(w);
    return status;
}

lego_status lg_retrain_project(lg_torch_tensor **out, const lg_retrain *r, int32_t block, int32_t output,
                               const lg_torch_tensor *x)
{
    static const lg_torch_window window = { .stride = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1 };
    const int32_t slot = r->segments->segments[r->segment_of[block]].outputs[output];
    const lg_torch_tensor *weight = r->weights[slot];
    const lg_torch_api *api = r->api;
    lg_torch_tensor *wide = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    if (!weight)
        return LEGO_OK;
    LG_TRY(LG_TORCH(api, tensor_cast(&wide, x, LEGO_DTYPE_F32, LG_TORCH_CONTIGUOUS)));
    LG_TRY(r->segments->values[slot].shape.n_dims == 4 ? LG_TORCH(api, conv(out, wide, weight, NULL, &window))
                                                       : LG_TORCH(api, linear(out, wide, weight, NULL)));
done:
    lg_torch_free_all(api, &wide, 1);
    return status;
}

lego_status lg_retrain_weigh(lg_retrain *r)
{
    const int32_t n_slots = r->segments->n_slots;
    const lg_value *output = &r->segments->values[r->segments->outputs[0]];
    lego_batches *batches = NULL;
    moment *moments = NULL;
    lg_rng rng;
    lego_status status = LEGO_OK;

    if (r->segments->n_outputs != 1 || output->shape.n_dims != 2)
        return LEGO_OK; /* no classifier: plain distances */
    lg_rng_init(&rng, lego_context_seed(r->context), LABEL_STREAM);
    LG_TRY(LG_CALLOC(&moments, n_slots));
    for (int32_t slot = 0; slot < n_slots; slot++) {
        const lg_value *value = &r->segments->values[slot];

        moments[slot].channels = value->shape.n_dims > 1 ? value->shape.dims[1] : 1;
        LG_TRY(LG_CALLOC(&moments[slot].sum, moments[slot].channels * moments[slot].channels));
    }
    LG_TRY(lego_batches_create(&batches, r->train, BATCH, 0, 0, 0));
    for (int64_t seen = 0; seen < SAMPLES; seen += BATCH) {
        const float *images;
        int64_t n = 0;

        LG_TRY(lego_batches_next(batches, &n, &images, NULL));
        if (n == 0)
            break;
        LG_TRY(add_batch(r, moments, n, images, &rng));
    }
    for (int32_t slot = 0; slot < n_slots; slot++) {
        const int32_t producer = r->segments->values[slot].producer;
        const int n_dims = r->segments->values[slot].shape.n_dims;

        if (producer != LG_NONE && r->segments->segments[producer].block != LG_NONE && (n_dims == 2 || n_dims == 4))
            LG_TRY(factor(&r->weights[slot], r, &moments[slot], n_dims, r->segments->values[slot].name));
    }
done:
    lego_batches_free(batches);
    for (int32_t slot = 0; moments && slot < n_slots; slot++)
        lg_free(moments[slot].sum);
    lg_free(moments);
    return status;
}
