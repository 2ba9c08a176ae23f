/** @file prune.h  How the channels that a variant keeps are chosen. */
#ifndef LEGODNN_PRUNE_H
#define LEGODNN_PRUNE_H

#include "legodnn/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Every criterion: enum name, value, name on the command line, summary. */
#define LEGO_CRITERION_MAP(X)                                                                             \
    X(AUTO, 0, "auto", "reconstruct where data is given, l1 without")                                     \
    X(RECONSTRUCT, 1, "reconstruct", "least error of the block's output, weights re-fitted; needs data")  \
    X(L1, 2, "l1", "sum of magnitudes of a channel's filters")                                            \
    X(L2, 3, "l2", "Euclidean norm of a channel's filters")                                               \
    X(BN_SCALE, 4, "bn_scale", "magnitude of batch normalisation's scale (l1 where a group has none)")    \
    X(FPGM, 5, "fpgm", "distance of a channel's filters to those of all others (geometric median)")       \
    X(RANDOM, 6, "random", "seeded chance; a baseline")                                                   \
    X(TAYLOR, 7, "taylor", "what the loss is expected to lose with a channel, to first order; needs data")

typedef enum lego_criterion {
#define LEGO_CRITERION_ENUM(name, value, text, summary) LEGO_CRITERION_##name = value,
    LEGO_CRITERION_MAP(LEGO_CRITERION_ENUM)
#undef LEGO_CRITERION_ENUM
} lego_criterion;

/** Which channels of a block compete with each other. */
typedef enum lego_prune_scope {
    LEGO_PRUNE_SCOPE_GROUP = 0, /**< those of one group: every group of the block loses the same share */
    LEGO_PRUNE_SCOPE_BLOCK = 1  /**< all of a block: groups that matter less lose more; not with reconstruct */
} lego_prune_scope;

/** "l1" for LEGO_CRITERION_L1; NULL if there is no such criterion. */
LEGO_API const char *lego_criterion_name(lego_criterion criterion);
/** One line about it; NULL if there is no such criterion. */
LEGO_API const char *lego_criterion_summary(lego_criterion criterion);
/** @return LEGO_ENOTFOUND with the known names if there is none of that name */
LEGO_API lego_status lego_criterion_parse(lego_criterion *out, const char *name);

#ifdef __cplusplus
}
#endif
#endif
