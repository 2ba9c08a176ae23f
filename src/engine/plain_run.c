/* plain_run.c: which plain C kernel runs a step, in how many parts side by side.
 *
 * A step is divided into units, of which no two write the same element: rows, planes, or single elements. Its parts are
 * runs of units, so every part computes what it would compute alone and results do not depend on their number.
 *
 * What newcomers get wrong: starting parts costs microseconds, more than many a step takes. */
#include "engine/fold.h"
#include "engine/kernels.h"
#include "engine/plain_kernels.h"

/* Two threads start and meet within 0.5 us while both wait busily (libgomp, Zen 4), more of them within a few; a part is to
 * be worth several times that. */
#define PART_US 4.0

static int64_t product(const int64_t *dims, int n)
{
    int64_t all = 1;

    for (int i = 0; i < n; i++)
        all *= dims[i];
    return all;
}

/* Units of a step, as its kernel counts them. */
static int64_t units_of(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    const lg_cell *out = &call->program->cells[step->output];
    const lg_planes planes = lg_planes_of(out, call->out, call->block);
    const lg_shape shape = lg_memory_shape(out, call->out, call->block);
    int axis;

    switch (step->kind) {
    case LG_STEP_CONV:
    case LG_STEP_CONV_TRANSPOSE: /* rows of a group's channels */
        return out->shape.dims[0] * lg_step_groups(step) * planes.extents[0] * planes.extents[1];
    case LG_STEP_LINEAR: /* rows */
    case LG_STEP_MATMUL:
        return product(out->shape.dims, out->shape.n_dims - 1);
    case LG_STEP_AFFINE: /* channels */
        return product(out->shape.dims, 2);
    case LG_STEP_SHUFFLE: /* pixels, or channels */
        axis = lg_memory_axis(out, call->out, 1);
        return product(shape.dims, axis == shape.n_dims - 1 ? axis : axis + 1);
    case LG_STEP_MAX_POOL: /* rows of pixels */
    case LG_STEP_AVG_POOL:
    case LG_STEP_ADAPTIVE_AVG_POOL:
    case LG_STEP_ADAPTIVE_MAX_POOL:
    case LG_STEP_PAD:
    case LG_STEP_UPSAMPLE:
        return planes.n * planes.extents[0] * planes.extents[1];
    case LG_STEP_LOG_SOFTMAX:
    case LG_STEP_SOFTMAX: /* runs along the axis */
        return out->elements / out->shape.dims[step->attrs.axis.axis];
    case LG_STEP_LAYER_NORM: /* rows */
        return product(out->shape.dims, (int)step->attrs.layer_norm.axis);
    case LG_STEP_GROUP_NORM: /* groups */
        return out->shape.dims[0] * step->attrs.group_norm.groups;
    default: /* elements in memory */
        return lg_planes_elements(&planes);
    }
}

int lg_plain_parts(double us, int n_threads)
{
    const double parts = us / PART_US;

    return parts < 1.0 ? 1 : parts < n_threads ? (int)parts : n_threads;
}

static const lg_plain_kernel *kernels_of(lg_isa isa)
{
#ifdef LG_PLAIN_X86
    if (isa != LG_ISA_BASE)
        return isa == LG_ISA_AVX512 ? lg_plain_kernels_avx512 : lg_plain_kernels_avx2;
#endif
    (void)isa;
    return lg_plain_kernels_base;
}

typedef struct job {
    const lg_plain_call *call;
    int64_t n_units;
    size_t scratch_bytes;
} job;

static void run_part(const void *payload, int part)
{
    const job *j = payload;
    lg_plain_call mine = *j->call;

    mine.first = j->n_units * part / mine.n_parts;
    mine.end = j->n_units * (part + 1) / mine.n_parts;
    if (j->scratch_bytes > 0)
        mine.scratch = (char *)mine.scratch + (size_t)part * j->scratch_bytes;
    if (mine.first < mine.end)
        kernels_of(mine.isa)[mine.step->kind](&mine);
}

void lg_plain_run(const lg_plain_call *call)
{
    const job j = { call, units_of(call), lg_plain_scratch_bytes(call->program, call->step) };

    lg_kernels_parallel(run_part, &j, call->n_parts);
}
