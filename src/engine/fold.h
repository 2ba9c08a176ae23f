/* Weights of a step with the batch norm behind it folded in. */
#ifndef LG_ENGINE_FOLD_H
#define LG_ENGINE_FOLD_H

#include "engine/lower.h"

/* Per channel scale and shift of a batch norm: y = x * scale + shift; n = its channels. */
void lg_norm_affine(double *scale, double *shift, const lg_norm *norm, int64_t n);
/* Output channels K and weights of a step that has any: a layer, AFFINE (one weight a channel), or LAYER_NORM (one an
 * element of a row; 0 if it neither scales nor shifts). */
int64_t lg_step_channels(const lg_step *step);
int64_t lg_step_weights(const lg_step *step);
/* Whether `weight` is among them: AFFINE and LAYER_NORM have only their norm's tensors. */
int lg_step_has_matrix(const lg_step *step);
/* Weights with the batch norm folded in, one row an output channel: (K,C/groups,R,S), transposed convolutions too, or
 * (K,C); and the bias (K), zero without any. */
lego_status lg_step_fold(float *weight, float *bias, const lg_step *step);

#endif
