/* .pt files, built byte by byte as torch.save does it: views and dtypes of tensors, and everything that a hostile or damaged
 * pickle or archive may try. */
#include "support/state_dicts.h"

#include "support/files.h"

/* --- single tensors: views, dtypes, faults --- */

/* A dictionary with one tensor named after the model's 4 x 80 matrix, over `storage`; the rest is missing. */
static void write_one(const char *path, const pt_view *view, const void *storage, size_t bytes)
{
    pickler p;

    pickle_start(&p);
    put_op(&p, '}');
    put_text(&p, "linear4.weight");
    put_tensor(&p, view);
    put(&p, "s.", 2);
    write_pt(path, &p, storage, bytes);
    lg_str_dispose(&p);
}

static lego_status load_one(lego_model *model, const char *path)
{
    lego_weights_options options = LEGO_WEIGHTS_OPTIONS_INIT;

    options.partial = 1;
    return lego_model_load_weights(NULL, model, path, &options);
}

static void test_pt_file__views_are_read_where_their_strides_say(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1);
    float storage[1000];
    const pt_view views[] = {
        { "FloatStorage", "0", 1000, 0, 2, 2, { 5, 64 }, { 64, 1 } },    /* row-major */
        { "FloatStorage", "0", 1000, 37, 2, 2, { 5, 64 }, { 64, 1 } },   /* in the middle */
        { "FloatStorage", "0", 1000, 680, 2, 2, { 5, 64 }, { 64, 1 } },  /* to the last element */
        { "FloatStorage", "0", 1000, 3, 2, 2, { 5, 64 }, { 1, 5 } },     /* transposed */
        { "FloatStorage", "0", 1000, 9, 2, 2, { 5, 64 }, { 150, 2 } },   /* every second */
        { "FloatStorage", "0", 1000, 9, 2, 2, { 5, 64 }, { 0, 0 } },     /* expanded */
    };

    for (int i = 0; i < 1000; i++)
        storage[i] = (float)i;
    for (size_t v = 0; v < sizeof(views) / sizeof(views[0]); v++) {
        write_one(path, &views[v], storage, sizeof(storage));
        assert_ok(load_one(model, path));
        for (int64_t i = 0; i < 5; i++)
            for (int64_t j = 0; j < 64; j++)
                assert_true(values_of(model, "linear4.weight")[64 * i + j] ==
                            (float)(views[v].offset + i * views[v].strides[0] + j * views[v].strides[1]));
    }
    lego_model_free(model);
}

static void test_pt_file__other_widths_become_f32(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1);
    const pt_view half = { "HalfStorage", "0", 320, 0, 2, 2, { 5, 64 }, { 64, 1 } };
    const pt_view brain = { "BFloat16Storage", "0", 320, 0, 2, 2, { 5, 64 }, { 64, 1 } };
    const pt_view wide = { "DoubleStorage", "0", 320, 0, 2, 2, { 5, 64 }, { 1, 5 } };
    const pt_view whole = { "LongStorage", "0", 320, 0, 2, 2, { 5, 64 }, { 64, 1 } };
    uint16_t bits[320];
    double doubles[320];

    for (int i = 0; i < 320; i++) {
        bits[i] = 0x3c00; /* half: 1, bfloat16: 2^-7 */
        doubles[i] = 1e-3 * i;
    }
    write_one(path, &half, bits, sizeof(bits));
    assert_ok(load_one(model, path));
    assert_true(values_of(model, "linear4.weight")[319] == 1.0f);
    write_one(path, &brain, bits, sizeof(bits));
    assert_ok(load_one(model, path));
    assert_true(values_of(model, "linear4.weight")[319] == 0.0078125f);
    write_one(path, &wide, doubles, sizeof(doubles));
    assert_ok(load_one(model, path));
    assert_true(values_of(model, "linear4.weight")[1] == (float)doubles[5]);
    write_one(path, &whole, doubles, sizeof(doubles));
    assert_fails(LEGO_EFORMAT, load_one(model, path));
    assert_says("linear4.weight is I64 (5,64)");
    doubles[7] = 1e300;
    write_one(path, &wide, doubles, sizeof(doubles));
    assert_fails(LEGO_EFORMAT, load_one(model, path));
    assert_says("linear4.weight");
    lego_model_free(model);
}

static void test_pt_file__tensors_that_leave_their_storage_are_refused(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1);
    static const float storage[1000];
    const int64_t huge = INT64_MAX;
    const struct {
        pt_view view;
        const char *message;
    } cases[] = {
        { { "FloatStorage", "0", 1000, 681, 2, 2, { 5, 64 }, { 64, 1 } }, "leave its storage of 1000 elements" },
        { { "FloatStorage", "0", 1000, -1, 2, 2, { 5, 64 }, { 64, 1 } }, "its offset is no number from 0 up" },
        { { "FloatStorage", "0", 1000, huge, 2, 2, { 5, 64 }, { 64, 1 } }, "leave its storage" },
        { { "FloatStorage", "0", 1000, 0, 2, 2, { 5, 64 }, { 64, -1 } }, "an extent or stride" },
        { { "FloatStorage", "0", 1000, 0, 2, 2, { -5, 64 }, { 64, 1 } }, "an extent or stride" },
        { { "FloatStorage", "0", 1000, 0, 2, 2, { 5, 64 }, { huge, 1 } }, "leave its storage" },
        { { "FloatStorage", "0", 1000, 0, 2, 2, { 5, 64 }, { huge / 4, huge / 63 } }, "leave its storage" },
        { { "FloatStorage", "0", 1000, 0, 2, 2, { huge, huge }, { 0, 0 } }, "too large" },
        { { "FloatStorage", "0", 1000, 0, 2, 1, { 5, 64 }, { 64 } }, "1 strides for 2 dimensions" },
        { { "FloatStorage", "0", 1000, 0, 9, 9, { 1 }, { 1 } }, "9 dimensions" },
        { { "FloatStorage", "0", 1001, 0, 2, 2, { 5, 64 }, { 64, 1 } }, "1001 elements of F32 in entry 'net/data/0'" },
        { { "FloatStorage", "0", 999, 0, 2, 2, { 5, 64 }, { 64, 1 } }, "of 4000 bytes" },
        { { "FloatStorage", "0", huge, 0, 2, 2, { 5, 64 }, { 64, 1 } }, "in entry 'net/data/0'" },
        { { "FloatStorage", "1", 1000, 0, 2, 2, { 5, 64 }, { 64, 1 } }, "'net/data/1' is not in the archive" },
        { { "FloatStorage", "../data/0", 1000, 0, 2, 2, { 5, 64 }, { 64, 1 } }, "is not in the archive" },
        { { "UntypedStorage", "0", 1000, 0, 2, 2, { 5, 64 }, { 64, 1 } }, "'torch.UntypedStorage'" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_one(path, &cases[i].view, storage, sizeof(storage));
        if (load_one(model, path) == LEGO_OK)
            fail_msg("case %zu was read", i);
        assert_says(cases[i].message);
        assert_says("w.pt");
    }
    lego_model_free(model);
}

/* Legal but useless: extents of one and zero with any strides. */
static void test_pt_file__strides_that_are_never_stepped_are_harmless(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1);
    static const float storage[8];
    const pt_view views[] = {
        { "FloatStorage", "0", 8, 0, 3, 3, { 1, 5, 1 }, { INT64_MAX, 1, INT64_MAX } },
        { "FloatStorage", "0", 8, INT64_MAX, 3, 3, { 5, 0, INT64_MAX }, { INT64_MAX, 1, INT64_MAX } },
    };

    for (size_t i = 0; i < 2; i++) {
        write_one(path, &views[i], storage, sizeof(storage));
        assert_fails(LEGO_EFORMAT, load_one(model, path));
        assert_says("linear4.weight is F32 (");
    }
    lego_model_free(model);
}

/* --- pickles that are none of ours --- */

static lego_status load_pickle(void **state, lego_model *model, const void *bytes, size_t n)
{
    const char *path = in_folder(state, "p.pt");
    pickler p;

    pickle_start(&p);
    put(&p, bytes, n);
    write_pt(path, &p, "", 0);
    lg_str_dispose(&p);
    return load(model, path);
}

static void test_pt_file__foreign_pickles_are_refused_by_name(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        lego_status status;
        const char *message;
    } cases[] = {
#define CASE(bytes, status, message) { bytes, sizeof(bytes) - 1, status, message }
        CASE("cposix\nsystem\n(X\2\0\0\0lstR.", LEGO_EUNSUPPORTED, "'posix.system'"),
        CASE("cbuiltins\neval\n.", LEGO_EUNSUPPORTED, "'builtins.eval'"),
        CASE("\x8c\5posix\x8c\6system\x93.", LEGO_EUNSUPPORTED, "'posix.system'"),
        CASE("ctorch\nFloatStorage.x\n.", LEGO_EUNSUPPORTED, "'torch.FloatStorage.x'"),
        CASE("ctorch.FloatStorage\n\n.", LEGO_EUNSUPPORTED, "'torch.FloatStorage.'"),
        CASE("c\n\n.", LEGO_EUNSUPPORTED, "'.'"),
        CASE("ctorch\nFloatStorage\n)R.", LEGO_EUNSUPPORTED, "calls torch.FloatStorage"),
        CASE("iposix\nsystem\n.", LEGO_EUNSUPPORTED, "opcode 0x69"),  /* INST */
        CASE("cposix\nsystem\no.", LEGO_EUNSUPPORTED, "'posix.system'"),
        CASE("}\x81.", LEGO_EUNSUPPORTED, "opcode 0x81"),             /* NEWOBJ */
        CASE("\x82\1.", LEGO_EUNSUPPORTED, "opcode 0x82"),            /* EXT1: a number for a global */
        CASE("\x80\6N.", LEGO_EUNSUPPORTED, "protocol 6"),
        CASE("N.", LEGO_EUNSUPPORTED, "some other object"),
        CASE("}.", LEGO_EFORMAT, "no tensors by name"),
        CASE("", LEGO_EFORMAT, "ends in the middle"),
        CASE(".", LEGO_EFORMAT, "stops before it is done"),
        CASE("}}.", LEGO_EFORMAT, "stops before it is done"),
        CASE("(.", LEGO_EFORMAT, "stops before it is done"),
        CASE("}(N.", LEGO_EFORMAT, "stops before it is done"),
        CASE("}(Nu.", LEGO_EFORMAT, "a key without a value"),
        CASE("](NNu.", LEGO_EFORMAT, "no dictionary"),
        CASE("}NNs}s.", LEGO_EFORMAT, "no dictionary"),
        CASE("Ns.", LEGO_EFORMAT, "no dictionary"),
        CASE("t.", LEGO_EFORMAT, "no mark"),
        CASE("(N\x86.", LEGO_EFORMAT, "the stack is empty"),
        CASE("N(\x85.", LEGO_EFORMAT, "the stack is empty"),
        CASE("h\0.", LEGO_EFORMAT, "a memo slot that is empty"),
        CASE("Nq\1.", LEGO_EFORMAT, "memo slots out of order"),
        CASE("Nr\xff\xff\xff\xff.", LEGO_EFORMAT, "memo slots out of order"),
        CASE("q\0.", LEGO_EFORMAT, "nothing to remember"),
        CASE("X\xff\xff\xff\xff.", LEGO_EFORMAT, "ends in the middle"),
        CASE("X\2\0\0\0\xc0\x80.", LEGO_EFORMAT, "not UTF-8"),
        CASE("X\1\0\0\0\0.", LEGO_EFORMAT, "not UTF-8"),
        CASE("X\1\0\0\0\xe2.", LEGO_EFORMAT, "not UTF-8"),
        CASE("\x95\xff\xff\xff\xff\xff\xff\xff\xff}.", LEGO_EFORMAT, "ends in the middle"),
        CASE("\x8a\x09" "123456789.", LEGO_EUNSUPPORTED, "an integer of 9 bytes"),
        CASE("ctorch", LEGO_EFORMAT, "a name without an end"),
        CASE("NQ", LEGO_EFORMAT, "ends in the middle"),
        CASE("NN\x86R.", LEGO_EFORMAT, "the stack is empty"),
        CASE("NNR.", LEGO_EFORMAT, "a call of what is no function"),
        CASE("]}b.", LEGO_EFORMAT, "no dictionary"),
        CASE("}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n)Rs.", LEGO_EFORMAT, "tensor 'w'"),
        CASE("}X\1\0\0\0wctorch._utils\n_rebuild_parameter\n)Rs.", LEGO_EFORMAT, "no tensors by name"),
        CASE("ctorch._utils\n_rebuild_tensor_v2\n)R.", LEGO_EUNSUPPORTED, "a single tensor"),
        /* a dictionary that holds itself, and one that has itself for a key */
        CASE("}q\0X\1\0\0\0ah\0s.", LEGO_EFORMAT, "no tensors by name"),
        CASE("}q\0h\0h\0s.", LEGO_EFORMAT, "no tensors by name"),
#undef CASE
    };
    lego_model *model = small_model(1);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const lego_status got = load_pickle(state, model, cases[i].bytes, cases[i].n);

        if (got != cases[i].status)
            fail_msg("case %zu: %s: %s", i, lego_status_name(got), lego_last_error());
        assert_says(cases[i].message);
        assert_says("p.pt");
    }
    lego_model_free(model);
}

/* Depth and sharing cost nothing: a million nested lists, and dictionaries shared so that there are 2^60 paths. */
static void test_pt_file__deep_and_shared_pickles_take_no_time(void **state)
{
    lego_model *model = small_model(1);
    pickler p = LG_STR_INIT;

    for (int i = 0; i < 1000000; i++)
        put_op(&p, ']');
    for (int i = 0; i < 999999; i++)
        put_op(&p, 'a');
    put_op(&p, '.');
    assert_fails(LEGO_EUNSUPPORTED, load_pickle(state, model, p.text, p.length));
    lg_str_dispose(&p);

    for (int i = 0; i < 60; i++) {
        put_op(&p, '}');
        put_op(&p, 'q');
        put_number(&p, (uint64_t)i, 1);
        for (int k = 0; i > 0 && k < 100; k++) {
            put(&p, k % 2 ? "X\1\0\0\0b" : "X\1\0\0\0a", 6);
            put_op(&p, 'h');
            put_number(&p, (uint64_t)i - 1, 1);
            put_op(&p, 's');
        }
    }
    for (int i = 0; i < 59; i++)
        put(&p, "\x86\x85", 2);
    put(&p, "h\73", 2);
    put(&p, ".", 1);
    assert_fails(LEGO_EFORMAT, load_pickle(state, model, p.text, p.length));
    lg_str_dispose(&p);
    lego_model_free(model);
}

/* --- the format before torch 1.6 --- */

typedef struct legacy_storage {
    const char *key;
    const void *data;
    uint64_t n_elements;
    size_t bytes;
} legacy_storage;

static void legacy_head(pickler *p)
{
    memset(p, 0, sizeof(*p));
    put(p, "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15); /* the magic number */
    put(p, "\x80\2M\xe9\x03.", 6);                                      /* version 1001 */
    put(p, "\x80\2}", 3);                                                /* about the machine */
    put_text(p, "little_endian");
    put(p, "\x88s.", 3);
    put(p, "\x80\2", 2);
}

/* The object's pickle is done: keys and storages. */
static void legacy_tail(pickler *p, int n, const legacy_storage *storages)
{
    put(p, ".\x80\2]", 4);
    for (int i = 0; i < n; i++) {
        put_text(p, storages[i].key);
        put_op(p, 'a');
    }
    put_op(p, '.');
    for (int i = 0; i < n; i++) {
        put_number(p, storages[i].n_elements, 8);
        put(p, storages[i].data, storages[i].bytes);
    }
}

/* A tensor as torch wrote it before 0.4: a Parameter of a storage that is a part of another. */
static void put_old_tensor(pickler *p, const char *storage, const char *key, int64_t n_elements, int64_t start, int64_t part)
{
    put_global(p, "torch.nn.parameter", "Parameter");
    put_global(p, "torch._utils", "_rebuild_tensor");
    put(p, "((U\7storage", 11);
    put_global(p, "torch.cuda", storage);
    put_text(p, key);
    put(p, "U\3gpu", 5);
    put_int(p, n_elements);
    put_op(p, '(');
    put_text(p, "part");
    put_int(p, start);
    put_int(p, part);
    put(p, "ttQ", 3);
    put_int(p, 1);
    put_ints(p, 2, (int64_t[]){ 5, 64 });
    put_ints(p, 2, (int64_t[]){ 64, 1 });
    put(p, "tR\x85R", 4);
    put(p, "(\x88\x89Ntb", 6); /* its state: wants a gradient, not volatile, no hooks */
}

static void test_pt_file__the_format_before_torch_1_6_is_read(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1);
    static float storage[1000];
    const int64_t one = 7;
    const legacy_storage storages[] = { { "94", &one, 1, 8 }, { "17", storage, 1000, sizeof(storage) } };
    size_t size;
    pickler p;
    char *data;

    for (int i = 0; i < 1000; i++)
        storage[i] = (float)i;
    legacy_head(&p);
    put_ordered_dict(&p);
    put_text(&p, "linear4.weight");
    put_old_tensor(&p, "FloatStorage", "17", 1000, 100, 800);
    put_op(&p, 's');
    put_text(&p, "bn1.num_batches_tracked");
    put_tensor(&p, &(pt_view){ "LongStorage", "94", 1, 0, 0, 0, { 0 }, { 0 } });
    put_op(&p, 's');
    legacy_tail(&p, 2, storages);
    assert_ok(lg_file_write(path, p.text, p.length));
    lg_str_dispose(&p);
    assert_ok(load_one(model, path));
    for (int i = 0; i < 320; i++)
        assert_true(values_of(model, "linear4.weight")[i] == (float)(101 + i));
    assert_survives_oom(load_one(model, path), (void)0);

    /* cut and hit anywhere: an error or a model, nothing else */
    assert_ok(lg_file_read(&data, &size, path, 1 << 20));
    for (size_t length = 0; length < size; length += length < 1000 ? 1 : 97) {
        write_file(*state, "cut.pt", data, length);
        assert_true(load_one(model, in_folder(state, "cut.pt")) != LEGO_OK);
    }
    for (size_t at = 15; at < size && at < 1000; at++)
        for (int bit = 0; bit < 8; bit++) {
            data[at] = (char)(data[at] ^ 1 << bit);
            write_file(*state, "hit.pt", data, size);
            data[at] = (char)(data[at] ^ 1 << bit);
            (void)load_one(model, in_folder(state, "hit.pt"));
        }
    lg_free(data);
    lego_model_free(model);
}

static void test_pt_file__old_files_that_lie_are_refused(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1);
    static float storage[1000];
    const struct {
        const char *type;
        int64_t n, start, part;
        legacy_storage storages[2];
        lego_status status;
        const char *message;
    } cases[] = {
        { "FloatStorage", 1000, 100, 901, { { "17", storage, 1000, 4000 } }, LEGO_EFORMAT, "a part of another in an unknown way" },
        { "FloatStorage", 1000, 100, 320, { { "17", storage, 1000, 4000 } }, LEGO_EFORMAT, "leave its storage" },
        { "FloatStorage", 999, 0, 900, { { "17", storage, 1000, 4000 } }, LEGO_EFORMAT, "999 elements of F32 in storage '17'" },
        { "FloatStorage", 1000, 0, 900, { { "18", storage, 1000, 4000 } }, LEGO_EUNSUPPORTED, "storage '18' is of no type" },
        { "FloatStorage", 1000, 0, 900, { { "17", storage, 1001, 4000 } }, LEGO_EFORMAT, "ends behind the file" },
        { "FloatStorage", 1000, 0, 900, { { "17", storage, UINT64_MAX, 4000 } }, LEGO_EFORMAT, "ends behind the file" },
        { "FloatStorage", 1000, 0, 900, { { "17", storage, 1000, 4000 }, { "17", storage, 0, 0 } }, LEGO_EFORMAT, "twice" },
        { "ComplexFloatStorage", 1000, 0, 900, { { "17", storage, 500, 4000 } }, LEGO_EUNSUPPORTED, "of no type that is read" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pickler p;

        legacy_head(&p);
        put_op(&p, '}');
        put_text(&p, "linear4.weight");
        put_old_tensor(&p, cases[i].type, "17", cases[i].n, cases[i].start, cases[i].part);
        put_op(&p, 's');
        legacy_tail(&p, cases[i].storages[1].key ? 2 : 1, cases[i].storages);
        assert_ok(lg_file_write(path, p.text, p.length));
        lg_str_dispose(&p);
        assert_fails(cases[i].status, load_one(model, path));
        assert_says(cases[i].message);
    }
    lego_model_free(model);
}

static void test_pt_file__quantised_and_complex_tensors_are_refused_with_the_reason(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1);
    static const float storage[1000];
    pickler p;

    write_one(path, &(pt_view){ "ComplexFloatStorage", "0", 500, 0, 2, 2, { 5, 64 }, { 64, 1 } }, storage, sizeof(storage));
    assert_fails(LEGO_EUNSUPPORTED, load_one(model, path));
    assert_says("tensor 'linear4.weight' has complex numbers");
    pickle_start(&p);
    put_op(&p, '}');
    put_text(&p, "linear4.weight");
    put_global(&p, "torch._utils", "_rebuild_qtensor");
    put(&p, ")Rs.", 4);
    write_pt(path, &p, storage, sizeof(storage));
    lg_str_dispose(&p);
    assert_fails(LEGO_EUNSUPPORTED, load_one(model, path));
    assert_says("quantised tensors; take the weights of the float model");
    lego_model_free(model);
}

/* --- archives --- */

static void test_pt_file__strange_archives_are_refused(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1);
    static char zeros[1 << 20];
    state_dict s;

    write_zip(path, 1, &(pt_entry){ "net/other", "x", 1, 0 });
    assert_fails(LEGO_EFORMAT, load(model, path));
    assert_says("without a data.pkl");
    write_zip(path, 1, &(pt_entry){ "net/data.pkl", zeros, sizeof(zeros), 1 }); /* a bomb in small */
    assert_fails(LEGO_EUNSUPPORTED, load(model, path));
    assert_says("'net/data.pkl' is compressed");
    write_zip(path, 2, (pt_entry[]){ { "net/data.pkl", "}.", 2, 0 }, { "net/../../x", "x", 1, 0 } });
    assert_fails(LEGO_EFORMAT, load(model, path));
    assert_says("'net/../../x' leaves the folder");
    write_zip(path, 2, (pt_entry[]){ { "net/data.pkl", "}.", 2, 0 }, { "/etc/x", "x", 1, 0 } });
    assert_fails(LEGO_EFORMAT, load(model, path));
    assert_says("'/etc/x' is not relative");
    write_zip(path, 2, (pt_entry[]){ { "net/data.pkl", "}.", 2, 0 }, { "net/byteorder", "big", 3, 0 } });
    assert_fails(LEGO_EUNSUPPORTED, load(model, path));
    assert_says("byteorder");
    write_zip(path, 2, (pt_entry[]){ { "net/data.pkl", "}.", 2, 0 }, { "net/constants.pkl", ")", 1, 1 } });
    assert_fails(LEGO_EUNSUPPORTED, load(model, path));
    assert_says("TorchScript");
    write_file(*state, "w.pt", "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
    assert_fails(LEGO_EFORMAT, load(model, path));
    assert_says("ends in the middle");
    write_file(*state, "w.pt", "PK\3\4", 4);
    assert_fails(LEGO_EFORMAT, load(model, path));
    assert_says("damaged or truncated zip");
    /* a deflated storage is noticed when it is read */
    start(&s);
    put_state_dict(&s, model, "", NULL);
    s.entries[0].deflated = 1;
    finish(&s, path);
    assert_fails(LEGO_EUNSUPPORTED, load(model, path));
    assert_says("'net/data/0' is compressed");
    lego_model_free(model);
}

/* Whatever byte is hit or wherever the file ends: an error or the same weights, nothing else. */
static void test_pt_file__damaged_files_are_errors(void **state)
{
    lego_model *model = small_model(1), *other = small_model(2);
    const char *path = in_folder(state, "damaged.pt");
    size_t size, n_errors = 0;
    char *data;

    write_state_dict(in_folder(state, "w.pt"), model, "", NULL);
    assert_ok(lg_file_read(&data, &size, in_folder(state, "w.pt"), 1 << 20));
    for (size_t length = 0; length < size; length += 7) {
        write_file(*state, "damaged.pt", data, length);
        assert_true(load(other, path) != LEGO_OK);
    }
    for (size_t at = 0; at < size; at += 3) {
        data[at] = (char)(data[at] ^ 1 << at % 8);
        write_file(*state, "damaged.pt", data, size);
        data[at] = (char)(data[at] ^ 1 << at % 8);
        if (load(other, path) == LEGO_OK)
            assert_same_weights(model, other);
        else
            n_errors++;
    }
    assert_true(n_errors > size / 3 / 2);
    lg_free(data);
    lego_model_free(model);
    lego_model_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_pt_file__views_are_read_where_their_strides_say),
        folder_test(test_pt_file__other_widths_become_f32),
        folder_test(test_pt_file__tensors_that_leave_their_storage_are_refused),
        folder_test(test_pt_file__strides_that_are_never_stepped_are_harmless),
        folder_test(test_pt_file__foreign_pickles_are_refused_by_name),
        folder_test(test_pt_file__deep_and_shared_pickles_take_no_time),
        folder_test(test_pt_file__the_format_before_torch_1_6_is_read),
        folder_test(test_pt_file__old_files_that_lie_are_refused),
        folder_test(test_pt_file__quantised_and_complex_tensors_are_refused_with_the_reason),
        folder_test(test_pt_file__strange_archives_are_refused),
        folder_test(test_pt_file__damaged_files_are_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
