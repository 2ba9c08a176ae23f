/* Padding with the value's own elements: an axis as runs of it, up or down, one behind the other.
 *
 *   reflect   3 2 [1 2 3 4] 3 2      edge   1 1 [1 2 3 4] 4 4      wrap   3 4 [1 2 3 4] 1 2 */
#ifndef LG_IMPORT_PAD_RUNS_H
#define LG_IMPORT_PAD_RUNS_H

#include "base/status.h"

#define LG_MOST_PAD_RUNS 129 /* 64 elements of an edge on each side */

typedef enum lg_pad_mode { LG_PAD_REFLECT, LG_PAD_EDGE, LG_PAD_WRAP } lg_pad_mode;

/* n elements from `start` on, in steps of `step`. */
typedef struct lg_pad_run {
    int64_t start, n, step;
} lg_pad_run;

/* The axis of `extent` elements with pads[0] in front and pads[1] behind. LEGO_EUNSUPPORTED where the mode has no such padding,
 * or for more than 64 repetitions of an edge. */
lego_status lg_pad_runs(lg_pad_run runs[LG_MOST_PAD_RUNS], int *n_runs, lg_pad_mode mode, int64_t extent,
                        const int64_t pads[2]);

#endif
