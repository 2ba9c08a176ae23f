/* Why no selection meets the limits, and what the nearest limits are that one meets. */
#ifndef LG_OPTIMIZE_NEAREST_H
#define LG_OPTIMIZE_NEAREST_H

#include "optimize/problem.h"

typedef struct lg_shortfall {
    int64_t least_latency, least_bytes;               /* over all selections, whatever the other limit */
    int64_t least_latency_within, least_bytes_within; /* under the other limit; LG_NO_LIMIT if that fails by itself */
    int64_t nearest_latency, nearest_bytes;           /* limits that work: the least growth, in parts, of either */
    double growth;                                    /* of the limit that grows most: 0.25 = 25 % more */
} lg_shortfall;

/* For a problem that has no solution. A limit of zero or less grows from one unit. LEGO_EINVAL if there is no limit. */
lego_status lg_nearest(lg_shortfall *out, const lg_problem *problem);

#endif
