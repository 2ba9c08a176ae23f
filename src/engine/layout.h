/* One candidate a step such that kernels and the reorders between them take the least time together. */
#ifndef LG_ENGINE_LAYOUT_H
#define LG_ENGINE_LAYOUT_H

#include "engine/work.h"

/* What a step can do: candidates and their microseconds, INFINITY where there is no such kernel. */
typedef struct lg_step_options {
    lg_work work;
    int n_candidates;
    lg_candidate candidates[LG_MAX_CANDIDATES];
    double us[LG_MAX_CANDIDATES];
} lg_step_options;

/* Microseconds to bring a cell from one layout to another; [l][l] is a copy. */
typedef struct lg_reorder_costs {
    double us[LG_N_LAYOUTS][LG_N_LAYOUTS];
} lg_reorder_costs;

/* `options` has one entry a step, `reorders` one a cell (read for bases only); choices[i] is step i's candidate.
 * LEGO_EBACKEND names the first step for which no candidate is left. */
lego_status lg_layouts_choose(int32_t *choices, const lg_program *program, int block, const lg_step_options *options,
                              const lg_reorder_costs *reorders);

/* --- the rules that choosing and building share --- */
/* Layouts (bits) in which a cell is at hand once it lies in `layout`. */
unsigned lg_layout_bits(const lg_cell *cell, lg_layout layout, int block);
/* The layout, of those at hand, to reorder from. */
lg_layout lg_layout_source(unsigned at_hand, const lg_reorder_costs *costs, lg_layout to);
/* The layout in which a reader gets a cell: a view is always read row-major. */
lg_layout lg_layout_wanted(const lg_program *program, int32_t cell, lg_layout layout);
/* Whether a step that sums into its residual may overwrite the residual's copy in the output's layout. */
int lg_residual_is_free(const lg_program *program, int32_t step, const lg_candidate *candidate, int block);

#endif
