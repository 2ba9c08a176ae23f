/* workspace.c: one piece of memory that several plans use in turn. */
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/plan.h"

struct lg_workspace {
    atomic_size_t references;
    void *memory;
    size_t bytes;
};

lego_status lg_workspace_create(lg_workspace **out, size_t bytes)
{
    lg_workspace *workspace = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&workspace, 1));
    atomic_init(&workspace->references, 1);
    workspace->bytes = bytes > 0 ? bytes : LG_ARENA_ALIGN;
    workspace->memory = lg_alloc_aligned(workspace->bytes);
    if (!workspace->memory)
        LG_FAIL(LEGO_ENOMEM, "out of memory: a workspace of %zu bytes", bytes);
    memset(workspace->memory, 0, workspace->bytes); /* touch every page now, not in the first run */
    *out = workspace;
    workspace = NULL; /* the caller owns it now */
done:
    lg_workspace_unref(workspace);
    return status;
}

void lg_workspace_unref(lg_workspace *workspace)
{
    if (!workspace || atomic_fetch_sub(&workspace->references, 1) > 1)
        return;
    lg_free_aligned(workspace->memory);
    lg_free(workspace);
}

size_t lg_workspace_bytes(const lg_workspace *workspace)
{
    return workspace->bytes;
}

void *lg_workspace_take(lg_workspace *workspace, size_t bytes)
{
    if (bytes > workspace->bytes)
        return NULL;
    atomic_fetch_add(&workspace->references, 1);
    return workspace->memory;
}
