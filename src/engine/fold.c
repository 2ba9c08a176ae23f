/* fold.c: batch norm at inference is a scale and a shift of each channel, so it disappears into the layer before it.
 *
 * What newcomers get wrong: a transposed convolution stores (C,K/groups,R,S), input channels first. Packing and kernels
 * want one row an output channel, as of a convolution, so folding turns them round. */
#include "engine/fold.h"

#include <math.h>

#include "base/alloc.h"

void lg_norm_affine(double *scale, double *shift, const lg_norm *norm, int64_t n)
{
    const float *gamma = norm->has_gamma ? lg_tensor_data(&norm->gamma) : NULL; /* NULL: ones */
    const float *beta = norm->has_beta ? lg_tensor_data(&norm->beta) : NULL;    /* NULL: zeros */
    const float *mean = lg_tensor_data(&norm->mean);
    const float *variance = lg_tensor_data(&norm->variance);

    for (int64_t i = 0; i < n; i++) {
        scale[i] = (gamma ? gamma[i] : 1.0) / sqrt((double)variance[i] + norm->eps);
        shift[i] = (beta ? beta[i] : 0.0) - mean[i] * scale[i];
    }
}

int lg_step_has_matrix(const lg_step *step)
{
    return step->kind != LG_STEP_AFFINE && step->kind != LG_STEP_LAYER_NORM;
}

int64_t lg_step_channels(const lg_step *step)
{
    if (step->kind == LG_STEP_AFFINE)
        return lg_tensor_count(&step->norm.mean);
    if (step->kind == LG_STEP_LAYER_NORM) {
        if (step->norm.has_gamma)
            return lg_tensor_count(&step->norm.gamma);
        return step->norm.has_beta ? lg_tensor_count(&step->norm.beta) : 0;
    }
    if (step->kind == LG_STEP_CONV_TRANSPOSE)
        return step->weight.shape.dims[1] * lg_step_groups(step);
    return step->weight.shape.dims[0];
}

int64_t lg_step_weights(const lg_step *step)
{
    return lg_step_has_matrix(step) ? lg_tensor_count(&step->weight) : lg_step_channels(step);
}

/* Where weight i of output channel k lies in the layer's tensor. */
static int64_t source_of(const lg_step *step, int64_t k, int64_t i, int64_t row)
{
    const int64_t *dims = step->weight.shape.dims;
    int64_t n_out, n_in, area;

    if (step->kind != LG_STEP_CONV_TRANSPOSE)
        return k * row + i;
    n_out = dims[1];
    n_in = dims[0] / lg_step_groups(step);
    area = lg_tensor_count(&step->weight) / (dims[0] * dims[1]);
    return ((k / n_out * n_in + i / area) * n_out + k % n_out) * area + i % area;
}

lego_status lg_step_fold(float *weight, float *bias, const lg_step *step)
{
    const float *w = lg_step_has_matrix(step) ? lg_tensor_data(&step->weight) : NULL; /* NULL: all ones */
    const float *b = step->has_bias ? lg_tensor_data(&step->bias) : NULL;
    int64_t n_rows = lg_step_channels(step);
    int64_t row = n_rows > 0 ? lg_step_weights(step) / n_rows : 0;
    double *scale = NULL;
    lego_status status = LEGO_OK;

    if (step->kind == LG_STEP_LAYER_NORM) {
        const lg_norm *norm = &step->norm;
        for (int64_t k = 0; k < n_rows; k++) {
            weight[k] = norm->has_gamma ? ((const float *)lg_tensor_data(&norm->gamma))[k] : 1.0f;
            bias[k] = norm->has_beta ? ((const float *)lg_tensor_data(&norm->beta))[k] : 0.0f;
        }
        return LEGO_OK;
    }
    LG_TRY(LG_CALLOC(&scale, 2 * n_rows));
    if (step->norm.set)
        lg_norm_affine(scale, scale + n_rows, &step->norm, n_rows);
    for (int64_t k = 0; k < n_rows; k++) {
        double factor = step->norm.set ? scale[k] : 1.0;
        for (int64_t i = 0; i < row; i++)
            weight[k * row + i] = (float)((w ? w[source_of(step, k, i, row)] : 1.0) * factor);
        bias[k] = (float)((b ? b[k] * factor : 0.0) + scale[n_rows + k]);
    }
done:
    lg_free(scale);
    return status;
}
