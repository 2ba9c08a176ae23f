/* A model on the engine that the user named: the library's own, or libtorch. */
#ifndef LEGODNN_CLI_FORWARD_H
#define LEGODNN_CLI_FORWARD_H

#include "cli.h"

/* The choices of --engine, and their values. */
extern const char *const cli_engines[];
enum { CLI_ENGINE_AUTO, CLI_ENGINE_ONEDNN, CLI_ENGINE_REF, CLI_ENGINE_TORCH };

/* What --engine means to the library's own engines (auto for torch). */
lego_engine cli_engine(int choice);

typedef struct cli_forward cli_forward;

/* Plan `model` (borrowed) for `batch` samples a run; `device` is for torch. Free with cli_forward_free(). */
lego_status cli_forward_create(cli_forward **out, cli_call *cli, const lego_model *model, int engine,
                               const char *device, int64_t batch);
void cli_forward_free(cli_forward *forward);
/* With -v, what each step runs, on stderr; nothing for torch. */
lego_status cli_forward_describe(cli_call *cli, const cli_forward *forward);
/* A lego_forward_fn: `payload` is the cli_forward. */
lego_status cli_forward_run(const float *const *inputs, float *const *outputs, void *payload);

#endif
