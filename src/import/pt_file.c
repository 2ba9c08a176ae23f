/* A state dict in what torch.save wrote: the tree of the pickle is searched for dictionaries of tensors, and every tensor's
 * description is held against the storage that it names (pt_source.c) before a byte is copied.
 *
 * Newcomers trip over views: several tensors may share a storage, start anywhere in it and have strides in any order (a
 * transposed weight stays transposed on disk). A tensor is copied only when the model asks for one of its shape, so that a
 * stride of zero cannot blow up a small file. */
#include "import/pt_file.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "graph/graph.h"
#include "graph/name_map.h"
#include "import/pt_source.h"

#define MAX_DEPTH 4 /* of dictionaries around the state dict */

struct lg_pt {
    char *path;
    char *key;
    lg_pt_source *source;
    lg_pt_tensor *tensors;
    const char **others;
    int32_t n_tensors, n_others;
};

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
    if (is_kind(value, LG_PICKLE_CALL) && value->global->value == LG_PT_PARAMETER)
        value = argument(value, 0);
    return is_kind(value, LG_PICKLE_CALL) && value->global->value == LG_PT_TENSOR ? value : NULL;
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
    const lg_pickle_value *root = lg_pt_source_pickle(file->source)->root;
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

/* A storage that is part of another, of torch before 0.4: (key, offset, elements) as the sixth item of its id. */
static lego_status read_storage_view(lg_pt_tensor *tensor, int64_t *n_elements, const lg_pt *file,
                                     const lg_pickle_value *view)
{
    if (is_kind(view, LG_PICKLE_NONE))
        return LEGO_OK;
    if (!is_kind(view, LG_PICKLE_TUPLE) || view->n_items != 3 || !is_kind(view->items[1], LG_PICKLE_INT) ||
        !is_kind(view->items[2], LG_PICKLE_INT) || view->items[1]->integer < 0 || view->items[2]->integer < 0 ||
        view->items[1]->integer > *n_elements || view->items[2]->integer > *n_elements - view->items[1]->integer)
        return malformed(file, tensor->name, "its storage is a part of another in an unknown way");
    *n_elements = view->items[1]->integer + view->items[2]->integer;
    if (__builtin_add_overflow(tensor->offset, view->items[1]->integer, &tensor->offset))
        return malformed(file, tensor->name, "its offset is too large");
    return LEGO_OK;
}

/* The persistent id ('storage', type, key, device, elements): dtype, storage, elements. */
static lego_status read_storage(lg_pt_tensor *tensor, int64_t *n_elements, const lg_pt *file,
                                const lg_pickle_value *persistent)
{
    const lg_pickle_value *id = is_kind(persistent, LG_PICKLE_PERSISTENT) ? persistent->items[0] : NULL;
    char place[160];
    uint64_t have = 0;
    size_t bytes;
    lego_status status = LEGO_OK;

    if (!is_kind(id, LG_PICKLE_TUPLE) || (id->n_items != 5 && id->n_items != 6) ||
        !is_kind(id->items[0], LG_PICKLE_TEXT) || strcmp(id->items[0]->text, "storage") != 0 ||
        !is_kind(id->items[1], LG_PICKLE_GLOBAL) || id->items[1]->global->role != LG_PICKLE_ROLE_NAME ||
        id->items[1]->global->value == LG_PT_OTHER || !is_kind(id->items[2], LG_PICKLE_TEXT) ||
        !is_kind(id->items[4], LG_PICKLE_INT) || id->items[4]->integer < 0)
        return malformed(file, tensor->name, "its storage is described in an unknown way");
    if (id->items[1]->global->value == LG_PT_COMPLEX)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: tensor '%s' has complex numbers; graphs compute with float32", file->path,
                tensor->name);
    tensor->dtype = (lego_dtype)id->items[1]->global->value;
    *n_elements = id->items[4]->integer;
    LG_TRY(lg_pt_source_find(&tensor->storage, &have, file->source, id->items[2]->text));
    lg_pt_source_describe(place, file->source, id->items[2]->text);
    if (tensor->storage == LG_NONE)
        LG_FAIL(LEGO_EFORMAT, "%s: tensor '%s': %s is not in the archive", file->path, tensor->name, place);
    if (__builtin_mul_overflow((size_t)*n_elements, lg_dtype_size(tensor->dtype), &bytes) || bytes != have)
        LG_FAIL(LEGO_EFORMAT, "%s: tensor '%s': %lld elements of %s in %s of %llu bytes", file->path, tensor->name,
                (long long)*n_elements, lg_dtype_name(tensor->dtype), place, (unsigned long long)have);
    if (id->n_items == 6)
        LG_TRY(read_storage_view(tensor, n_elements, file, id->items[5]));
done:
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

/* _rebuild_tensor_v2(storage, offset, size, strides, requires_grad, backward_hooks), _rebuild_tensor's first four */
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
    LG_TRY(lg_pt_source_open(&file->source, file->path));
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
    lg_free(file->tensors);
    lg_free(file->others);
    lg_pt_source_free(file->source);
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
    lg_buffer *storage = NULL;
    size_t base = 0;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    LG_TRY(lg_pt_source_read(&storage, &base, file->source, tensor->storage));
    if (is_row_major(tensor)) {
        out->dtype = tensor->dtype;
        out->shape = tensor->shape;
        out->buffer = lg_buffer_ref(storage);
        out->offset = base + (size_t)tensor->offset * lg_dtype_size(tensor->dtype);
    } else {
        LG_TRY(lg_tensor_init(out, tensor->dtype, &tensor->shape));
        gather(out, (const char *)lg_buffer_data(storage) + base, tensor);
    }
done:
    return status;
}
