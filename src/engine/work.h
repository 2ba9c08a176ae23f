/* Work: the geometry of one step, free of pointers and names, with the ways (candidates) in which it can be computed.
 * Two steps of equal work share kernels and measured costs, in whatever model they stand. */
#ifndef LG_ENGINE_WORK_H
#define LG_ENGINE_WORK_H

#include "engine/cache.h"
#include "engine/lower.h"

/* How an activation (N,C,H,W) lies in memory; a volume (N,C,D,H,W) alike, with its depth in front of the rows. */
typedef enum lg_layout {
    LG_LAYOUT_PLAIN,   /* row-major N C H W */
    LG_LAYOUT_NHWC,    /* channels innermost */
    LG_LAYOUT_BLOCKED, /* N C/b H W b, channels padded with zeros to whole blocks: b = 16 (AVX-512) or 8 */
    LG_N_LAYOUTS
} lg_layout;
const char *lg_layout_name(lg_layout layout); /* "nhwc" */
#define LG_MAX_BLOCK 16

typedef enum lg_work_kind {
    LG_WORK_CONV,    /* also a per-channel affine: a depthwise 1x1 convolution */
    LG_WORK_CONV_TRANSPOSE,
    LG_WORK_LINEAR,
    LG_WORK_MATMUL,  /* in (B,M,K), in2 (B,K,P) -> out (B,M,P), as B M 1 K 1 and B M 1 P 1 */
    LG_WORK_SOFTMAX, /* in = out = (rows,n): of each row */
    LG_WORK_LOG_SOFTMAX, /* likewise */
    LG_WORK_LAYER_NORM, /* in = out = (rows,n): of each row */
    LG_WORK_BINARY,  /* of two equal shapes */
    LG_WORK_ACT,
    LG_WORK_MAX_POOL,
    LG_WORK_AVG_POOL,
    LG_WORK_HOST,    /* a step that only plain C computes */
    LG_WORK_PERMUTE, /* of the axes in `permuted` */
    LG_WORK_REORDER  /* in.layout -> out.layout; equal layouts: a copy */
} lg_work_kind;

#define LG_WORK_DIMS 5 /* N C D H W; an image's D is 1 */

typedef struct lg_work {
    lg_work_kind kind;
    int64_t in[LG_WORK_DIMS];
    int64_t out[LG_WORK_DIMS];
    lg_sliding window; /* padding behind: as the output extent needs it */
    int64_t groups;
    int exclude_pad;   /* AVG_POOL: padding does not count */
    int residual;      /* out += what lies there */
    lg_binary_kind binary;
    lg_act act;
    int turned;        /* MATMUL: in2 (B,P,K) */
    int scales;        /* LAYER_NORM: has weights */
    double eps;        /* LAYER_NORM */
    unsigned layouts;  /* SOFTMAX: bits of those in which a row's elements are neighbours */
    lg_shape permuted; /* PERMUTE: the input, its batch 1; output axis i + 1 is input axis order[i] */
    lg_dims order;
    double plain_us[LG_N_LAYOUTS][LG_N_LAYOUTS]; /* guess for plain C, from layout to layout; INFINITY: it has no kernel */
} lg_work;

typedef enum lg_method {
    LG_METHOD_DIRECT,   /* the library's kernel for these layouts */
    LG_METHOD_WINOGRAD, /* param: the param-th Winograd kernel of the library (tile sizes) */
    LG_METHOD_GEMM,     /* im2col, then one matrix product */
    LG_METHOD_MERGED,   /* grouped convolution with `param` groups joined into one, zeros between them */
    LG_METHOD_HOST      /* plain C */
} lg_method;

typedef struct lg_candidate {
    lg_method method;
    int32_t param;
    lg_layout in, out;
} lg_candidate;

#define LG_MAX_CANDIDATES 12

/* The work of a step. A flattened input of a linear layer is seen through: `in` is the image it was. */
lg_work lg_work_of(const lg_program *program, const lg_step *step, int block);
/* All candidates worth a try on a machine whose blocks have `block` channels; returns how many. */
int lg_work_candidates(lg_candidate candidates[LG_MAX_CANDIDATES], const lg_work *work, int block);
lg_work lg_work_reorder(const int64_t dims[LG_WORK_DIMS]);
/* Its kernel sees more than one plane: a work over three spatial axes that is none over two. */
int lg_work_has_depth(const lg_work *work);
/* Positions of the kernel. */
int64_t lg_work_area(const lg_work *work);

/* The activation a step's input stands for: its base where a linear layer sees through a flatten. */
int32_t lg_work_input(const lg_program *program, const lg_step *step, int index);
/* A cell as (N,C,D,H,W): images and volumes as they are, everything else (N,rest,1,1,1). */
void lg_work_dims(int64_t dims[LG_WORK_DIMS], const lg_cell *cell);
/* Both layouts are the same bytes: nothing to reorder. */
int lg_layouts_coincide(const int64_t dims[LG_WORK_DIMS], lg_layout a, lg_layout b, int block);

/* "conv 1x64x32x32 k64 3x3 s1x1 ..." and "winograd1 blocked>blocked". */
lego_status lg_work_format(char key[LG_KEY_MAX], const lg_work *work);
lego_status lg_candidate_format(char key[LG_KEY_MAX], const lg_candidate *candidate);

/* Guess of the time in microseconds, for planning without measuring: arithmetic at a rate typical of the method,
 * memory at a typical bandwidth; `cold_share` of the weights comes from memory. Only the order matters. */
double lg_work_estimate(const lg_work *work, const lg_candidate *candidate, int block, int n_threads,
                        double cold_share);

#endif
