/* What a retraining came to, for callers and as a document. */
#include "retrain/retrain.h"

#include "base/alloc.h"

typedef struct named_result {
    char *block, *variant;
    lego_retrain_result result;
} named_result;

struct lego_retrain_report {
    char *store, *data;
    int32_t epochs, n;
    int64_t n_samples;
    double seconds;
    named_result *results;
};

static lego_retrain_outcome outcome_of(const lg_learner *learner)
{
    if (learner->state == LG_LEARNER_FAILED)
        return LEGO_RETRAIN_NOT_FINITE;
    return learner->improved ? LEGO_RETRAIN_IMPROVED : LEGO_RETRAIN_UNCHANGED;
}

lego_status lg_retrain_report_create(lego_retrain_report **out, const lg_retrain *r)
{
    lego_retrain_report *report = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&report, 1));
    LG_TRY(LG_STRDUP(&report->store, lego_store_path(r->store)));
    LG_TRY(LG_STRDUP(&report->data, lego_dataset_name(r->train)));
    LG_TRY(LG_CALLOC(&report->results, r->n_learners));
    report->epochs = r->opts->epochs;
    report->n_samples = lego_dataset_n_samples(r->train);
    report->seconds = r->seconds;
    for (int32_t i = 0; i < r->n_learners; i++) {
        const lg_learner *learner = &r->learners[i];
        named_result *to = &report->results[i];

        report->n = i + 1;
        LG_TRY(LG_STRDUP(&to->block, lego_store_block_name(r->store, learner->block)));
        LG_TRY(LG_STRDUP(&to->variant, lego_store_variant_name(r->store, learner->block, learner->variant)));
        to->result = (lego_retrain_result){ learner->block, learner->variant,     outcome_of(learner),
                                            0,              learner->steps,       learner->loss_before,
                                            learner->loss_after };
    }
    *out = report;
    report = NULL;
done:
    lego_retrain_report_free(report);
    return status;
}

int32_t lego_retrain_report_count(const lego_retrain_report *report)
{
    return report ? report->n : 0;
}

lego_status lego_retrain_report_get(lego_retrain_result *out, const lego_retrain_report *report, int32_t index)
{
    if (!out || !report)
        return lg_error(LEGO_EINVAL, "out and report must not be NULL");
    if (index < 0 || index >= report->n)
        return lg_error(LEGO_EINVAL, "index %d is not in [0, %d)", index, report->n);
    *out = report->results[index].result;
    return LEGO_OK;
}

static lego_status variant_to_json(lg_json *array, const named_result *named)
{
    static const char *const outcomes[] = { "improved", "unchanged", "not finite" };
    const lego_retrain_result *result = &named->result;
    lg_json *item = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&item, array));
    LG_TRY(lg_json_set_string(item, "block", named->block));
    LG_TRY(lg_json_set_string(item, "variant", named->variant));
    LG_TRY(lg_json_set_string(item, "outcome", outcomes[result->outcome]));
    LG_TRY(lg_json_set_int(item, "steps", result->steps));
    LG_TRY(lg_json_set_double(item, "loss_before", result->loss_before));
    LG_TRY(lg_json_set_double(item, "loss_after", result->loss_after));
done:
    return status;
}

lego_status lego_retrain_report_to_json(char **out, const lego_retrain_report *report)
{
    lg_json *json = NULL, *variants = NULL;
    lego_status status = LEGO_OK;

    if (!out || !report)
        return lg_error(LEGO_EINVAL, "out and report must not be NULL");
    *out = NULL;
    LG_TRY(lg_json_create_object(&json));
    LG_TRY(lg_json_set_string(json, "schema", "legodnn.retrain/1"));
    LG_TRY(lg_json_set_string(json, "store", report->store));
    LG_TRY(lg_json_set_string(json, "data", report->data));
    LG_TRY(lg_json_set_int(json, "samples", report->n_samples));
    LG_TRY(lg_json_set_int(json, "epochs", report->epochs));
    LG_TRY(lg_json_set_double(json, "seconds", report->seconds));
    LG_TRY(lg_json_set_array(&variants, json, "variants"));
    for (int32_t i = 0; i < report->n; i++)
        LG_TRY(variant_to_json(variants, &report->results[i]));
    LG_TRY(lg_json_print(out, json, 1));
done:
    lg_json_free(json);
    return status;
}

void lego_retrain_report_free(lego_retrain_report *report)
{
    if (!report)
        return;
    for (int32_t i = 0; i < report->n; i++) {
        lg_free(report->results[i].block);
        lg_free(report->results[i].variant);
    }
    lg_free(report->results);
    lg_free(report->store);
    lg_free(report->data);
    lg_free(report);
}
