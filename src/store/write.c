/* Writing a store, and replacing one variant in it.
 *
 * A new store is written into a folder beside its place and exchanged with what is there in one step; what a killed process
 * leaves beside it, the next one to write or open that store removes. A replaced variant is a new file, then the manifest
 * that names it (an atomic rename), then the old file goes: killed anywhere in between, the manifest on disk names only
 * complete files, and at most one unnamed file is left over.
 *
 * Newcomers get wrong: overwriting the variant's file in place would leave a moment, or after a crash forever, in which
 * the manifest's checksum is wrong. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"
#include "store/manifest.h"
#include "store/variant.h"

/* Save a graph as folder/file; its size and checksum. */
static lego_status write_graph(size_t *bytes, uint64_t *checksum, const lg_graph *graph, const char *folder,
                               const char *file)
{
    char *path = lg_path_join(folder, file);
    lego_status status = LEGO_OK;

    if (!path)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", folder);
    LG_TRY(lg_graph_save(graph, path, NULL));
    LG_TRY(lg_file_size(bytes, path));
    LG_TRY(lg_hash_file(checksum, path));
done:
    lg_free(path);
    return status;
}

/* "blocks/b0/s0.6.safetensors"; with a generation, "blocks/b0/s0.6.2.safetensors". */
static lego_status file_name(char **out, const lg_block *block, const char *variant, int generation)
{
    *out = generation > 0 ? lg_asprintf("blocks/%s/%s.%d.safetensors", block->name, variant, generation)
                          : lg_asprintf("blocks/%s/%s.safetensors", block->name, variant);
    return *out ? LEGO_OK : lg_error(LEGO_ENOMEM, "out of memory naming a file of block '%s'", block->name);
}

/* Only a store, or an empty folder, may be replaced. */
static lego_status check_replaceable(const char *path)
{
    char **names = NULL;
    size_t n = 0;
    uint64_t checksum;
    lego_status status = LEGO_OK;

    if (!lg_file_exists(path))
        return LEGO_OK;
    if (!lg_dir_exists(path))
        return lg_error(LEGO_EINVAL, "%s: exists and is no folder", path);
    LG_TRY(lg_dir_list(&names, &n, path));
    if (n == 0)
        goto done;
    status = lg_manifest_read_checksum(&checksum, path);
    if (status == LEGO_ENOTFOUND || status == LEGO_EFORMAT)
        LG_FAIL(LEGO_EINVAL, "%s: exists and is not a store: remove it or choose another place", path);
done:
    lg_names_free(names, n);
    return status;
}

/* The folders above `path`. */
static lego_status create_parent(const char *path)
{
    char *parent = lg_strdup(path), *slash;
    lego_status status = LEGO_OK;

    if (!parent)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", path);
    for (size_t n = strlen(parent); n > 1 && parent[n - 1] == '/'; n--)
        parent[n - 1] = '\0';
    slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = '\0';
        LG_TRY(lg_dir_create(parent));
    }
done:
    lg_free(parent);
    return status;
}

/* --- a whole store --- */

/* Where a graph was written. */
typedef struct written {
    char *file;
    size_t bytes;
    uint64_t checksum;
} written;

static void free_written(written *files, int32_t n)
{
    for (int32_t i = 0; files && i < n; i++)
        lg_free(files[i].file);
    lg_free(files);
}

static void swap(written *own, char **file, size_t *bytes, uint64_t *checksum)
{
    const written other = { *file, *bytes, *checksum };

    *file = own->file;
    *bytes = own->bytes;
    *checksum = own->checksum;
    *own = other;
}

/* Exchange the files that the handle names with `files`: the frame's, then every variant's. Twice is nothing. */
static void swap_files(lego_store *store, written *files)
{
    swap(files++, &store->frame_file, &store->frame_bytes, &store->frame_checksum);
    for (int32_t b = 0; b < store->n_blocks; b++)
        for (int32_t v = 0; v < store->blocks[b].n_variants; v++) {
            lg_variant *variant = &store->blocks[b].variants[v];

            swap(files++, &variant->file, &variant->file_bytes, &variant->checksum);
        }
}

static int32_t count_files(const lego_store *store)
{
    int32_t n = 1;

    for (int32_t b = 0; b < store->n_blocks; b++)
        n += store->blocks[b].n_variants;
    return n;
}

static lego_status write_block(written *files, const lg_block *block, const char *folder)
{
    char *path = lg_asprintf("%s/blocks/%s", folder, block->name);
    lego_status status = LEGO_OK;

    if (!path)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", folder);
    LG_TRY(lg_dir_create(path));
    for (int32_t v = 0; v < block->n_variants; v++) {
        const lg_variant *variant = &block->variants[v];

        if (!variant->graph)
            LG_FAIL(LEGO_EINVAL, "block '%s': variant '%s' has no graph to write", block->name, variant->name);
        LG_TRY(file_name(&files[v].file, block, variant->name, 0));
        LG_TRY(write_graph(&files[v].bytes, &files[v].checksum, variant->graph, folder, files[v].file));
    }
done:
    lg_free(path);
    return status;
}

/* All of a store's graphs into `folder`. */
static lego_status write_graphs(written *files, const lego_store *store, const char *folder)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_STRDUP(&files->file, "frame.safetensors"));
    LG_TRY(write_graph(&files->bytes, &files->checksum, store->frame, folder, files->file));
    files++;
    for (int32_t b = 0; b < store->n_blocks; b++) {
        LG_TRY(write_block(files, &store->blocks[b], folder));
        files += store->blocks[b].n_variants;
    }
done:
    return status;
}

/* Best effort; the failure that brought us here is the one to report. */
static void remove_folder(const char *folder, lego_status status)
{
    char *message = lg_strdup(lego_last_error());

    lg_dir_remove(folder);
    if (message)
        lg_error(status, "%s", message);
    lg_free(message);
}

lego_status lg_store_write(lego_store *store, const char *path)
{
    const uint64_t old_checksum = store->checksum;
    int32_t n_files = count_files(store);
    written *files = NULL;
    char *folder = NULL, *own_path = NULL;
    int swapped = 0, lock = -1;
    lego_status status = LEGO_OK;

    LG_TRY(check_replaceable(path));
    LG_TRY(lg_dir_remove_stale(path));
    LG_TRY(LG_STRDUP(&own_path, path));
    LG_TRY(LG_CALLOC(&files, n_files));
    LG_TRY(create_parent(path));
    LG_TRY(lg_dir_create_temporary(&folder, &lock, path));
    LG_TRY(write_graphs(files, store, folder));
    swap_files(store, files); /* the manifest says what the handle says */
    swapped = 1;
    LG_TRY(lg_manifest_save(store, folder));
    LG_TRY(lg_dir_replace(folder, path));
    lg_free(store->path);
    store->path = own_path;
    own_path = NULL;
done:
    if (status != LEGO_OK && swapped) {
        swap_files(store, files);
        store->checksum = old_checksum;
    }
    if (status != LEGO_OK && folder)
        remove_folder(folder, status);
    if (lock >= 0)
        close(lock);
    free_written(files, n_files);
    lg_free(folder);
    lg_free(own_path);
    return status;
}

/* --- one variant --- */

/* One writer at a time; readers never wait. The lock goes with the process. */
static lego_status lock_store(int *out, const lego_store *store)
{
    uint64_t checksum;
    lego_status status = LEGO_OK;
    int folder = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    *out = -1;
    if (folder < 0)
        LG_FAIL(LEGO_EIO, "%s: cannot open: %s", store->path, strerror(errno));
    while (flock(folder, LOCK_EX) != 0)
        if (errno != EINTR)
            LG_FAIL(LEGO_EIO, "%s: cannot lock: %s", store->path, strerror(errno));
    LG_TRY(lg_manifest_read_checksum(&checksum, store->path));
    if (checksum != store->checksum)
        LG_FAIL(LEGO_EIO, "%s: another process has changed the store since it was opened: open it again",
                store->path);
    *out = folder;
    folder = -1;
done:
    if (folder >= 0)
        close(folder);
    return status;
}

/* A name that no file has. */
static lego_status fresh_file_name(char **out, const lego_store *store, const lg_block *block, const char *variant)
{
    char *path = NULL;
    lego_status status = LEGO_OK;

    for (int generation = 1;; generation++) {
        LG_TRY(file_name(out, block, variant, generation));
        path = lg_path_join(store->path, *out);
        if (!path)
            LG_FAIL(LEGO_ENOMEM, "%s: out of memory", store->path);
        if (!lg_file_exists(path))
            break;
        lg_free(path);
        lg_free(*out);
        path = *out = NULL;
    }
done:
    lg_free(path);
    return status;
}

static void remove_file(const lego_store *store, const char *file)
{
    char *path = lg_path_join(store->path, file);

    if (path)
        unlink(path);
    lg_free(path);
}

/* A variant with the name and the rest of `old`, and another graph. */
static lego_status describe(lg_variant *out, const lg_variant *old, const lg_graph *graph, const char *origin)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_STRDUP(&out->name, old->name));
    LG_TRY(LG_STRDUP(&out->precision, old->precision));
    LG_TRY(LG_STRDUP(&out->origin, origin));
    for (int32_t a = 0; a < old->n_aliases; a++)
        LG_TRY(lg_variant_add_alias(out, old->aliases[a]));
    out->sparsity = old->sparsity;
    lg_variant_measure(out, graph);
    LG_TRY(lg_graph_clone(&out->graph, graph));
done:
    return status;
}

lego_status lg_store_update_variant(lego_store *store, int32_t block, int32_t variant, const lg_graph *graph,
                                    const char *origin)
{
    lg_block *owner;
    lg_variant old, fresh = { 0 };
    int lock = -1;
    lego_status status = LEGO_OK;

    if (!store->path)
        return lg_error(LEGO_EINVAL, "a store that was not written yet has no variants to replace");
    LG_TRY(lg_store_check_variant(store, block, variant));
    owner = &store->blocks[block];
    LG_TRY(lg_store_check_interface(store, block, graph, owner->variants[variant].name));
    LG_TRY(describe(&fresh, &owner->variants[variant], graph, origin));
    LG_TRY(lock_store(&lock, store));
    LG_TRY(fresh_file_name(&fresh.file, store, owner, fresh.name));
    status = write_graph(&fresh.file_bytes, &fresh.checksum, graph, store->path, fresh.file);
    if (status == LEGO_OK) {
        old = owner->variants[variant];
        owner->variants[variant] = fresh;
        status = lg_manifest_save(store, store->path);
        if (status == LEGO_OK) {
            remove_file(store, old.file);
            fresh = old; /* to be disposed */
        } else {
            owner->variants[variant] = old;
        }
    }
    if (status != LEGO_OK)
        remove_file(store, fresh.file);
done:
    if (lock >= 0)
        close(lock);
    lg_variant_dispose(&fresh);
    return status;
}
