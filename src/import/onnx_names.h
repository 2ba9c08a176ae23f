/* Ops that ONNX has under another name: what importer and exporter both need to know. */
#ifndef LG_IMPORT_ONNX_NAMES_H
#define LG_IMPORT_ONNX_NAMES_H

#include "graph/ops.h"

typedef struct lg_onnx_name {
    lg_op_kind kind;
    const char *type;
    int64_t since; /* the opset that it came with */
} lg_onnx_name;

/* NULL if there is no op that is just this one. */
const lg_onnx_name *lg_onnx_name_of(lg_op_kind kind);
const lg_onnx_name *lg_onnx_name_find(const char *type);

#endif
