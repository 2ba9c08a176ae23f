/* Writing .pt files as torch.save does: the pickle's bytes, opcode by opcode, and the archive around them. */
#ifndef LG_TESTS_PT_FILES_H
#define LG_TESTS_PT_FILES_H

#include <zip.h>

#include "base/str.h"
#include "support/support.h"

/* --- pickles --- */

typedef lg_str pickler;

static inline void put(pickler *p, const void *bytes, size_t n)
{
    lg_str_append_n(p, bytes, n);
}

static inline void put_op(pickler *p, int opcode)
{
    const char byte = (char)opcode;

    put(p, &byte, 1);
}

static inline void put_number(pickler *p, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        put_op(p, (int)(number >> 8 * i & 0xff));
}

static inline void put_int(pickler *p, int64_t number)
{
    if (number >= 0 && number < 256) {
        put_op(p, 'K');
        put_number(p, (uint64_t)number, 1);
    } else if (number >= INT32_MIN && number <= INT32_MAX) {
        put_op(p, 'J');
        put_number(p, (uint64_t)number, 4);
    } else {
        put_op(p, 0x8a);
        put_number(p, 8, 1);
        put_number(p, (uint64_t)number, 8);
    }
}

static inline void put_text(pickler *p, const char *text)
{
    put_op(p, 'X');
    put_number(p, strlen(text), 4);
    put(p, text, strlen(text));
}

static inline void put_global(pickler *p, const char *module, const char *name)
{
    put_op(p, 'c');
    put(p, module, strlen(module));
    put_op(p, '\n');
    put(p, name, strlen(name));
    put_op(p, '\n');
}

static inline void put_ordered_dict(pickler *p)
{
    put_global(p, "collections", "OrderedDict");
    put(p, ")R", 2);
}

static inline void put_ints(pickler *p, int n, const int64_t *numbers)
{
    put_op(p, '(');
    for (int i = 0; i < n; i++)
        put_int(p, numbers[i]);
    put_op(p, 't');
}

static inline void pickle_start(pickler *p)
{
    memset(p, 0, sizeof(*p));
    put(p, "\x80\2", 2);
}

/* What a tensor is in the pickle. */
typedef struct pt_view {
    const char *storage; /* "FloatStorage" */
    const char *key;
    int64_t n_elements, offset;
    int n_dims, n_strides;
    int64_t dims[9], strides[9];
} pt_view;

static inline pt_view row_major(const char *storage, const char *key, int n_dims, const int64_t *dims)
{
    pt_view view = { .storage = storage, .key = key, .n_elements = 1, .n_dims = n_dims, .n_strides = n_dims };

    for (int i = n_dims - 1; i >= 0; i--) {
        view.dims[i] = dims[i];
        view.strides[i] = view.n_elements;
        view.n_elements *= dims[i];
    }
    return view;
}

static inline void put_tensor(pickler *p, const pt_view *view)
{
    put_global(p, "torch._utils", "_rebuild_tensor_v2");
    put(p, "((", 2);
    put_text(p, "storage");
    put_global(p, "torch", view->storage);
    put_text(p, view->key);
    put_text(p, "cpu");
    put_int(p, view->n_elements);
    put(p, "tQ", 2);
    put_int(p, view->offset);
    put_ints(p, view->n_dims, view->dims);
    put_ints(p, view->n_strides, view->strides);
    put_op(p, 0x89);
    put_ordered_dict(p);
    put(p, "tR", 2);
}

/* --- archives --- */

typedef struct pt_entry {
    char name[64];
    const void *data;
    size_t size;
    int deflated;
} pt_entry;

static inline void write_zip(const char *path, int n, const pt_entry *entries)
{
    int code = 0;
    zip_t *archive = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);

    assert_non_null(archive);
    for (int i = 0; i < n; i++) {
        zip_source_t *source = zip_source_buffer(archive, entries[i].data, entries[i].size, 0);
        const zip_int64_t index = zip_file_add(archive, entries[i].name, source, 0);

        assert_true(index >= 0);
        assert_int_equal(zip_set_file_compression(archive, (zip_uint64_t)index,
                                                  entries[i].deflated ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0), 0);
    }
    assert_int_equal(zip_close(archive), 0);
}

/* An archive of the finished pickle and one storage "net/data/0". */
static inline void write_pt(const char *path, const pickler *p, const void *storage, size_t bytes)
{
    const pt_entry entries[] = { { "net/data.pkl", p->text, p->length, 0 }, { "net/data/0", storage, bytes, 0 },
                                 { "net/version", "3\n", 2, 0 } };

    write_zip(path, 3, entries);
}

#endif
