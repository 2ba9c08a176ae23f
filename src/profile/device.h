/* The device profile's measurements on their way to the document: design -> runs -> fit. */
#ifndef LG_PROFILE_DEVICE_H
#define LG_PROFILE_DEVICE_H

#include "engine/engine.h"
#include "profile/profile.h"
#include "store/store.h"

/* --- device_design.c: which compositions are measured --- */
typedef struct lg_device_design {
    int32_t n_blocks;
    int32_t n_compositions; /* the first one is all originals */
    int32_t n_designed;     /* the others are random, held out from the fit */
    int32_t *selections;    /* n_compositions x n_blocks */
} lg_device_design;
lego_status lg_device_design_init(lg_device_design *out, const lego_store *store, int32_t n_held_out, uint64_t seed);
void lg_device_design_dispose(lg_device_design *design);
static inline const int32_t *lg_device_selection(const lg_device_design *design, int32_t composition)
{
    return design->selections + (size_t)composition * (size_t)design->n_blocks;
}

/* --- device_run.c: what running them took --- */
#define LG_WHOLE_RUNS 3 /* a visit: inferences timed as a whole */
#define LG_PART_RUNS 2  /* and inferences timed block by block */

typedef struct lg_device_runs {
    int32_t n_compositions, n_blocks;
    int32_t n_rounds, n_redone; /* kept; repeated because something disturbed them */
    float *whole_us; /* round x composition x LG_WHOLE_RUNS */
    float *part_us;  /* round x composition x LG_PART_RUNS x (n_blocks + 1); the last one is the frame */
    int64_t *part_bytes; /* composition x (n_blocks + 1): packed weights */
    int64_t arena_bytes; /* of the largest composition */
    char engine[64];
    lg_json *tuning;
} lg_device_runs;
lego_status lg_device_run(lg_device_runs *out, lego_context *context, lego_store *store,
                          const lg_device_design *design, const lego_latency_options *options);
void lg_device_runs_dispose(lg_device_runs *runs);

/* --- device_fit.c: what follows --- */
/* A measurement and how far it may be off. */
typedef struct lg_reading {
    double value, deviation; /* deviation > 0 */
} lg_reading;
typedef struct lg_device_fit {
    int32_t n_blocks;
    int32_t *first;       /* n_blocks + 1: the variants of block b are timings[first[b]] ..; the frame is the last timing */
    lg_timing *timings;
    int32_t n_compositions;
    lg_reading *measured_us; /* by composition */
    double *predicted_us;
    double mean_error, max_error, bias; /* relative, on the held-out compositions; NaN without any */
    double margin;
} lg_device_fit;
lego_status lg_device_fit_init(lg_device_fit *out, const lego_store *store, const lg_device_design *design,
                               const lg_device_runs *runs);
void lg_device_fit_dispose(lg_device_fit *fit);
/* The additive model alone: `terms` so that the sums over each composition's terms come close to `sums` without leaving
 * what was measured term by term. members: n_sums x n_members term indices. */
lego_status lg_fit_terms(double *terms, int32_t n_terms, const lg_reading *measured, int32_t n_sums,
                         const lg_reading *sums, int32_t n_members, const int32_t *members);

/* What the system calls the CPU, "unknown" if it does not (device.c). */
void lg_cpu_model(char *out, size_t size);

/* The notch of a box plot: how far a median of n samples may be off. */
double lg_notch(double spread, int64_t n);
/* The q-quantile of n values, interpolated; reorders them. */
double lg_quantile(double *values, size_t n, double q);

#endif
