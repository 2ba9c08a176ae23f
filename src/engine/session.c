/* session.c: the public way to run a model: a plan and the checks that untrusted callers need. */
#include "legodnn/session.h"

#include "base/alloc.h"
#include "engine/engine.h"

struct lego_session {
    lg_plan *plan;
    int32_t n_inputs, n_outputs;
};

lego_status lego_session_create(lego_session **out, lego_context *context, const lego_model *model,
                                const lego_session_options *options)
{
    lego_session_options opts = LEGO_SESSION_OPTIONS_INIT;
    lg_plan_options plan_options = LG_PLAN_OPTIONS_INIT;
    lego_session *session = NULL;
    lego_status status = LEGO_OK;

    if (!out)
        return lg_error(LEGO_EINVAL, "out must not be NULL");
    *out = NULL;
    if (!model)
        return lg_error(LEGO_EINVAL, "model must not be NULL");
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));

    LG_TRY(LG_CALLOC(&session, 1));
    plan_options.engine = opts.engine;
    plan_options.batch = opts.batch;
    plan_options.autotune = 1;
    LG_TRY(lg_plan_create(&session->plan, context, model->graph, &plan_options));
    session->n_inputs = model->graph->n_inputs;
    session->n_outputs = model->graph->n_outputs;

    *out = session;
    session = NULL; /* the caller owns it now */
done:
    lego_session_free(session);
    return status;
}

void lego_session_free(lego_session *session)
{
    if (!session)
        return;
    lg_plan_free(session->plan);
    lg_free(session);
}

lego_status lego_session_run(lego_session *session, const float *const *inputs, float *const *outputs)
{
    if (!session || !inputs || !outputs)
        return lg_error(LEGO_EINVAL, "session, inputs and outputs must not be NULL");
    for (int32_t i = 0; i < session->n_inputs; i++)
        if (!inputs[i])
            return lg_error(LEGO_EINVAL, "inputs[%d] must not be NULL", (int)i);
    for (int32_t i = 0; i < session->n_outputs; i++)
        if (!outputs[i])
            return lg_error(LEGO_EINVAL, "outputs[%d] must not be NULL", (int)i);
    return lg_plan_run(session->plan, inputs, outputs);
}

const char *lego_session_engine(const lego_session *session)
{
    return lg_plan_engine(session->plan);
}

lego_status lego_session_describe(char **out, const lego_session *session)
{
    if (!out || !session)
        return lg_error(LEGO_EINVAL, "out and session must not be NULL");
    return lg_plan_describe(out, session->plan);
}

void lego_session_memory(const lego_session *session, size_t *weight_bytes, size_t *activation_bytes)
{
    if (weight_bytes)
        *weight_bytes = lg_plan_weight_bytes(session->plan);
    if (activation_bytes)
        *activation_bytes = lg_plan_arena_bytes(session->plan);
}
