/* Python's pickle as data: a tree of values, never code. */
#ifndef LG_IMPORT_PICKLE_H
#define LG_IMPORT_PICKLE_H

#include "base/status.h"

typedef enum lg_pickle_kind {
    LG_PICKLE_NONE,
    LG_PICKLE_BOOL,
    LG_PICKLE_INT,
    LG_PICKLE_FLOAT,
    LG_PICKLE_TEXT,
    LG_PICKLE_TUPLE,
    LG_PICKLE_LIST,
    LG_PICKLE_DICT,      /* items: key, value, key, value ... */
    LG_PICKLE_GLOBAL,    /* a name of the table */
    LG_PICKLE_CALL,      /* items[0]: the tuple of arguments that `global` would be called with */
    LG_PICKLE_PERSISTENT /* items[0]: the id that the file's writer gave an object kept elsewhere */
} lg_pickle_kind;

/* What the reader makes of a global when the pickle calls it. */
typedef enum lg_pickle_role {
    LG_PICKLE_ROLE_DICT, /* a dictionary: called with nothing, or with one */
    LG_PICKLE_ROLE_CALL, /* an LG_PICKLE_CALL, for the caller to understand */
    LG_PICKLE_ROLE_SAME, /* its first argument */
    LG_PICKLE_ROLE_NAME  /* nothing: it must not be called */
} lg_pickle_role;

typedef struct lg_pickle_global {
    const char *name; /* "collections.OrderedDict" */
    lg_pickle_role role;
    int value;        /* the caller's */
} lg_pickle_global;

/* Values may be shared, and a hostile pickle can make them contain themselves: whoever walks them bounds the depth. */
typedef struct lg_pickle_value lg_pickle_value;
struct lg_pickle_value {
    lg_pickle_kind kind;
    size_t n_items;
    size_t capacity;
    lg_pickle_value **items;
    union {
        int64_t integer;       /* BOOL, INT */
        double number;
        char *text;            /* UTF-8 without NUL inside */
        const lg_pickle_global *global;
    };
    lg_pickle_value *next;     /* of all the pickle's values */
};

typedef struct lg_pickle {
    lg_pickle_value *values;
    const lg_pickle_value *root;
} lg_pickle;

/* Read one pickle, up to its STOP; `used` (may be NULL) becomes how many bytes it has. Protocols 2 to 5, in the opcodes that plain containers, numbers, text and calls need. `globals` (ends
 * with a NULL name) are all that it may mention; anything else is LEGO_EUNSUPPORTED with the name. Nothing is called.
 * Memory stays within a constant factor of `size`. `what` names the file in errors. Free with lg_pickle_free(). */
lego_status lg_pickle_read(lg_pickle **out, size_t *used, const void *data, size_t size,
                           const lg_pickle_global *globals, const char *what);
void lg_pickle_free(lg_pickle *pickle);

#endif
