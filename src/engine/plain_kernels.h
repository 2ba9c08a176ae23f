/* The plain C kernels, one a kind of step, which exist once for each instruction set: the files that include this are
 * compiled again and again with LG_ISA defined as its name, see CMakeLists.txt. */
#ifndef LG_ENGINE_PLAIN_KERNELS_H
#define LG_ENGINE_PLAIN_KERNELS_H

#include "engine/plain.h"

typedef void (*lg_plain_kernel)(const lg_plain_call *call);

/* By lg_step_kind; of every instruction set that the compiler has. */
extern const lg_plain_kernel lg_plain_kernels_base[];
extern const lg_plain_kernel lg_plain_kernels_avx2[];
extern const lg_plain_kernel lg_plain_kernels_avx512[];

#ifdef LG_ISA

/* lg_plain_binary_avx2, say */
#define LG_PLAIN_JOINED(name, isa) lg_plain_##name##_##isa
#define LG_PLAIN_EXPANDED(name, isa) LG_PLAIN_JOINED(name, isa)
#define LG_PLAIN(name) LG_PLAIN_EXPANDED(name, LG_ISA)

void LG_PLAIN(layer)(const lg_plain_call *call);      /* plain_layers.c: conv, conv_transpose, linear */
void LG_PLAIN(affine)(const lg_plain_call *call);
void LG_PLAIN(matmul)(const lg_plain_call *call);
void LG_PLAIN(binary)(const lg_plain_call *call);     /* plain_elements.c */
void LG_PLAIN(act)(const lg_plain_call *call);
void LG_PLAIN(activate)(float *y, const float *x, int64_t n, const lg_act *act, int precise); /* plain_acts.c */
void LG_PLAIN(prelu)(const lg_plain_call *call);
void LG_PLAIN(pool)(const lg_plain_call *call);       /* plain_windows.c */
void LG_PLAIN(adaptive)(const lg_plain_call *call);
void LG_PLAIN(pad)(const lg_plain_call *call);
void LG_PLAIN(upsample)(const lg_plain_call *call);
void LG_PLAIN(concat)(const lg_plain_call *call);     /* plain_moves.c */
void LG_PLAIN(slice)(const lg_plain_call *call);
void LG_PLAIN(permute)(const lg_plain_call *call);
void LG_PLAIN(reshape)(const lg_plain_call *call);
void LG_PLAIN(shuffle)(const lg_plain_call *call);
void LG_PLAIN(constant)(const lg_plain_call *call);
void LG_PLAIN(mean)(const lg_plain_call *call);       /* plain_norms.c: what looks at many elements for one */
void LG_PLAIN(softmax)(const lg_plain_call *call);
void LG_PLAIN(log_softmax)(const lg_plain_call *call);
void LG_PLAIN(layer_norm)(const lg_plain_call *call);
void LG_PLAIN(group_norm)(const lg_plain_call *call);

#endif

#endif
