/* TorchScript files for tests, written and run by libtorch itself: the oracle of the importer. Implemented in C++. */
#ifndef LG_TESTS_SCRIPT_MODULES_H
#define LG_TESTS_SCRIPT_MODULES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Compile `source`, the methods of a module, and save it at `path`. `parameters` has its random parameters,
 * "conv.weight:8,3,3,3 conv.bias:8"; what begins with '+' is positive, with "half:" or "double:" of that type. Returns NULL or what went wrong. */
const char *script_write(const char *path, const char *source, const char *parameters);

typedef struct script_input {
    int n_dims;
    const int64_t *dims;
    const float *values;
} script_input;

/* What the file's forward gives for these inputs; the first tensor of a list, tuple or dictionary. y has room for n_y
 * floats, n_y becomes how many there are. */
const char *script_run(const char *path, int n_inputs, const script_input *inputs, float *y, int64_t *n_y);

#ifdef __cplusplus
}
#endif
#endif
