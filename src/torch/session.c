/* The public face of libtorch as an engine: a model that runs, nothing else. */
#include "legodnn/torch.h"

#include "base/alloc.h"
#include "torch/torch.h"

struct lego_torch_session {
    const lg_torch_api *api;
    lg_torch_net *net;
    char *device;
    lg_torch_tensor **inputs, **outputs;
};

lego_status lego_torch_require(const char **version, const char *device)
{
    const lg_torch_api *api = NULL;
    lego_status status = LEGO_OK;

    if (version)
        *version = NULL;
    LG_TRY(lg_torch_open(&api, NULL, device));
    if (version)
        *version = api->describe();
done:
    return status;
}

lego_status lego_torch_session_create(lego_torch_session **out, lego_context *context, const lego_model *model,
                                      const char *device)
{
    lego_torch_session *session = NULL;
    lego_status status = LEGO_OK;

    if (!out || !model)
        return lg_error(LEGO_EINVAL, "out and model must not be NULL");
    *out = NULL;
    LG_TRY(LG_CALLOC(&session, 1));
    LG_TRY(lg_torch_open(&session->api, context, device));
    LG_TRY(LG_STRDUP(&session->device, device ? device : "cpu"));
    LG_TRY(lg_torch_net_create(&session->net, session->api, model->graph, session->device));
    LG_TRY(LG_CALLOC(&session->inputs, model->graph->n_inputs));
    LG_TRY(LG_CALLOC(&session->outputs, model->graph->n_outputs));
    *out = session;
    session = NULL;
done:
    lego_torch_session_free(session);
    return status;
}

void lego_torch_session_free(lego_torch_session *session)
{
    if (!session)
        return;
    lg_torch_net_free(session->net);
    lg_free(session->inputs);
    lg_free(session->outputs);
    lg_free(session->device);
    lg_free(session);
}

lego_status lego_torch_session_run(lego_torch_session *session, int64_t n, const float *const *inputs,
                                   float *const *outputs)
{
    const lg_torch_api *api;
    const lg_graph *graph;
    lego_status status = LEGO_OK;

    if (!session || !inputs || !outputs)
        return lg_error(LEGO_EINVAL, "session, inputs and outputs must not be NULL");
    if (n < 1)
        return lg_error(LEGO_EINVAL, "n=%lld samples: at least 1 is needed", (long long)n);
    api = session->api;
    graph = lg_torch_net_graph(session->net);
    for (int32_t i = 0; i < graph->n_inputs; i++)
        LG_TRY(lg_torch_upload(&session->inputs[i], api, &graph->values[graph->inputs[i]], n, inputs[i],
                               session->device));
    LG_TRY(lg_torch_net_forward(session->net, LG_TORCH_EVAL, session->inputs, session->outputs));
    for (int32_t i = 0; i < graph->n_outputs; i++) {
        const int64_t elements = n * lg_value_elements(&graph->values[graph->outputs[i]]);

        LG_TRY(LG_TORCH(api, tensor_to_host(session->outputs[i], outputs[i], (size_t)elements * sizeof(float))));
    }
done:
    lg_torch_free_all(api, session->inputs, graph->n_inputs);
    lg_torch_free_all(api, session->outputs, graph->n_outputs);
    return status;
}
