/* TorchScript modules for tests: written by libtorch, imported, held against what libtorch computes. */
#ifndef LG_TESTS_SCRIPTS_H
#define LG_TESTS_SCRIPTS_H

#include "support/exact.h"
#include "support/files.h"
#include "support/script_modules.h"

#include "graph/ops.h"

#include "legodnn/import.h"

#define SCRIPT_SAMPLES 3 /* the importer records with 2 */
#define SCRIPT_MAX_VALUES 100000

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

typedef struct script_case {
    const char *name;
    const char *body;       /* of forward(self, x) */
    const char *parameters;
    int64_t dims[5];        /* of a sample, up to the first 0 */
    const char *ops;        /* that the graph must have, "conv2d relu" */
} script_case;

static inline int64_t sample_dims(int64_t out[LEGO_MAX_DIMS], int *n_dims, const script_case *c, int64_t n)
{
    int64_t count = n;

    out[0] = n;
    for (*n_dims = 1; c->dims[*n_dims - 1] != 0; (*n_dims)++) {
        out[*n_dims] = c->dims[*n_dims - 1];
        count *= out[*n_dims];
    }
    return count;
}

static inline int has_op(const lg_graph *graph, const char *name, size_t length)
{
    for (int32_t i = 0; i < graph->n_nodes; i++)
        if (strlen(graph->nodes[i].op->name) == length && strncmp(graph->nodes[i].op->name, name, length) == 0)
            return 1;
    return 0;
}

static inline void check_ops(const script_case *c, const lg_graph *graph)
{
    for (const char *op = c->ops ? c->ops : ""; *op;) {
        const size_t length = strcspn(op, " ");
        if (!has_op(graph, op, length))
            fail_msg("%s: the graph has no %.*s", c->name, (int)length, op);
        op += length + (op[length] == ' ');
    }
}

static inline void check_case(void **state, const script_case *c)
{
    static float want[SCRIPT_MAX_VALUES];
    const char *path = in_folder(state, "m.pt");
    int64_t dims[LEGO_MAX_DIMS], n_want = SCRIPT_MAX_VALUES;
    int n_dims;
    const int64_t n_x = sample_dims(dims, &n_dims, c, SCRIPT_SAMPLES);
    lego_model *model;
    float *x, *y;
    const char *error;

    write_module(path, c->body, c->parameters);
    x = random_values(n_x, 3);
    error = script_run(path, 1, &(script_input){ n_dims, dims, x }, want, &n_want);
    if (error)
        fail_msg("%s: libtorch: %s", c->name, error);
    if (import_shape(&model, path, n_dims, dims) != LEGO_OK)
        fail_msg("%s: %s", c->name, lego_last_error());
    check_ops(c, model->graph);
    assert_int_equal(n_want, SCRIPT_SAMPLES * lg_value_elements(&model->graph->values[model->graph->outputs[0]]));
    y = run_exact(model->graph, x, SCRIPT_SAMPLES);
    for (int64_t i = 0; i < n_want; i++)
        if (!close_to(y[i], want[i]))
            fail_msg("%s: element %lld is %.7g, torch has %.7g", c->name, (long long)i, (double)y[i], (double)want[i]);
    lg_free(x);
    lg_free(y);
    lego_model_free(model);
}

#endif
