/* tensor/: shapes, tensors, .npy and safetensors files, damaged ones above all. */
#include "support/support.h"

#include <math.h>

#include "base/rng.h"
#include "tensor/safetensors.h"

static lego_tensor *ramp(lego_dtype dtype, int n_dims, const int64_t *dims)
{
    lego_tensor *tensor;

    assert_ok(lego_tensor_create(&tensor, dtype, n_dims, dims));
    for (size_t i = 0; i < lg_tensor_bytes(tensor); i++)
        ((unsigned char *)lego_tensor_data(tensor))[i] = (unsigned char)(i * 7 + 3);
    return tensor;
}

static void test_tensor__impossible_shapes_are_refused(void **state)
{
    lego_tensor *tensor;

    assert_fails(LEGO_EINVAL, lego_tensor_create(&tensor, LEGO_DTYPE_F32, 9, (int64_t[9]){ 0 }));
    assert_fails(LEGO_EFORMAT, lego_tensor_create(&tensor, LEGO_DTYPE_F32, 2, (int64_t[]){ 3, -1 }));
    assert_fails(LEGO_EFORMAT,
                 lego_tensor_create(&tensor, LEGO_DTYPE_F32, 3, (int64_t[]){ INT64_MAX, INT64_MAX, 2 }));
    assert_fails(LEGO_ENOMEM, lego_tensor_create(&tensor, LEGO_DTYPE_F32, 1, (int64_t[]){ INT64_MAX }));
    assert_ok(lego_tensor_create(&tensor, LEGO_DTYPE_F32, 2, (int64_t[]){ 0, 5 }));
    lego_tensor_free(tensor);
}

static void test_npy__round_trip_of_every_type(void **state)
{
    const lego_dtype types[] = { LEGO_DTYPE_F32, LEGO_DTYPE_F64, LEGO_DTYPE_F16, LEGO_DTYPE_I64, LEGO_DTYPE_I32,
                                 LEGO_DTYPE_I16, LEGO_DTYPE_I8, LEGO_DTYPE_U8, LEGO_DTYPE_BOOL };

    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        for (int n = 0; n <= 3; n++) {
            lego_tensor *tensor = ramp(types[i], n, (int64_t[]){ 2, 3, 4 }), *again;

            assert_ok(lego_tensor_save_npy(tensor, in_folder(state, "x.npy")));
            assert_ok(lego_tensor_load_npy(&again, in_folder(state, "x.npy")));
            assert_int_equal(lego_tensor_dtype(again), types[i]);
            assert_true(lg_shape_equal(&tensor->shape, &again->shape));
            assert_memory_equal(lego_tensor_data(again), lego_tensor_data(tensor), lg_tensor_bytes(tensor));
            lego_tensor_free(tensor);
            lego_tensor_free(again);
        }
}

static void test_npy__header_as_numpy_writes_it(void **state)
{
    lego_tensor *tensor;
    char file[128 + 24];
    static const char header[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";

    memset(file, ' ', sizeof(file));
    memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(file + 10, header, sizeof(header) - 1);
    file[127] = '\n';
    for (int i = 0; i < 6; i++)
        memcpy(file + 128 + 4 * i, &(float){ (float)i }, 4);
    assert_ok(lg_file_write(in_folder(state, "n.npy"), file, sizeof(file)));
    assert_ok(lego_tensor_load_npy(&tensor, in_folder(state, "n.npy")));
    assert_true(((float *)lego_tensor_data(tensor))[5] == 5.0f);
    lego_tensor_free(tensor);
    memcpy(file + 10 + 34, "True ", 5);
    assert_ok(lg_file_write(in_folder(state, "n.npy"), file, sizeof(file)));
    assert_int_not_equal(lego_tensor_load_npy(&tensor, in_folder(state, "n.npy")), LEGO_OK);
}

/* Every truncation and a bit flip in every header byte: an error or a tensor, never a crash; ASan watches. */
static void damage(const char *good, const char *bad, lego_status (*load)(const char *path))
{
    char *bytes;
    size_t size;

    assert_ok(lg_file_read(&bytes, &size, good, 1 << 20));
    for (size_t n = 0; n < size; n++) {
        assert_ok(lg_file_write(bad, bytes, n));
        assert_int_not_equal(load(bad), LEGO_OK);
        assert_non_null(strstr(lego_last_error(), bad));
    }
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= (char)(1 << (i % 8));
        assert_ok(lg_file_write(bad, bytes, size));
        load(bad);
        bytes[i] ^= (char)(1 << (i % 8));
    }
    lg_free(bytes);
}

static lego_status load_npy(const char *path)
{
    lego_tensor *tensor;
    lego_status status = lego_tensor_load_npy(&tensor, path);

    if (status == LEGO_OK)
        lego_tensor_free(tensor);
    return status;
}

static lego_status load_safetensors(const char *path)
{
    lg_safetensors *file;
    lego_status status = lg_safetensors_load(&file, path);

    lg_safetensors_free(file);
    return status;
}

static void test_npy__damage(void **state)
{
    lego_tensor *tensor = ramp(LEGO_DTYPE_F32, 2, (int64_t[]){ 3, 2 });

    assert_ok(lego_tensor_save_npy(tensor, in_folder(state, "x.npy")));
    lego_tensor_free(tensor);
    damage(in_folder(state, "x.npy"), in_folder(state, "bad.npy"), load_npy);
}

static void save_pair(const char *path)
{
    lego_tensor *a = ramp(LEGO_DTYPE_F32, 2, (int64_t[]){ 2, 3 }), *b = ramp(LEGO_DTYPE_U8, 1, (int64_t[]){ 5 });
    lg_json *metadata;

    assert_ok(lg_json_create_object(&metadata));
    assert_ok(lg_json_set_string(metadata, "legodnn.graph", "{\"schema\":\"x\"}"));
    assert_ok(lg_safetensors_save(path, 2, (const char *[]){ "w", "a.b" }, (const lego_tensor *[]){ a, b }, metadata));
    lg_json_free(metadata);
    lego_tensor_free(a);
    lego_tensor_free(b);
}

static void test_safetensors__round_trip(void **state)
{
    lg_safetensors *file;
    const lego_tensor *tensor;
    const char *text;

    save_pair(in_folder(state, "m.safetensors"));
    assert_ok(lg_safetensors_load(&file, in_folder(state, "m.safetensors")));
    assert_int_equal(file->n_tensors, 2);
    assert_string_equal(file->names[0], "a.b");
    tensor = lg_safetensors_find(file, "w");
    assert_non_null(tensor);
    assert_true(tensor->dtype == LEGO_DTYPE_F32 && tensor->shape.n_dims == 2 && tensor->shape.dims[1] == 3);
    for (int i = 0; i < 24; i++)
        assert_int_equal(((unsigned char *)lg_tensor_data(tensor))[i], (unsigned char)(i * 7 + 3));
    assert_null(lg_safetensors_find(file, "absent"));
    assert_ok(lg_json_get_string(&text, file->metadata, "legodnn.graph", "metadata"));
    assert_string_equal(text, "{\"schema\":\"x\"}");
    lg_safetensors_free(file);
    assert_survives_oom(lg_safetensors_load(&file, in_folder(state, "m.safetensors")), lg_safetensors_free(file));
}

static void test_safetensors__damage(void **state)
{
    save_pair(in_folder(state, "m.safetensors"));
    damage(in_folder(state, "m.safetensors"), in_folder(state, "bad.safetensors"), load_safetensors);
}

static void expect_refused(void **state, const char *header, size_t data_bytes, const char *says)
{
    char file[1024] = { 0 };
    size_t n = strlen(header);

    file[0] = (char)(n & 0xff);
    file[1] = (char)(n >> 8);
    memcpy(file + 8, header, n);
    assert_ok(lg_file_write(in_folder(state, "lie"), file, 8 + n + data_bytes));
    assert_fails(LEGO_EFORMAT, load_safetensors(in_folder(state, "lie")));
    assert_says(says);
}

static void test_safetensors__lying_headers(void **state)
{
    expect_refused(state, "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,12]}}", 8, "outside");
    expect_refused(state, "{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "'w'");
    expect_refused(state, "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "'w'");
    expect_refused(state, "{\"w\":{\"dtype\":\"F31\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "F31");
    expect_refused(state, "{\"w\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "'w'");
    expect_refused(state,
                   "{\"w\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "'w'");
    expect_refused(state, "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                          "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, "overlaps");
    expect_refused(state, "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                          "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[6,8]}}", 8, "hole");
    expect_refused(state, "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 8, "cover");
    expect_refused(state, "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                          "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}", 4, "twice");
    expect_refused(state, "[1]", 0, "not an object");
}

/* Every half and every bfloat16 against the formula of IEEE 754, and doubles. */
static void test_tensor__other_floats_widen_exactly(void **state)
{
    const int64_t n = 65536;
    lego_tensor *from, wide = { 0 };

    for (int brain = 0; brain < 2; brain++) {
        const int exponent_bits = brain ? 8 : 5, fraction_bits = 15 - exponent_bits;
        const int bias = (1 << (exponent_bits - 1)) - 1;

        assert_ok(lego_tensor_create(&from, brain ? LEGO_DTYPE_BF16 : LEGO_DTYPE_F16, 1, &n));
        for (int i = 0; i < n; i++)
            ((uint16_t *)lego_tensor_data(from))[i] = (uint16_t)i;
        assert_ok(lg_tensor_to_f32(&wide, from));
        for (int i = 0; i < n; i++) {
            const int exponent = i >> fraction_bits & ((1 << exponent_bits) - 1);
            const int fraction = i & ((1 << fraction_bits) - 1);
            const float got = ((float *)lg_tensor_data(&wide))[i];
            double want = exponent ? ldexp(1.0 + ldexp(fraction, -fraction_bits), exponent - bias)
                                   : ldexp(fraction, 1 - bias - fraction_bits);

            if (exponent == (1 << exponent_bits) - 1)
                want = fraction ? NAN : INFINITY;
            want = i & 0x8000 ? -want : want;
            if (isnan(want) ? !isnan(got) : got != want || !signbit(got) != !(i & 0x8000))
                fail_msg("%s 0x%04x is %g, expected %g", brain ? "BF16" : "F16", (unsigned)i, (double)got, want);
        }
        lg_tensor_dispose(&wide);
        lego_tensor_free(from);
    }
    assert_ok(lego_tensor_create(&from, LEGO_DTYPE_F64, 1, (int64_t[]){ 2 }));
    ((double *)lego_tensor_data(from))[0] = 0.1;
    ((double *)lego_tensor_data(from))[1] = -1e300;
    assert_survives_oom(lg_tensor_to_f32(&wide, from), (void)0);
    assert_true(((float *)lg_tensor_data(&wide))[0] == 0.1f && isinf(((float *)lg_tensor_data(&wide))[1]));
    lg_tensor_dispose(&wide);
    lego_tensor_free(from);
    assert_ok(lego_tensor_create(&from, LEGO_DTYPE_I32, 1, (int64_t[]){ 2 }));
    assert_fails(LEGO_EINVAL, lg_tensor_to_f32(&wide, from));
    lego_tensor_free(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor__impossible_shapes_are_refused),
        folder_test(test_npy__round_trip_of_every_type),
        folder_test(test_npy__header_as_numpy_writes_it),
        folder_test(test_npy__damage),
        folder_test(test_safetensors__round_trip),
        folder_test(test_safetensors__damage),
        folder_test(test_safetensors__lying_headers),
        cmocka_unit_test(test_tensor__other_floats_widen_exactly),
    };
    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
