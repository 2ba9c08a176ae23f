/* How every import begins, with an empty graph, and ends, with a validated one. */
#include "import/imported.h"

#include <string.h>

#include "base/alloc.h"

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

lego_status lg_imported_check(lg_graph *graph, const char *path)
{
    lego_status status = lg_graph_validate(graph);

    if (status == LEGO_OK)
        status = lg_graph_check_finite(graph);
    return status == LEGO_EINVAL ? lg_error(LEGO_EFORMAT, "%s: %s", path, lego_last_error()) : status;
}
