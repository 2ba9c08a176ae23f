/* Which units of a block go: the problems that elimination needs, out of the block's layers.
 *
 * Flow: reconstruct_block.c comes to a layer that reads groups nobody has decided yet. All layers that mix units of
 * these groups are their consumers; each of them (each group of a grouped convolution) is one least-squares problem, their
 * errors add up. Levels are the path's variants, so one elimination gives nested sets for all sparsities.
 *
 * Grouped convolutions are decided in two steps. First whole convolution groups, as units of elimination, judged by the
 * layers that read the convolution's output (removing a group on both sides costs nothing in between); then equal
 * shares within the groups that are left: every group is a class with a quota of its own.
 *
 * Newcomers: where the covariance of all columns does not fit the memory limit, a unit's columns (kernel positions, or
 * pixels behind a flatten) are pooled: one column a unit, every position an output of its own. That is good enough to
 * choose by; it would be useless for a re-fit (PERFORMANCE.md section 5). */
#include <string.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "prune/reconstruct_block.h"

#define MAX_RAISES 8

/* The problems of one choice, with the statistics that they borrow. */
typedef struct choice {
    const lg_work *work;
    const lg_path *path;
    int32_t *local;          /* [n_units]: unit of elimination, or -1 */
    int32_t n_local, n_classes;
    int32_t *class_of;       /* [n_local] */
    int64_t *keep;           /* [path->n_variants][n_classes] */
    int32_t n_problems;
    size_t capacity;
    lg_problem *problems;
    void **storage;          /* what the problems point to and nobody else owns */
    size_t n_storage, storage_capacity;
    lg_layer_stats *stats;   /* [layers.n]: of consumers whose statistics were taken here */
} choice;

static void choice_dispose(choice *c)
{
    for (size_t i = 0; i < c->n_storage; i++)
        lg_free(c->storage[i]);
    for (int32_t l = 0; c->stats && l < c->work->layers.n; l++)
        lg_layer_stats_dispose(&c->stats[l]);
    lg_free(c->storage);
    lg_free(c->problems);
    lg_free(c->local);
    lg_free(c->class_of);
    lg_free(c->keep);
    lg_free(c->stats);
}

static lego_status choice_begin(choice *c, const lg_work *work, const lg_path *path)
{
    lego_status status = LEGO_OK;

    memset(c, 0, sizeof(*c));
    c->work = work;
    c->path = path;
    LG_TRY(LG_CALLOC(&c->local, work->n_units));
    LG_TRY(LG_CALLOC(&c->stats, work->layers.n));
    for (int32_t u = 0; u < work->n_units; u++)
        c->local[u] = -1;
done:
    return status;
}

/* Zero-filled storage that lives as long as the choice. */
static lego_status keep_storage(void **out, choice *c, int64_t n, size_t size)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&c->storage, &c->storage_capacity, c->n_storage + 1));
    LG_TRY(lg_calloc_into(out, (size_t)n, size));
    c->storage[c->n_storage++] = *out;
done:
    return status;
}

static const lg_channel_group *group_at(const lg_work *work, int32_t group)
{
    return lg_channels_group(work->channels, (size_t)group);
}

static lg_prune_width width_at(const lg_work *work, const lg_path *path, int32_t variant, int32_t group)
{
    return work->block->variants[path->variants[variant]].widths[work->widths_of[group]];
}

/* --- problems --- */

/* The units of elimination behind a slice's columns; returns whether there are any. */
static int column_units(int32_t *unit, const choice *c, const lg_layer *layer, const lg_slice *slice)
{
    const int64_t area = lg_window_area(&layer->window);
    int any = 0;

    for (int64_t i = 0; i < slice->n_channels; i++) {
        const int32_t of = layer->in_unit[slice->channels[i]], local = of < 0 ? -1 : c->local[of];

        for (int64_t p = 0; p < area; p++)
            unit[i * area + p] = local;
        any |= local >= 0;
    }
    return any;
}

/* The slice's rows of the layer's root of output weights; a slice of a grouped convolution has its own outputs only. */
static void set_root(lg_problem *problem, const lg_work *work, int32_t layer, const lg_slice *slice)
{
    if (!work->roots[layer])
        return;
    problem->n_root = work->n_roots[layer];
    problem->root = work->roots[layer] + slice->first_output * problem->n_root;
}

/* Columns of every unit in the slice: columns[u * each + p], all units having equally many; 0 if they have not. */
static int64_t columns_by_unit(int32_t *columns, const int32_t *unit, int64_t n, int32_t n_local, int64_t *count)
{
    int64_t each = 0;

    memset(count, 0, sizeof(*count) * (size_t)n_local);
    for (int64_t j = 0; j < n; j++)
        if (unit[j] >= 0)
            count[unit[j]]++;
    for (int32_t u = 0; u < n_local; u++) {
        if (count[u] > 0 && each > 0 && count[u] != each)
            return 0;
        if (count[u] > 0)
            each = count[u];
        count[u] = 0;
    }
    for (int64_t j = 0; j < n; j++)
        if (unit[j] >= 0)
            columns[unit[j] * each + count[unit[j]]++] = (int32_t)j;
    return each;
}

/* w (units, each * r): the original weights of every pooled column, times the root. */
static void pooled_weights(double *w, const lg_problem *full, const int32_t *columns, int64_t n_units, int64_t each)
{
    const int64_t r = full->root ? full->n_root : full->m;

    for (int64_t i = 0; i < n_units * each; i++) {
        const double *from = full->w0 + columns[i] * full->m;

        for (int64_t o = 0; o < r; o++) {
            if (!full->root) {
                w[i * r + o] = from[o];
                continue;
            }
            for (int64_t k = 0; k < full->m; k++)
                w[i * r + o] += from[k] * full->root[k * r + o];
        }
    }
}

/* One column a unit; targets are what the original weights give, position by position. */
static lego_status pooled_problem(lg_problem *problem, choice *c, const lg_layer_stats *stats,
                                  const lg_slice_stats *slice, const lg_problem *full)
{
    int32_t *columns = NULL, *unit = NULL;
    int64_t *count = NULL, each = 0, m = 0;
    double *w0 = NULL, *xt = NULL, *xx = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&columns, full->n));
    LG_TRY(LG_CALLOC(&count, c->n_local));
    each = columns_by_unit(columns, full->unit, full->n, c->n_local, count);
    m = each * (full->root ? full->n_root : full->m);
    if (each < 1 || sizeof(double) * (size_t)(c->n_local * (3 * m + c->n_local)) > c->work->effort.memory_bytes)
        LG_FAIL(LEGO_EUNSUPPORTED, "the statistics of %lld columns do not fit %zu MiB, not even pooled",
                (long long)full->n, c->work->effort.memory_bytes >> 20);
    LG_TRY(keep_storage((void **)&w0, c, c->n_local * m, sizeof(*w0)));
    LG_TRY(keep_storage((void **)&xt, c, c->n_local * m, sizeof(*xt)));
    LG_TRY(keep_storage((void **)&xx, c, (int64_t)c->n_local * c->n_local, sizeof(*xx)));
    LG_TRY(keep_storage((void **)&unit, c, c->n_local, sizeof(*unit)));
    for (int32_t u = 0; u < c->n_local; u++)
        unit[u] = u;
    pooled_weights(w0, full, columns, c->n_local, each);
    LG_TRY(lg_rows_pooled(xx, &stats->rows, &slice->slice, columns, c->n_local, each));
    lg_dgemm(0, 0, c->n_local, m, c->n_local, 1.0, xx, c->n_local, w0, m, 0.0, xt, m);
    *problem = (lg_problem){ c->n_local, m, xx, xt, w0, unit, NULL, 0,
                             lg_ridge(xx, c->n_local, c->work->effort.ridge) };
done:
    lg_free(columns);
    lg_free(count);
    return status;
}

static lego_status add_problem(choice *c, lg_remarks *remarks, int32_t layer, const lg_layer_stats *stats,
                               const lg_slice_stats *slice)
{
    const lg_layer *l = &c->work->layers.layers[layer];
    lg_problem full = { 0 };
    int32_t *unit = NULL;
    lego_status status = LEGO_OK;

    if (!slice->live)
        return LEGO_OK;
    full.n = slice->slice.n_channels * lg_window_area(&l->window);
    full.m = slice->slice.n_outputs;
    LG_TRY(keep_storage((void **)&unit, c, full.n, sizeof(*unit)));
    if (!column_units(unit, c, l, &slice->slice))
        goto done;
    full.unit = unit;
    full.w0 = slice->w0;
    set_root(&full, c->work, layer, &slice->slice);
    if (slice->moments.n > 0) {
        full.xx = slice->moments.xx;
        full.xt = slice->moments.xt;
        full.ridge = lg_ridge(full.xx, full.n, c->work->effort.ridge);
    }
    LG_TRY(LG_RESERVE(&c->problems, &c->capacity, (size_t)c->n_problems + 1));
    if (full.xx) {
        c->problems[c->n_problems++] = full;
    } else {
        LG_TRY(pooled_problem(&c->problems[c->n_problems], c, stats, slice, &full));
        c->n_problems++;
        remarks->n_pooled++;
    }
done:
    return status;
}

/* A layer is a consumer of the choice if it mixes any of its units; `stats` (may be NULL) are already there. */
static lego_status add_consumer(choice *c, lg_remarks *remarks, int32_t layer, const lg_layer_stats *stats,
                                const lg_environments *environments)
{
    const lg_layer *l = &c->work->layers.layers[layer];
    int reads = 0;
    lego_status status = LEGO_OK;

    for (int64_t i = 0; i < l->window.channels; i++)
        reads |= l->in_unit[i] >= 0 && c->local[l->in_unit[i]] >= 0;
    if (!reads || lg_layer_carries(l))
        return LEGO_OK;
    if (!stats) {
        LG_TRY(lg_layer_stats_create(&c->stats[layer], c->work, c->path, layer, environments));
        stats = &c->stats[layer];
    }
    for (int32_t g = 0; g < stats->n_slices; g++)
        LG_TRY(add_problem(c, remarks, layer, stats, &stats->slices[g]));
done:
    return status;
}

/* --- elimination over the path's variants --- */

/* Levels first .. end-1 do not widen in any class. */
static int32_t nested_levels(const choice *c, int32_t first)
{
    int32_t end = first + 1;

    for (; end < c->path->n_variants; end++)
        for (int32_t k = 0; k < c->n_classes; k++)
            if (c->keep[end * c->n_classes + k] > c->keep[(end - 1) * c->n_classes + k])
                return end;
    return end;
}

/* A numerical failure raises every ridge tenfold, and that is reported. */
static lego_status eliminate(int32_t *level_of, choice *c, lg_remarks *remarks, const lg_quota *quota)
{
    lego_status status = LEGO_OK;

    for (int32_t raises = 0;; raises++) {
        status = lg_eliminate(level_of, NULL, c->problems, c->n_problems, quota);
        if (status != LEGO_EBACKEND || raises == MAX_RAISES)
            return status;
        remarks->n_raised++;
        for (int32_t p = 0; p < c->n_problems; p++)
            c->problems[p].ridge *= 10.0;
    }
}

static lego_status choose(uint8_t *stays, int64_t *n_gone, choice *c, lg_remarks *remarks)
{
    const int32_t n_units = c->work->n_units;
    int32_t *level_of = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&level_of, c->n_local));
    for (int32_t first = 0; first < c->path->n_variants;) {
        const int32_t end = nested_levels(c, first);
        const lg_quota quota = { c->n_local, c->n_classes, end - first, c->class_of,
                                 c->keep + (int64_t)first * c->n_classes };

        LG_TRY(eliminate(level_of, c, remarks, &quota));
        for (int32_t v = first; v < end; v++)
            for (int32_t u = 0; u < n_units; u++)
                if (c->local[u] >= 0 && level_of[c->local[u]] <= v - first) {
                    stays[(int64_t)v * n_units + u] = 0;
                    ++*n_gone;
                }
        first = end;
    }
done:
    lg_free(level_of);
    return status;
}

/* Whether any level keeps fewer units of a class than there are. */
static lego_status is_needed(int *needed, const choice *c)
{
    int64_t *there = NULL;
    lego_status status = LEGO_OK;

    *needed = 0;
    LG_TRY(LG_CALLOC(&there, c->n_classes));
    for (int32_t i = 0; i < c->n_local; i++)
        there[c->class_of[i]]++;
    for (int32_t v = 0; v < c->path->n_variants; v++)
        for (int32_t k = 0; k < c->n_classes; k++)
            *needed |= c->keep[v * c->n_classes + k] < there[k];
done:
    lg_free(there);
    return status;
}

/* --- whole convolution groups --- */

/* A grouped convolution between two groups of the ring: its columns vanish with its outputs, at no cost. */
static int is_inside(const choice *c, const lg_layer *layer, int32_t parts)
{
    return layer->groups == parts && layer->in_unit[0] >= 0 && layer->out_unit[0] >= 0 &&
           c->local[layer->in_unit[0]] >= 0 && c->local[layer->out_unit[0]] >= 0;
}

lego_status lg_work_choose_parts(uint8_t *stays, int64_t *n_gone, lg_remarks *remarks, const lg_work *work,
                                 const lg_path *path, int32_t group, const lg_environments *environments)
{
    const int32_t parts = group_at(work, group)->parts;
    int32_t member = group;
    int needed = 0;
    choice c;
    lego_status status = LEGO_OK;

    *n_gone = 0;
    LG_TRY(choice_begin(&c, work, path));
    do { /* unit j of a group lies in part j / (units / parts) */
        const lg_channel_group *g = group_at(work, member);

        for (int32_t j = 0; j < g->n_units; j++)
            c.local[g->units[j]] = j / (g->n_units / parts);
        member = g->partner;
    } while (member != group && member != LG_NONE);
    c.n_local = parts;
    c.n_classes = 1;
    LG_TRY(LG_CALLOC(&c.class_of, parts));
    LG_TRY(LG_CALLOC(&c.keep, path->n_variants));
    for (int32_t v = 0; v < path->n_variants; v++)
        c.keep[v] = width_at(work, path, v, group).parts;
    LG_TRY(is_needed(&needed, &c));
    if (!needed)
        goto done;
    for (int32_t l = 0; l < work->layers.n; l++)
        if (!is_inside(&c, &work->layers.layers[l], parts))
            LG_TRY(add_consumer(&c, remarks, l, NULL, environments));
    LG_TRY(choose(stays, n_gone, &c, remarks));
done:
    choice_dispose(&c);
    return status;
}

/* --- units --- */

int32_t lg_work_open_groups(uint8_t *flags, const lg_work *work, const lg_path *path, int32_t layer)
{
    const lg_layer *l = &work->layers.layers[layer];
    int32_t n = 0;

    memset(flags, 0, (size_t)work->n_groups);
    if (lg_layer_carries(l))
        return 0;
    for (int64_t i = 0; i < l->window.channels; i++) {
        const int32_t group = l->in_unit[i] < 0 ? LG_NONE : work->group_of[l->in_unit[i]];

        if (group == LG_NONE || work->widths_of[group] == LG_NONE || path->decided[group] || flags[group])
            continue;
        flags[group] = 1;
        n++;
    }
    return n;
}

/* Units of elimination and classes of one group: a class is a convolution group, or the whole group. */
static void add_group(choice *c, int32_t group)
{
    const lg_channel_group *g = group_at(c->work, group);

    for (int32_t j = 0; j < g->n_units; j++) {
        if (!c->path->alive[g->units[j]])
            continue;
        c->local[g->units[j]] = c->n_local;
        c->class_of[c->n_local++] = c->n_classes + j / (g->n_units / g->parts);
    }
    c->n_classes += g->parts;
}

/* Quotas of the group's classes; parts that are gone have no units and keep none. */
static void set_quotas(choice *c, int32_t group, int32_t first_class)
{
    const lg_channel_group *g = group_at(c->work, group);

    for (int32_t v = 0; v < c->path->n_variants; v++) {
        const lg_prune_width width = width_at(c->work, c->path, v, group);

        for (int32_t j = 0; j < g->n_units; j++)
            if (c->path->alive[g->units[j]])
                c->keep[v * c->n_classes + first_class + j / (g->n_units / g->parts)] = width.units / width.parts;
    }
}

lego_status lg_work_choose_units(uint8_t *stays, int64_t *n_gone, lg_remarks *remarks, const lg_work *work,
                                 const lg_path *path, int32_t layer, const lg_layer_stats *stats,
                                 const lg_environments *environments)
{
    uint8_t *open = NULL;
    int32_t first_class = 0;
    int needed = 0;
    choice c;
    lego_status status = LEGO_OK;

    *n_gone = 0;
    LG_TRY(choice_begin(&c, work, path));
    LG_TRY(LG_CALLOC(&open, work->n_groups));
    LG_TRY(LG_CALLOC(&c.class_of, work->n_units));
    if (lg_work_open_groups(open, work, path, layer) == 0)
        goto done;
    for (int32_t g = 0; g < work->n_groups; g++)
        if (open[g])
            add_group(&c, g);
    LG_TRY(LG_CALLOC(&c.keep, (int64_t)path->n_variants * c.n_classes));
    for (int32_t g = 0; g < work->n_groups; g++)
        if (open[g]) {
            set_quotas(&c, g, first_class);
            first_class += group_at(work, g)->parts;
        }
    LG_TRY(is_needed(&needed, &c));
    if (!needed)
        goto done;
    for (int32_t l = 0; l < work->layers.n; l++)
        LG_TRY(add_consumer(&c, remarks, l, l == layer ? stats : NULL, environments));
    LG_TRY(choose(stays, n_gone, &c, remarks));
done:
    lg_free(open);
    choice_dispose(&c);
    return status;
}
