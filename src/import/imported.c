/* How every import begins, with an empty graph, and ends, with a validated one. */
#include "import/imported.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define LIST_BYTES 400 /* of names in a message */

lego_status lg_imported_create(lg_graph **out, const char *path, const char *name)
{
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path, *dot = strrchr(file, '.');
    char *copy = name ? lg_strdup(name) : lg_strndup(file, dot && dot > file ? (size_t)(dot - file) : strlen(file));
    lego_status status = LEGO_OK;

    *out = NULL;
    if (!copy)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", path);
    LG_TRY(lg_graph_create(out, copy));
done:
    lg_free(copy);
    return status;
}

const lego_import_input *lg_imported_shape(const lego_import_options *options, const char *name, int64_t position)
{
    for (int64_t i = 0; i < options->n_inputs; i++)
        if (options->inputs[i].name && strcmp(options->inputs[i].name, name) == 0)
            return &options->inputs[i];
    return position >= 0 && position < options->n_inputs && !options->inputs[position].name ? &options->inputs[position]
                                                                                            : NULL;
}

lego_status lg_imported_check_shapes(const lego_import_options *options, const char *path, int64_t n_names,
                                     const char *const *names)
{
    lg_str list = LG_STR_INIT;
    lego_status status = LEGO_OK;

    for (int64_t k = 0; k < n_names && list.length < LIST_BYTES; k++)
        lg_str_appendf(&list, "%s'%s'", k ? ", " : "", names[k]);
    for (int64_t i = 0; i < options->n_inputs; i++) {
        const char *name = options->inputs[i].name;
        int64_t k = 0;

        while (k < n_names && (name ? strcmp(name, names[k]) != 0 : k != i))
            k++;
        if (k == n_names && name)
            LG_FAIL(LEGO_EINVAL, "%s: a shape is given for '%s', which is none of its inputs: %s", path, name,
                    list.text ? list.text : "");
        if (k == n_names)
            LG_FAIL(LEGO_EINVAL, "%s: %lld shapes are given for %lld input%s: %s", path, (long long)options->n_inputs,
                    (long long)n_names, n_names == 1 ? "" : "s", list.text ? list.text : "");
        for (int64_t j = 0; j < i; j++)
            if (options->inputs[j].name ? strcmp(options->inputs[j].name, names[k]) == 0 : j == k)
                LG_FAIL(LEGO_EINVAL, "%s: two shapes are given for input '%s'", path, names[k]);
    }
done:
    lg_str_dispose(&list);
    return status;
}

lego_status lg_imported_check(lg_graph **graph, const char *path)
{
    lego_status status = lg_graph_validate(*graph);

    if (status == LEGO_OK)
        status = lg_graph_check_finite(*graph);
    if (status == LEGO_OK)
        status = lg_imported_widen(graph);
    return status == LEGO_EINVAL ? lg_error(LEGO_EFORMAT, "%s: %s", path, lego_last_error()) : status;
}

int lg_imported_plane(lg_dims *order, lg_dims *plane, const lg_shape *in, unsigned axes)
{
    int is_moved = 0;

    order->n = 0;
    *plane = (lg_dims){ 3, { 1, 1, 1 } };
    for (unsigned pass = 0; pass < 2; pass++)
        for (int axis = 1; axis < in->n_dims; axis++) {
            if ((axes >> axis & 1) != pass)
                continue;
            is_moved |= order->n + 1 != axis;
            order->dims[order->n++] = axis;
            plane->dims[2 * pass] *= in->dims[axis]; /* a value's elements are countable */
        }
    if (in->n_dims == 4 && axes == 0xcu)
        plane->n = 0;
    return is_moved;
}
