/* A model on the engine that the user named. */
#include "forward.h"

#include <stdlib.h>

const char *const cli_engines[] = { "auto", "onednn", "ref", "torch", NULL };

struct cli_forward {
    lego_session *session;
#ifndef LEGODNN_ONLINE_ONLY
    lego_torch_session *torch;
#endif
    int64_t batch;
};

lego_engine cli_engine(int choice)
{
    static const lego_engine engines[] = { LEGO_ENGINE_AUTO, LEGO_ENGINE_ONEDNN, LEGO_ENGINE_REF, LEGO_ENGINE_AUTO };

    return engines[choice];
}

lego_status cli_forward_create(cli_forward **out, cli_call *cli, const lego_model *model, int engine,
                               const char *device, int64_t batch)
{
    lego_session_options options = LEGO_SESSION_OPTIONS_INIT;
    cli_forward *forward = calloc(1, sizeof(*forward));
    lego_status status = LEGO_OK;

    *out = NULL;
    if (!forward)
        return cli_fail(cli, "out of memory");
    forward->batch = batch;
    options.engine = cli_engine(engine);
    options.batch = (int32_t)batch;
    if (engine != CLI_ENGINE_TORCH) {
        CLI_TRY(lego_session_create(&forward->session, cli->context, model, &options));
    } else {
#ifndef LEGODNN_ONLINE_ONLY
        CLI_TRY(lego_torch_session_create(&forward->torch, cli->context, model, device));
#else
        CLI_TRY(cli_usage(cli, "this build is for devices: it has no torch engine"));
#endif
    }
    *out = forward;
    forward = NULL;
done:
    cli_forward_free(forward);
    return status;
}

void cli_forward_free(cli_forward *forward)
{
    if (!forward)
        return;
    lego_session_free(forward->session);
#ifndef LEGODNN_ONLINE_ONLY
    lego_torch_session_free(forward->torch);
#endif
    free(forward);
}

lego_status cli_forward_describe(cli_call *cli, const cli_forward *forward)
{
    size_t weight_bytes, activation_bytes;
    cli_text a, b;
    char *text = NULL;
    lego_status status = LEGO_OK;

    if (cli->verbosity < 1 || !forward->session)
        return LEGO_OK;
    CLI_TRY(lego_session_describe(&text, forward->session));
    lego_session_memory(forward->session, &weight_bytes, &activation_bytes);
    cli_note(cli, "%s%s: %s of packed weights, %s of activations", text, lego_session_engine(forward->session),
             cli_format_bytes(a, (double)weight_bytes), cli_format_bytes(b, (double)activation_bytes));
done:
    lego_string_free(text);
    return status;
}

lego_status cli_forward_run(const float *const *inputs, float *const *outputs, void *payload)
{
    cli_forward *forward = payload;

#ifndef LEGODNN_ONLINE_ONLY
    if (forward->torch)
        return lego_torch_session_run(forward->torch, forward->batch, inputs, outputs);
#endif
    return lego_session_run(forward->session, inputs, outputs);
}
