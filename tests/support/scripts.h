/* TorchScript modules for tests: written by libtorch, imported, held against what libtorch computes. */
#ifndef LG_TESTS_SCRIPTS_H
#define LG_TESTS_SCRIPTS_H

#include "support/exact.h"
#include "support/files.h"
#include "support/script_modules.h"

#include "legodnn/import.h"

/* A module whose methods are `source`. */
static inline void write_source(const char *path, const char *source, const char *parameters)
{
    const char *error = script_write(path, source, parameters);

    if (error)
        fail_msg("libtorch refuses\n%s\n%s", source, error);
}

/* A module whose forward(self, x) has this body. */
static inline void write_module(const char *path, const char *body, const char *parameters)
{
    char *source = lg_asprintf("def forward(self, x):\n    %s\n", body);

    write_source(path, source, parameters);
    lg_free(source);
}

static inline lego_status import_shape(lego_model **out, const char *path, int n_dims, const int64_t *dims)
{
    lego_import_options options = LEGO_IMPORT_OPTIONS_INIT;

    options.n_input_dims = n_dims;
    for (int i = 0; i < n_dims; i++)
        options.input_dims[i] = dims[i];
    options.input_dims[0] = 1;
    return lego_model_import(out, NULL, path, &options);
}

static inline int close_to(double a, double b)
{
    return a - b <= 1e-5 + 1e-4 * (b < 0 ? -b : b) && b - a <= 1e-5 + 1e-4 * (b < 0 ? -b : b);
}

#endif
