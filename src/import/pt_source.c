/* The two formats of torch.save behind one face. Since torch 1.6 a zip archive NAME/... of
 *   NAME/data.pkl      the object; a tensor in it is a call of torch._utils._rebuild_tensor_v2 with a persistent id
 *                      ('storage', <type>, key, device, elements), an offset, a size and strides
 *   NAME/data/<key>    the bytes of each storage, little endian
 *   NAME/byteorder     "little", since torch 2.1
 * and for TorchScript modules NAME/code/... besides; the archive is zip_file.c's. Before, what pt_legacy.c describes. */
#include "import/pt_source.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "graph/graph.h"
#include "import/zip_file.h"

#define MAX_PICKLE_BYTES ((uint64_t)64 << 20) /* a state dict takes about 150 bytes a tensor */

#define STORAGE(name, dtype)                                                  \
    { "torch." name, LG_PICKLE_ROLE_NAME, dtype }, { "torch.cuda." name, LG_PICKLE_ROLE_NAME, dtype }
#define NAME(name) { name, LG_PICKLE_ROLE_NAME, LG_PT_OTHER }

/* The only names that a pickle of ours may mention. */
static const lg_pickle_global globals[] = {
    { "collections.OrderedDict", LG_PICKLE_ROLE_DICT, 0 },
    { "collections.Counter", LG_PICKLE_ROLE_DICT, 0 }, /* in the state of learning-rate schedulers */
    { "torch._utils._rebuild_tensor_v2", LG_PICKLE_ROLE_CALL, LG_PT_TENSOR },
    { "torch._utils._rebuild_tensor", LG_PICKLE_ROLE_CALL, LG_PT_TENSOR }, /* before torch 0.4 */
    { "torch._utils._rebuild_parameter", LG_PICKLE_ROLE_CALL, LG_PT_PARAMETER },
    { "torch.nn.parameter.Parameter", LG_PICKLE_ROLE_CALL, LG_PT_PARAMETER }, /* before torch 0.4, and the next */
    { "torch.autograd.variable.Variable", LG_PICKLE_ROLE_CALL, LG_PT_PARAMETER },
    { "torch._utils._rebuild_qtensor", LG_PICKLE_ROLE_CALL, LG_PT_QUANTIZED },
    { "torch.jit._pickle.restore_type_tag", LG_PICKLE_ROLE_SAME, 0 }, /* written by libtorch's C++ pickle_save */
    { "torch.Size", LG_PICKLE_ROLE_SAME, 0 },
    STORAGE("FloatStorage", LEGO_DTYPE_F32), STORAGE("DoubleStorage", LEGO_DTYPE_F64),
    STORAGE("HalfStorage", LEGO_DTYPE_F16), STORAGE("BFloat16Storage", LEGO_DTYPE_BF16),
    STORAGE("LongStorage", LEGO_DTYPE_I64), STORAGE("IntStorage", LEGO_DTYPE_I32),
    STORAGE("ShortStorage", LEGO_DTYPE_I16), STORAGE("CharStorage", LEGO_DTYPE_I8),
    STORAGE("ByteStorage", LEGO_DTYPE_U8), STORAGE("BoolStorage", LEGO_DTYPE_BOOL),
    STORAGE("ComplexFloatStorage", LG_PT_COMPLEX), STORAGE("ComplexDoubleStorage", LG_PT_COMPLEX),
    NAME("torch.QInt8Storage"), NAME("torch.QUInt8Storage"), NAME("torch.QInt32Storage"),
    NAME("torch.qint8"), NAME("torch.quint8"), NAME("torch.qint32"), NAME("torch.per_tensor_affine"),
    NAME("torch.per_channel_affine"), NAME("torch.per_channel_affine_float_qparams"),
    NAME("torch.float32"), NAME("torch.float64"), NAME("torch.float16"), NAME("torch.bfloat16"),
    { NULL, LG_PICKLE_ROLE_NAME, 0 },
};

struct lg_pt_source {
    const char *path; /* the caller's */
    lg_pickle *pickle;
    char *folder;     /* "NAME/" of the archive's entries */
    lg_zip *zip;
    lg_buffer **storages; /* by entry of the archive, once read */
    lg_buffer *file;      /* of the old format */
    lg_pt_legacy *legacy;
};

/* --- the archive --- */

/* The one entry "NAME/data.pkl". */
static lego_status find_folder(lg_pt_source *source)
{
    for (int32_t i = 0; i < lg_zip_n_entries(source->zip); i++) {
        const char *name = lg_zip_name(source->zip, i), *slash = strchr(name, '/');

        if (!slash || strcmp(slash, "/data.pkl") != 0)
            continue;
        source->folder = lg_strndup(name, (size_t)(slash - name) + 1);
        return source->folder ? LEGO_OK : lg_error(LEGO_ENOMEM, "%s: out of memory", source->path);
    }
    return lg_error(LEGO_EFORMAT, "%s: a zip archive without a data.pkl: not written by torch.save", source->path);
}

/* Index of the entry NAME/<folder><name>; LG_NONE if there is none. */
static lego_status find_entry(int32_t *out, const lg_pt_source *source, const char *folder, const char *name)
{
    char *full = lg_asprintf("%s%s%s", source->folder, folder, name);

    if (!full)
        return lg_error(LEGO_ENOMEM, "%s: out of memory", source->path);
    *out = lg_zip_find(source->zip, full);
    lg_free(full);
    return LEGO_OK;
}

static lego_status check_byte_order(lg_pt_source *source)
{
    lg_buffer *text = NULL;
    int32_t entry = LG_NONE;
    lego_status status = LEGO_OK;

    LG_TRY(find_entry(&entry, source, "", "byteorder"));
    if (entry == LG_NONE)
        goto done;
    LG_TRY(lg_zip_read(&text, source->zip, entry));
    if (lg_buffer_size(text) != 6 || memcmp(lg_buffer_data(text), "little", 6) != 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: its byteorder is not 'little'", source->path);
done:
    lg_buffer_unref(text);
    return status;
}

static lego_status read_archive_pickle(lg_pt_source *source)
{
    lg_buffer *data = NULL;
    int32_t entry = LG_NONE, code = LG_NONE;
    lego_status status = LEGO_OK;

    LG_TRY(find_entry(&code, source, "", "constants.pkl"));
    if (code != LG_NONE)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: a TorchScript module, not a state dict; save its weights: "
                "torch.save(torch.jit.load(FILE).state_dict(), OUT)", source->path);
    LG_TRY(find_entry(&entry, source, "", "data.pkl"));
    if (lg_zip_size(source->zip, entry) > MAX_PICKLE_BYTES)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: entry '%s' of %llu bytes; at most %llu are read", source->path,
                lg_zip_name(source->zip, entry), (unsigned long long)lg_zip_size(source->zip, entry),
                (unsigned long long)MAX_PICKLE_BYTES);
    LG_TRY(lg_zip_read(&data, source->zip, entry));
    LG_TRY(lg_pickle_read(&source->pickle, NULL, lg_buffer_data(data), lg_buffer_size(data), globals, source->path));
done:
    lg_buffer_unref(data);
    return status;
}

static lego_status open_archive(lg_pt_source *source)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_zip_open(&source->zip, source->path));
    LG_TRY(LG_CALLOC(&source->storages, lg_zip_n_entries(source->zip)));
    LG_TRY(find_folder(source));
    LG_TRY(check_byte_order(source));
    LG_TRY(read_archive_pickle(source));
done:
    return status;
}

/* --- both --- */

static lego_status check_kinds(const lg_pt_source *source)
{
    for (const lg_pickle_value *value = source->pickle->values; value; value = value->next)
        if (value->kind == LG_PICKLE_CALL && value->global->value == LG_PT_QUANTIZED)
            return lg_error(LEGO_EUNSUPPORTED, "%s: it holds quantised tensors; take the weights of the float model that was "
                            "quantised", source->path);
    return LEGO_OK;
}

lego_status lg_pt_source_open(lg_pt_source **out, const char *path)
{
    lg_pt_source *source = NULL;
    lg_buffer *file = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&source, 1));
    source->path = path;
    LG_TRY(lg_buffer_map(&file, path));
    if (lg_pt_is_legacy(lg_buffer_data(file), lg_buffer_size(file))) {
        source->file = lg_buffer_ref(file);
        LG_TRY(lg_pt_legacy_read(&source->legacy, &source->pickle, file, globals, path));
    } else {
        LG_TRY(open_archive(source));
    }
    LG_TRY(check_kinds(source));
    *out = source;
    source = NULL;
done:
    lg_buffer_unref(file);
    lg_pt_source_free(source);
    return status;
}

void lg_pt_source_free(lg_pt_source *source)
{
    if (!source)
        return;
    for (int32_t i = 0; source->storages && i < lg_zip_n_entries(source->zip); i++)
        lg_buffer_unref(source->storages[i]);
    lg_free(source->storages);
    lg_zip_close(source->zip);
    lg_pt_legacy_free(source->legacy);
    lg_buffer_unref(source->file);
    lg_pickle_free(source->pickle);
    lg_free(source->folder);
    lg_free(source);
}

const lg_pickle *lg_pt_source_pickle(const lg_pt_source *source)
{
    return source->pickle;
}

lego_status lg_pt_source_find(int32_t *storage, uint64_t *bytes, const lg_pt_source *source, const char *key)
{
    size_t offset;
    lego_status status = LEGO_OK;

    *storage = LG_NONE;
    *bytes = 0;
    if (source->legacy) {
        *storage = lg_pt_legacy_find(source->legacy, key);
        if (*storage != LG_NONE)
            lg_pt_legacy_place(&offset, bytes, source->legacy, *storage);
        return LEGO_OK;
    }
    LG_TRY(find_entry(storage, source, "data/", key));
    if (*storage != LG_NONE)
        *bytes = lg_zip_size(source->zip, *storage);
done:
    return status;
}

const char *lg_pt_source_describe(char text[160], const lg_pt_source *source, const char *key)
{
    if (source->legacy)
        (void)snprintf(text, 160, "storage '%.100s'", key);
    else
        (void)snprintf(text, 160, "entry '%.40sdata/%.90s'", source->folder, key);
    return text;
}

lego_status lg_pt_source_read(lg_buffer **buffer, size_t *base, lg_pt_source *source, int32_t storage)
{
    uint64_t bytes;
    lego_status status = LEGO_OK;

    *base = 0;
    if (source->legacy) {
        lg_pt_legacy_place(base, &bytes, source->legacy, storage);
        *buffer = source->file;
        return LEGO_OK;
    }
    if (!source->storages[storage])
        LG_TRY(lg_zip_read(&source->storages[storage], source->zip, storage));
    *buffer = source->storages[storage];
done:
    return status;
}
