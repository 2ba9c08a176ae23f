/* Reading and writing protobufs of ONNX in tests. */
#ifndef LG_TESTS_ONNX_H
#define LG_TESTS_ONNX_H

#include "support/support.h"

#include "import/onnx.h"

#define ONNX_DATA "/usr/share/libonnx-testdata/data/"

static inline Onnx__ModelProto *load_proto(const char *path)
{
    Onnx__ModelProto *proto;
    char *data = NULL;
    size_t size;

    assert_ok(lg_file_read(&data, &size, path, INT32_MAX));
    proto = onnx__model_proto__unpack(NULL, size, (const uint8_t *)data);
    lg_free(data);
    assert_non_null(proto);
    return proto;
}

/* Not lg_file_write(): thousands of files need no fsync. */
static inline void save_bytes(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void save_proto(const Onnx__ModelProto *proto, const char *path)
{
    const size_t size = onnx__model_proto__get_packed_size(proto);
    uint8_t *data = lg_calloc(size, 1);

    onnx__model_proto__pack(proto, data);
    save_bytes(path, data, size);
    lg_free(data);
}

#endif
