/* Plain C kernels of single steps: the reference engine, and what oneDNN has no good kernel for. */
#ifndef LG_ENGINE_PLAIN_H
#define LG_ENGINE_PLAIN_H

#include "engine/kernels.h"
#include "engine/lower.h"
#include "engine/work.h"

/* A step, and where and how its data lies. Images are in layout `in` and leave in `out`, everything else is row-major.
 * Kernels allocate nothing. They compute units `first` to `end` (excluded) of the step: elements of memory, rows, planes;
 * lg_plain_units() says how many there are, and no two write the same element. */
typedef struct lg_plain_call {
    const lg_program *program; /* supplies the shapes */
    const lg_step *step;
    lg_layout in, out;
    int block;                 /* channels in a block of LG_LAYOUT_BLOCKED */
    float *y;
    const float *const *inputs;
    const float *residual;     /* layers; NULL: none */
    const float *weight, *bias; /* layers: as lg_plain_pack() laid them out. Other steps read their own tensors */
    void *scratch;             /* n_parts times lg_plain_scratch_bytes(); a kernel sees its part's */
    int precise;               /* exponentials in double, rounded once: the reference engine */
    int n_parts;               /* computed side by side */
    lg_isa isa;                /* whose kernels compute it; all come to the same bits */
    int64_t first, end;        /* set by lg_plain_run() */
} lg_plain_call;

/* Microseconds that the step takes from layout to layout, calculated; INFINITY: there is no such kernel. Row-major to
 * row-major is always one. */
double lg_plain_us(const lg_program *program, const lg_step *step, lg_layout in, lg_layout out, int block);
/* The step's output is its input byte for byte: the same memory can serve both. */
int lg_plain_is_copy(const lg_program *program, const lg_step *step, lg_layout in, lg_layout out);
/* Of one part; a multiple of LG_ARENA_ALIGN. */
size_t lg_plain_scratch_bytes(const lg_program *program, const lg_step *step);
/* How many parts are worth starting for a step of so many microseconds. */
int lg_plain_parts(double us, int n_threads);
void lg_plain_run(const lg_plain_call *call);
/* The weights of a layer as its kernel wants them: (g,C/g,R,S,K/g), so that the innermost loop runs over output channels.
 * The entry's payload is an lg_packed. */
lego_status lg_plain_get_weights(lg_cache_entry **out, lg_packed_cache *cache, const lg_step *step);

/* --- how data lies --- */

/* An image or a volume in any layout: `n` times depth x height x width pixels (an image's depth is 1) of `lanes` values
 * each, which a kernel treats alike. */
typedef struct lg_planes {
    int64_t n, extents[LG_MAX_AXES], lanes;
} lg_planes;
lg_planes lg_planes_of(const lg_cell *cell, lg_layout layout, int block);
int64_t lg_planes_pixels(const lg_planes *planes); /* of one of the n */
int64_t lg_planes_elements(const lg_planes *planes);

/* Extents of a cell in the order of memory, and where an axis is found among them; a blocked image has five (a
 * volume six), its channel axis (1) counting blocks. */
lg_shape lg_memory_shape(const lg_cell *cell, lg_layout layout, int block);
int lg_memory_axis(const lg_cell *cell, lg_layout layout, int axis);

/* Walks elements of up to LEGO_MAX_DIMS extents, row-major, with the offsets into two arrays of other strides. A row, the
 * caller's own loop, is what is left of the last extent. */
typedef struct lg_walk {
    int n; /* of outer extents */
    int64_t extents[LEGO_MAX_DIMS], strides[2][LEGO_MAX_DIMS], at[LEGO_MAX_DIMS];
    int64_t inner, within; /* the last extent, and where the row starts in it */
    int64_t left;          /* elements from here on */
    int64_t row, stride[2], offset[2];
} lg_walk;
/* Over all elements. Neighbouring extents are joined where both arrays allow; extents of 1 are dropped. */
void lg_walk_start(lg_walk *walk, int n, const int64_t *extents, const int64_t *a, const int64_t *b);
/* Over those from `first` to `end` (excluded) instead. */
void lg_walk_cut(lg_walk *walk, int64_t first, int64_t end);
/* How many whole rows follow at the distance of the last outer extent, this one included; at least 1. */
int64_t lg_walk_rows(const lg_walk *walk);
/* Over n rows, fewer than lg_walk_rows(). */
void lg_walk_skip(lg_walk *walk, int64_t n);
/* To the next row; 0: that was the last. */
int lg_walk_next(lg_walk *walk);

#endif
