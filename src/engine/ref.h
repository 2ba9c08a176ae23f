/* Plain C kernels of single steps on row-major data: the reference engine, and what oneDNN has no good kernel for. */
#ifndef LG_ENGINE_REF_H
#define LG_ENGINE_REF_H

#include "engine/lower.h"

/* Everything below reads and writes row-major floats and allocates nothing. `program` supplies the shapes. */

/* Bytes of scratch that lg_ref_run() needs for a step. */
size_t lg_ref_scratch_bytes(const lg_step *step);
/* CONV and LINEAR: weights as lg_ref_pack() laid them out. The others ignore them. AFFINE reads its norm. */
void lg_ref_run(float *out, const lg_program *program, const lg_step *step, const float *const *inputs,
                const float *residual, const float *weight, const float *bias, void *scratch);
/* (K,C/g,R,S) -> (g,C/g,R,S,K/g), so that the innermost loop runs over output channels. */
lego_status lg_ref_pack(float *to, const float *from, const lg_step *step, void *payload);

#endif
