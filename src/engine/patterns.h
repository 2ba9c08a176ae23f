/* Groups of nodes that together are one operation, as exporters write them. */
#ifndef LG_ENGINE_PATTERNS_H
#define LG_ENGINE_PATTERNS_H

#include "graph/graph.h"
#include "graph/ops.h"

typedef enum lg_role_kind {
    LG_ROLE_ITSELF,
    LG_ROLE_NAME,       /* another name of input `input`: some other node of the pattern does the work */
    LG_ROLE_SILU,       /* a sigmoid whose result only multiplies its own input */
    LG_ROLE_HARD_SWISH, /* the same of a hard sigmoid */
    LG_ROLE_SHUFFLE     /* the second reshape of a channel shuffle: reads what the first one read */
} lg_role_kind;

typedef struct lg_role {
    lg_role_kind kind;
    int32_t input;  /* NAME */
    int64_t groups; /* SHUFFLE: channel i * (C/groups) + k moves to k * groups + i */
} lg_role;

/* The role of every node. `readers[v]`: how often value v is read; lowered where a pattern reads it once instead of twice. */
void lg_patterns_find(lg_role *roles, int32_t *readers, const lg_graph *graph);

#endif
