/* plain_walk.c: how data in a layout lies in memory, and how it is walked.
 *
 * What newcomers get wrong: layouts are of images and volumes. Everything else is row-major, in whatever
 * layout it is asked for. */
#include <string.h>

#include "engine/plain.h"

static int64_t n_blocks(int64_t n_channels, int block)
{
    return (n_channels + block - 1) / block;
}

lg_planes lg_planes_of(const lg_cell *cell, lg_layout layout, int block)
{
    int64_t d[LG_WORK_DIMS];

    lg_work_dims(d, cell);
    switch (layout) {
    case LG_LAYOUT_NHWC:
        return (lg_planes){ d[0], { d[2], d[3], d[4] }, d[1] };
    case LG_LAYOUT_BLOCKED:
        return (lg_planes){ d[0] * n_blocks(d[1], block), { d[2], d[3], d[4] }, block };
    default:
        return (lg_planes){ d[0] * d[1], { d[2], d[3], d[4] }, 1 };
    }
}

int64_t lg_planes_pixels(const lg_planes *planes)
{
    return planes->extents[0] * planes->extents[1] * planes->extents[2];
}

int64_t lg_planes_elements(const lg_planes *planes)
{
    return planes->n * lg_planes_pixels(planes) * planes->lanes;
}

lg_shape lg_memory_shape(const lg_cell *cell, lg_layout layout, int block)
{
    const int n_axes = lg_cell_axes(cell);
    int64_t d[LG_WORK_DIMS];
    lg_shape shape = { 0, { 0 } };

    if (layout == LG_LAYOUT_PLAIN || (layout == LG_LAYOUT_NHWC && n_axes == 0))
        return cell->shape; /* without rows and columns both are the same */
    lg_work_dims(d, cell);
    shape.dims[shape.n_dims++] = d[0];
    if (layout == LG_LAYOUT_BLOCKED)
        shape.dims[shape.n_dims++] = n_blocks(d[1], block);
    for (int i = n_axes == 3 ? 2 : 3; i < LG_WORK_DIMS; i++)
        shape.dims[shape.n_dims++] = d[i];
    shape.dims[shape.n_dims++] = layout == LG_LAYOUT_BLOCKED ? block : d[1];
    return shape;
}

int lg_memory_axis(const lg_cell *cell, lg_layout layout, int axis)
{
    if (layout != LG_LAYOUT_NHWC || lg_cell_axes(cell) == 0 || axis == 0)
        return axis;
    return axis == 1 ? cell->shape.n_dims - 1 : axis - 1;
}

void lg_walk_start(lg_walk *walk, int n, const int64_t *extents, const int64_t *a, const int64_t *b)
{
    int last;

    memset(walk, 0, sizeof(*walk));
    for (int i = 0; i < n; i++) {
        if (extents[i] == 1)
            continue;
        last = walk->n - 1;
        if (last >= 0 && walk->strides[0][last] == a[i] * extents[i] && walk->strides[1][last] == b[i] * extents[i]) {
            walk->extents[last] *= extents[i];
        } else {
            last = walk->n++;
            walk->extents[last] = extents[i];
        }
        walk->strides[0][last] = a[i];
        walk->strides[1][last] = b[i];
    }
    walk->inner = 1;
    if (walk->n > 0) {
        last = --walk->n;
        walk->inner = walk->extents[last];
        walk->stride[0] = walk->strides[0][last];
        walk->stride[1] = walk->strides[1][last];
    }
    walk->left = walk->row = walk->inner;
    for (int i = 0; i < walk->n; i++)
        walk->left *= walk->extents[i];
}

void lg_walk_cut(lg_walk *walk, int64_t first, int64_t end)
{
    int64_t outer = first / walk->inner;

    walk->left = end - first;
    walk->within = first % walk->inner;
    for (int i = walk->n - 1; i >= 0; i--) {
        walk->at[i] = outer % walk->extents[i];
        outer /= walk->extents[i];
    }
    walk->row = walk->left < walk->inner - walk->within ? walk->left : walk->inner - walk->within;
    for (int k = 0; k < 2; k++) {
        walk->offset[k] = walk->within * walk->stride[k];
        for (int i = 0; i < walk->n; i++)
            walk->offset[k] += walk->at[i] * walk->strides[k][i];
    }
}

int64_t lg_walk_rows(const lg_walk *walk)
{
    const int last = walk->n - 1;
    int64_t whole;

    if (last < 0 || walk->row < walk->inner)
        return 1;
    whole = walk->left / walk->inner;
    return whole < walk->extents[last] - walk->at[last] ? whole : walk->extents[last] - walk->at[last];
}

void lg_walk_skip(lg_walk *walk, int64_t n)
{
    const int last = walk->n - 1;

    if (n == 0)
        return;
    walk->left -= n * walk->inner;
    walk->at[last] += n;
    walk->offset[0] += n * walk->strides[0][last];
    walk->offset[1] += n * walk->strides[1][last];
}

int lg_walk_next(lg_walk *walk)
{
    walk->left -= walk->row;
    if (walk->left <= 0)
        return 0;
    for (int k = 0; k < 2; k++)
        walk->offset[k] -= walk->within * walk->stride[k];
    walk->within = 0;
    walk->row = walk->left < walk->inner ? walk->left : walk->inner;
    for (int i = walk->n - 1; i >= 0; i--) {
        walk->offset[0] += walk->strides[0][i];
        walk->offset[1] += walk->strides[1][i];
        if (++walk->at[i] < walk->extents[i])
            break;
        walk->at[i] = 0;
        walk->offset[0] -= walk->strides[0][i] * walk->extents[i];
        walk->offset[1] -= walk->strides[1][i] * walk->extents[i];
    }
    return 1;
}
