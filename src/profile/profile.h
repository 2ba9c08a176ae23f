/* A profile document's inside, and its JSON, schema "legodnn.profile/1":
 *
 *   { "schema": "legodnn.profile/1", "model": "resnet18-cifar",
 *     "server": { "metric": "top1", "split": "val", "samples": 2000, "accuracy": 0.9251,
 *                 "predictor": { "name": "kl", "link": "identity", "mae": 0.0031, ... },
 *                 "blocks": [ { "name": "b0", "variants": [ { "name": "s0.3", "checksum": "0f..", "cost": 0.0012,
 *                               "weight_bytes": 1, "flops": 1, "parameters": 1, ... } ] } ], ... },
 *     "device": { "engine": "onednn 2.6.3", "batch": 1, "threads": 1, ..., "arena_bytes": 1,
 *                 "frame": { "latency_us": 1, "median_us": 1, ... }, "held_out": { ... }, "tuning": { ... },
 *                 "blocks": [ { "name": "b0", "variants": [ { "name": "s0.3", "latency_us": 1, ... } ] } ] } }
 *
 * Variants are found by name, so a profile survives a store whose menu only grew. The server side writes what it likes
 * beside the keys above; loading reads these and keeps the whole document.
 *
 * What newcomers get wrong: `cost` is not the measured accuracy drop of one variant but its term in the predictor's
 * sum: accuracy of a selection = unlink(link(accuracy) - sum of costs). Likewise `latency_us` is the fitted additive
 * term; `median_us` is what was seen. */
#ifndef LG_PROFILE_PROFILE_H
#define LG_PROFILE_PROFILE_H

#include "base/json.h"
#include "legodnn/profile.h"

#define LG_PROFILE_SCHEMA "legodnn.profile/1"

typedef enum lg_link { LG_LINK_IDENTITY = 0, LG_LINK_LOGIT = 1 } lg_link;

typedef struct lg_timing {
    double latency_us; /* fitted additive term */
    double median_us, p90_us;
    double spread_us;  /* interquartile range of the samples */
    int64_t n_samples;
    int64_t resident_bytes; /* packed weights */
} lg_timing;

typedef struct lg_profile_variant {
    char *name;
    /* server */
    uint64_t checksum; /* of the variant's file as measured; 0 = not stated */
    double cost;       /* term of the predictor's sum, in the link's domain; 0 for the original */
    double drop;       /* measured: mean over the environments */
    double divergence; /* measured: of the model's outputs, this block alone replaced; 0 = not stated */
    int64_t weight_bytes, flops, n_parameters;
    /* device */
    lg_timing timing;
} lg_profile_variant;

typedef struct lg_profile_block {
    char *name;
    int32_t n_variants;
    lg_profile_variant *variants;
} lg_profile_block;

typedef struct lg_profile_side {
    int32_t n_blocks; /* 0: the document has no such section */
    lg_profile_block *blocks;
} lg_profile_side;

struct lego_profile {
    char *model;
    lg_json *document; /* the whole, as loaded or built */

    lg_profile_side server;
    double accuracy;   /* of the original, a fraction */
    lg_link link;
    int64_t server_frame_bytes, server_frame_flops; /* weights and FLOPs outside every block */

    lg_profile_side device;
    lg_timing frame;
    int64_t arena_bytes; /* largest of the compositions seen */
    int32_t batch, n_threads;
    const char *cpu;     /* in `document`; "" = not stated */
    double margin;       /* relative: how much longer than predicted a composition may take (held out) */
};

/* Take ownership of a complete document (on success) and read it; `what` names it in errors. */
lego_status lg_profile_from_json(lego_profile **out, lg_json **document, const char *what);
/* An accuracy that loses `cost`, which counts in the link's domain; in [0, 1]. */
double lg_link_accuracy(lg_link link, double accuracy, double cost);
const char *lg_link_name(lg_link link); /* "identity", "logit" */
/* The accuracy of a selection whose costs add up to `cost`, and the domain's other direction. */
double lg_profile_accuracy(const lego_profile *profile, double cost);
const lg_profile_block *lg_profile_find_block(const lg_profile_side *side, const char *name);
const lg_profile_variant *lg_profile_find_variant(const lg_profile_block *block, const char *name);
/* Device side: the tuning results, or NULL; borrowed. */
const lg_json *lg_profile_tuning(const lego_profile *profile);

#endif
