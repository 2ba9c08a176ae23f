/* What torch.save writes since torch 1.6: a zip archive NAME/... of
 *   NAME/data.pkl      the object; a tensor in it is a call of torch._utils._rebuild_tensor_v2 with a persistent id
 *                      ('storage', <type>, key, device, elements), an offset, a size and strides
 *   NAME/data/<key>    the bytes of each storage, little endian
 *   NAME/byteorder     "little", since torch 2.1
 * and for TorchScript modules NAME/code/... besides.
 *
 * Newcomers trip over views: several tensors may share a storage, start anywhere in it and have strides in any order (a
 * transposed weight stays transposed on disk). The archive is zip_file.c's, the pickle is pickle.c's; here the sizes of
 * the three are held against each other before a byte is copied. A tensor is copied only when the model asks for one of
 * its shape, so that a stride of zero cannot blow up a small file. */
#include "import/pt_file.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "graph/graph.h"
#include "graph/name_map.h"
#include "import/pickle.h"
#include "import/zip_file.h"

#define MAX_PICKLE_BYTES ((uint64_t)64 << 20) /* a state dict takes about 150 bytes a tensor */
#define MAX_DEPTH 4                           /* of dictionaries around the state dict */

enum { REBUILD_TENSOR, REBUILD_PARAMETER };

/* The only names that a pickle of ours may mention. */
static const lg_pickle_global globals[] = {
    { "collections.OrderedDict", LG_PICKLE_ROLE_DICT, 0 },
    { "collections.Counter", LG_PICKLE_ROLE_DICT, 0 }, /* in the state of learning-rate schedulers */
    { "torch._utils._rebuild_tensor_v2", LG_PICKLE_ROLE_CALL, REBUILD_TENSOR },
    { "torch._utils._rebuild_parameter", LG_PICKLE_ROLE_CALL, REBUILD_PARAMETER },
    { "torch.jit._pickle.restore_type_tag", LG_PICKLE_ROLE_SAME, 0 }, /* written by libtorch's C++ pickle_save */
    { "torch.FloatStorage", LG_PICKLE_ROLE_NAME, LEGO_DTYPE_F32 },
    { "torch.DoubleStorage", LG_PICKLE_ROLE_NAME, LEGO_DTYPE_F64 },
    { "torch.HalfStorage", LG_PICKLE_ROLE_NAME, LEGO_DTYPE_F16 },
    { "torch.BFloat16Storage", LG_PICKLE_ROLE_NAME, LEGO_DTYPE_BF16 },
    { "torch.LongStorage", LG_PICKLE_ROLE_NAME, LEGO_DTYPE_I64 },
    { "torch.IntStorage", LG_PICKLE_ROLE_NAME, LEGO_DTYPE_I32 },
    { "torch.ShortStorage", LG_PICKLE_ROLE_NAME, LEGO_DTYPE_I16 },
    { "torch.CharStorage", LG_PICKLE_ROLE_NAME, LEGO_DTYPE_I8 },
    { "torch.ByteStorage", LG_PICKLE_ROLE_NAME, LEGO_DTYPE_U8 },
    { "torch.BoolStorage", LG_PICKLE_ROLE_NAME, LEGO_DTYPE_BOOL },
    { NULL, LG_PICKLE_ROLE_NAME, 0 },
};

struct lg_pt {
    char *path;
    char *folder; /* "NAME/" of the archive's entries */
    char *key;
    lg_zip *zip;
    lg_pickle *pickle;
    lg_buffer **storages; /* by entry of the archive, once read */
    lg_pt_tensor *tensors;
    const char **others;
    int32_t n_tensors, n_others;
};

/* --- the archive --- */

/* The one entry "NAME/data.pkl". */
static lego_status find_folder(lg_pt *file)
{
    for (int32_t i = 0; i < lg_zip_n_entries(file->zip); i++) {
        const char *name = lg_zip_name(file->zip, i), *slash = strchr(name, '/');

        if (!slash || strcmp(slash, "/data.pkl") != 0)
            continue;
        file->folder = lg_strndup(name, (size_t)(slash - name) + 1);
        return file->folder ? LEGO_OK : lg_error(LEGO_ENOMEM, "%s: out of memory", file->path);
    }
    return lg_error(LEGO_EFORMAT, "%s: a zip archive without a data.pkl: not written by torch.save", file->path);
}

/* Index of the entry NAME/<name>; LG_NONE if there is none. */
static lego_status find_entry(int32_t *out, const lg_pt *file, const char *name)
{
    char *full = lg_asprintf("%s%s", file->folder, name);

    if (!full)
        return lg_error(LEGO_ENOMEM, "%s: out of memory", file->path);
    *out = lg_zip_find(file->zip, full);
    lg_free(full);
    return LEGO_OK;
}

static lego_status check_byte_order(lg_pt *file)
{
    lg_buffer *text = NULL;
    int32_t entry = LG_NONE;
    lego_status status = LEGO_OK;

    LG_TRY(find_entry(&entry, file, "byteorder"));
    if (entry == LG_NONE)
        goto done;
    LG_TRY(lg_zip_read(&text, file->zip, entry));
    if (lg_buffer_size(text) != 6 || memcmp(lg_buffer_data(text), "little", 6) != 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: its byteorder is not 'little'", file->path);
done:
    lg_buffer_unref(text);
    return status;
}

static lego_status read_pickle(lg_pt *file)
{
    lg_buffer *data = NULL;
    int32_t entry = LG_NONE, code = LG_NONE;
    lego_status status = LEGO_OK;

    LG_TRY(find_entry(&code, file, "constants.pkl"));
    if (code != LG_NONE)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: a TorchScript module, not a state dict; save its weights: "
                "torch.save(torch.jit.load(FILE).state_dict(), OUT)", file->path);
    LG_TRY(find_entry(&entry, file, "data.pkl"));
    if (lg_zip_size(file->zip, entry) > MAX_PICKLE_BYTES)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: entry '%s' of %llu bytes; at most %llu are read", file->path,
                lg_zip_name(file->zip, entry), (unsigned long long)lg_zip_size(file->zip, entry),
                (unsigned long long)MAX_PICKLE_BYTES);
    LG_TRY(lg_zip_read(&data, file->zip, entry));
    LG_TRY(lg_pickle_read(&file->pickle, lg_buffer_data(data), lg_buffer_size(data), globals, file->path));
done:
    lg_buffer_unref(data);
    return status;
}

/* --- finding the state dict --- */

static const lg_pickle_value *argument(const lg_pickle_value *call, size_t i)
{
    const lg_pickle_value *arguments = call->items[0];

    return i < arguments->n_items ? arguments->items[i] : NULL;
}

static int is_kind(const lg_pickle_value *value, lg_pickle_kind kind)
{
    return value && value->kind == kind;
}

/* The call that makes the tensor, that of a parameter taken off; NULL if the value is no tensor. */
static const lg_pickle_value *tensor_call(const lg_pickle_value *value)
{
    if (is_kind(value, LG_PICKLE_CALL) && value->global->value == REBUILD_PARAMETER)
        value = argument(value, 0);
    return is_kind(value, LG_PICKLE_CALL) && value->global->value == REBUILD_TENSOR ? value : NULL;
}

/* What was found so far: dictionaries that hold tensors under text keys, and where. */
typedef struct candidates {
    const lg_pickle_value *best;
    char *best_key;
    int n, n_called_state_dict;
    lg_str names;
    size_t budget; /* bytes of keys and items: a hostile pickle can share dictionaries so that walking them takes for ever */
} candidates;

static int holds_tensors(const lg_pickle_value *dict)
{
    for (size_t i = 0; i + 1 < dict->n_items; i += 2)
        if (is_kind(dict->items[i], LG_PICKLE_TEXT) && tensor_call(dict->items[i + 1]))
            return 1;
    return 0;
}

static int is_called_state_dict(const char *key)
{
    const char *dot = strrchr(key, '.');

    return strcmp(dot ? dot + 1 : key, "state_dict") == 0;
}

static lego_status add_candidate(candidates *found, const lg_pickle_value *dict, const char *key)
{
    const int called = is_called_state_dict(key);
    lego_status status = LEGO_OK;

    found->n++;
    lg_str_appendf(&found->names, "%s'%.80s'", found->n > 1 ? ", " : "", key);
    found->n_called_state_dict += called;
    if (found->best && !called)
        return LEGO_OK;
    lg_free(found->best_key);
    found->best_key = NULL;
    LG_TRY(LG_STRDUP(&found->best_key, key));
    found->best = dict;
done:
    return status;
}

/* Look for state dicts in `dict`, not inside those found. With `wanted`, at that place only. */
static lego_status search(candidates *found, const lg_pickle_value *dict, const char *key, const char *wanted,
                          int depth)
{
    char *below = NULL;
    size_t cost;
    lego_status status = LEGO_OK;

    if (wanted ? strcmp(wanted, key) == 0 : holds_tensors(dict))
        return add_candidate(found, dict, key);
    for (size_t i = 0; i + 1 < dict->n_items && depth < MAX_DEPTH && found->budget > 0; i += 2) {
        if (!is_kind(dict->items[i], LG_PICKLE_TEXT) || !is_kind(dict->items[i + 1], LG_PICKLE_DICT))
            continue;
        below = lg_asprintf("%s%s%s", key, *key ? "." : "", dict->items[i]->text);
        if (!below)
            LG_FAIL(LEGO_ENOMEM, "out of memory");
        cost = strlen(below) + 1 + dict->items[i + 1]->n_items;
        found->budget -= cost < found->budget ? cost : found->budget;
        LG_TRY(search(found, dict->items[i + 1], below, wanted, depth + 1));
        lg_free(below);
        below = NULL;
    }
done:
    lg_free(below);
    return status;
}

static lego_status find_state_dict(const lg_pickle_value **out, lg_pt *file, const char *key)
{
    candidates found = { .budget = 1 << 24 };
    const lg_pickle_value *root = file->pickle->root;
    lego_status status = LEGO_OK;

    if (!is_kind(root, LG_PICKLE_DICT))
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: holds %s, not a dictionary of tensors; save model.state_dict()", file->path,
                tensor_call(root) ? "a single tensor" : "some other object");
    LG_TRY(search(&found, root, "", key, 0));
    if (found.n == 0 && key)
        LG_FAIL(LEGO_EFORMAT, "%s: no dictionary '%.100s' in it", file->path, key);
    if (found.n == 0)
        LG_FAIL(LEGO_EFORMAT, "%s: no tensors by name in its dictionaries", file->path);
    if (!key && found.n > 1 && found.n_called_state_dict != 1)
        LG_FAIL(LEGO_EINVAL, "%s: holds %d state dicts, under the keys %s; say which one", file->path, found.n,
                found.names.text ? found.names.text : "");
    *out = found.best;
    file->key = found.best_key;
    found.best_key = NULL;
done:
    lg_str_dispose(&found.names);
    lg_free(found.best_key);
    return status;
}

/* --- tensors --- */

static lego_status malformed(const lg_pt *file, const char *name, const char *problem)
{
    return lg_error(LEGO_EFORMAT, "%s: tensor '%s': %s", file->path, name, problem);
}

static lego_status read_dims(int64_t dims[LEGO_MAX_DIMS], int32_t *n, const lg_pt *file, const char *name,
                             const lg_pickle_value *tuple)
{
    if (!is_kind(tuple, LG_PICKLE_TUPLE))
        return malformed(file, name, "its size or strides are no tuple");
    if (tuple->n_items > LEGO_MAX_DIMS)
        return lg_error(LEGO_EFORMAT, "%s: tensor '%s': %zu dimensions, more than %d", file->path, name,
                        tuple->n_items, LEGO_MAX_DIMS);
    *n = (int32_t)tuple->n_items;
    for (size_t i = 0; i < tuple->n_items; i++) {
        if (tuple->items[i]->kind != LG_PICKLE_INT || tuple->items[i]->integer < 0)
            return malformed(file, name, "an extent or stride that is no number from 0 up");
        dims[i] = tuple->items[i]->integer;
    }
    return LEGO_OK;
}

/* The persistent id ('storage', type, key, device, elements): dtype, entry of the archive, elements. */
static lego_status read_storage(lg_pt_tensor *tensor, int64_t *n_elements, const lg_pt *file,
                                const lg_pickle_value *persistent)
{
    const lg_pickle_value *id = is_kind(persistent, LG_PICKLE_PERSISTENT) ? persistent->items[0] : NULL;
    char *name = NULL;
    size_t bytes;
    lego_status status = LEGO_OK;

    if (!is_kind(id, LG_PICKLE_TUPLE) || id->n_items != 5 || !is_kind(id->items[0], LG_PICKLE_TEXT) ||
        strcmp(id->items[0]->text, "storage") != 0 || !is_kind(id->items[1], LG_PICKLE_GLOBAL) ||
        id->items[1]->global->role != LG_PICKLE_ROLE_NAME || !is_kind(id->items[2], LG_PICKLE_TEXT) ||
        !is_kind(id->items[4], LG_PICKLE_INT) || id->items[4]->integer < 0)
        return malformed(file, tensor->name, "its storage is described in an unknown way");
    tensor->dtype = (lego_dtype)id->items[1]->global->value;
    *n_elements = id->items[4]->integer;
    name = lg_asprintf("data/%s", id->items[2]->text);
    if (!name)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", file->path);
    LG_TRY(find_entry(&tensor->storage, file, name));
    if (tensor->storage == LG_NONE)
        LG_FAIL(LEGO_EFORMAT, "%s: tensor '%s': entry '%s%.100s' is not in the archive", file->path, tensor->name,
                file->folder, name);
    if (__builtin_mul_overflow((size_t)*n_elements, lg_dtype_size(tensor->dtype), &bytes) ||
        bytes != lg_zip_size(file->zip, tensor->storage))
        LG_FAIL(LEGO_EFORMAT, "%s: tensor '%s': %lld elements of %s in entry '%s' of %llu bytes", file->path,
                tensor->name, (long long)*n_elements, lg_dtype_name(tensor->dtype),
                lg_zip_name(file->zip, tensor->storage),
                (unsigned long long)lg_zip_size(file->zip, tensor->storage));
done:
    lg_free(name);
    return status;
}

/* The last element that the tensor reaches lies in its storage. Strides that are never stepped become 0, and so does the
 * offset of a tensor without elements: torch does not check them either. */
static lego_status check_reach(const lg_pt *file, lg_pt_tensor *tensor, int64_t n_elements)
{
    int64_t count = 0, last = tensor->offset, step;
    int overflow = 0;
    lego_status status = LEGO_OK;

    if (lg_shape_count(&count, &tensor->shape, tensor->name) != LEGO_OK)
        LG_FAIL(LEGO_EFORMAT, "%s: tensor %s", file->path, lego_last_error());
    if (count == 0) {
        tensor->offset = 0;
        goto done;
    }
    for (int i = 0; i < tensor->shape.n_dims; i++) {
        if (tensor->shape.dims[i] == 1)
            tensor->strides[i] = 0;
        overflow |= __builtin_mul_overflow(tensor->shape.dims[i] - 1, tensor->strides[i], &step) ||
                    __builtin_add_overflow(last, step, &last);
    }
    if (overflow || last >= n_elements)
        LG_FAIL(LEGO_EFORMAT, "%s: tensor '%s': its offset, size and strides leave its storage of %lld elements",
                file->path, tensor->name, (long long)n_elements);
done:
    return status;
}

/* _rebuild_tensor_v2(storage, offset, size, strides, requires_grad, backward_hooks) */
static lego_status read_tensor(lg_pt_tensor *tensor, const lg_pt *file, const lg_pickle_value *call)
{
    const lg_pickle_value *offset = argument(call, 1);
    int64_t n_elements = 0;
    int32_t n_strides = 0;
    lego_status status = LEGO_OK;

    if (!is_kind(offset, LG_PICKLE_INT) || offset->integer < 0)
        return malformed(file, tensor->name, "its offset is no number from 0 up");
    tensor->offset = offset->integer;
    LG_TRY(read_storage(tensor, &n_elements, file, argument(call, 0)));
    LG_TRY(read_dims(tensor->shape.dims, &tensor->shape.n_dims, file, tensor->name, argument(call, 2)));
    LG_TRY(read_dims(tensor->strides, &n_strides, file, tensor->name, argument(call, 3)));
    if (n_strides != tensor->shape.n_dims)
        LG_FAIL(LEGO_EFORMAT, "%s: tensor '%s': %d strides for %d dimensions", file->path, tensor->name,
                (int)n_strides, (int)tensor->shape.n_dims);
    LG_TRY(check_reach(file, tensor, n_elements));
done:
    return status;
}

static lego_status read_state_dict(lg_pt *file, const lg_pickle_value *dict)
{
    lego_status status = LEGO_OK;

    if (dict->n_items / 2 > INT32_MAX)
        return lg_error(LEGO_EFORMAT, "%s: %zu tensors are too many", file->path, dict->n_items / 2);
    LG_TRY(LG_CALLOC(&file->tensors, dict->n_items / 2));
    LG_TRY(LG_CALLOC(&file->others, dict->n_items / 2));
    for (size_t i = 0; i + 1 < dict->n_items; i += 2) {
        const lg_pickle_value *name = dict->items[i], *call = tensor_call(dict->items[i + 1]);
        lg_pt_tensor *tensor = &file->tensors[file->n_tensors];

        if (!call || !is_kind(name, LG_PICKLE_TEXT)) {
            file->others[file->n_others++] = is_kind(name, LG_PICKLE_TEXT) ? name->text : "(a key that is no text)";
            continue;
        }
        LG_TRY(LG_STRDUP(&tensor->name, name->text));
        file->n_tensors++;
        LG_TRY(read_tensor(tensor, file, call));
    }
done:
    return status;
}

/* --- the file --- */

lego_status lg_pt_load(lg_pt **out, const char *path, const char *key)
{
    lg_pt *file = NULL;
    const lg_pickle_value *dict = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&file, 1));
    LG_TRY(LG_STRDUP(&file->path, path));
    LG_TRY(lg_zip_open(&file->zip, path));
    LG_TRY(LG_CALLOC(&file->storages, lg_zip_n_entries(file->zip)));
    LG_TRY(find_folder(file));
    LG_TRY(check_byte_order(file));
    LG_TRY(read_pickle(file));
    LG_TRY(find_state_dict(&dict, file, key));
    LG_TRY(read_state_dict(file, dict));
    *out = file;
    file = NULL;
done:
    lg_pt_free(file);
    return status;
}

void lg_pt_free(lg_pt *file)
{
    if (!file)
        return;
    for (int32_t i = 0; i < file->n_tensors; i++)
        lg_free(file->tensors[i].name);
    for (int32_t i = 0; file->storages && i < lg_zip_n_entries(file->zip); i++)
        lg_buffer_unref(file->storages[i]);
    lg_free(file->storages);
    lg_free(file->tensors);
    lg_free(file->others);
    lg_pickle_free(file->pickle);
    lg_zip_close(file->zip);
    lg_free(file->folder);
    lg_free(file->key);
    lg_free(file->path);
    lg_free(file);
}

const char *lg_pt_key(const lg_pt *file)
{
    return file->key;
}

int32_t lg_pt_n_tensors(const lg_pt *file)
{
    return file->n_tensors;
}

const lg_pt_tensor *lg_pt_tensors(const lg_pt *file)
{
    return file->tensors;
}

int32_t lg_pt_n_others(const lg_pt *file)
{
    return file->n_others;
}

const char *lg_pt_other(const lg_pt *file, int32_t i)
{
    return file->others[i];
}

static int is_row_major(const lg_pt_tensor *tensor)
{
    int64_t stride = 1;

    for (int i = 0; i < tensor->shape.n_dims; i++)
        if (tensor->shape.dims[i] == 0)
            return 1;
    for (int i = tensor->shape.n_dims - 1; i >= 0; i--) {
        if (tensor->shape.dims[i] != 1 && tensor->strides[i] != stride)
            return 0;
        stride *= tensor->shape.dims[i];
    }
    return 1;
}

/* Copy element by element, the last axis fastest. */
static void gather(lego_tensor *out, const char *storage, const lg_pt_tensor *tensor)
{
    const size_t size = lg_dtype_size(tensor->dtype);
    const int64_t n = lg_tensor_count(out);
    int64_t index[LEGO_MAX_DIMS] = { 0 }, at = tensor->offset;
    char *to = lg_tensor_data(out);

    for (int64_t i = 0; i < n; i++, to += size) {
        memcpy(to, storage + (size_t)at * size, size);
        for (int axis = tensor->shape.n_dims - 1; axis >= 0; axis--) {
            at += tensor->strides[axis];
            if (++index[axis] < tensor->shape.dims[axis])
                break;
            at -= tensor->strides[axis] * tensor->shape.dims[axis];
            index[axis] = 0;
        }
    }
}

lego_status lg_pt_read(lego_tensor *out, lg_pt *file, const lg_pt_tensor *tensor)
{
    lg_buffer **storage = &file->storages[tensor->storage];
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    if (!*storage)
        LG_TRY(lg_zip_read(storage, file->zip, tensor->storage));
    if (is_row_major(tensor)) {
        out->dtype = tensor->dtype;
        out->shape = tensor->shape;
        out->buffer = lg_buffer_ref(*storage);
        out->offset = (size_t)tensor->offset * lg_dtype_size(tensor->dtype);
    } else {
        LG_TRY(lg_tensor_init(out, tensor->dtype, &tensor->shape));
        gather(out, lg_buffer_data(*storage), tensor);
    }
done:
    return status;
}
