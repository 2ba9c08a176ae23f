/* Zip archives through libzip, for .pt files.
 *
 * torch stores tensors and pickles uncompressed, so that they can be mapped. We insist: then what an entry expands to is
 * what the file holds, and neither a deflate bomb nor one of overlapping entries can ask for more memory than the file has
 * bytes. Nothing is ever extracted to a path; a name that leaves its folder is refused all the same, since no honest
 * writer makes one. */
#include "import/zip_file.h"

#include <zip.h>

#include "base/alloc.h"
#include "base/file.h"
#include "graph/graph.h"
#include "graph/name_map.h"

struct lg_zip {
    zip_t *archive;
    char *path;
    int32_t n_entries;
    uint64_t *sizes;
    uint8_t *plain; /* by entry: stored as it is */
    const char **entry_names; /* libzip's */
    lg_name_map names;
};

static lego_status open_archive(zip_t **out, const char *path)
{
    zip_error_t error;
    int code = 0;
    lego_status status = LEGO_OK;

    *out = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
    if (*out)
        return LEGO_OK;
    zip_error_init_with_code(&error, code);
    if (code == ZIP_ER_NOENT)
        status = lg_error(LEGO_ENOTFOUND, "%s: no such file", path);
    else if (code == ZIP_ER_MEMORY)
        status = lg_error(LEGO_ENOMEM, "%s: out of memory", path);
    else if (code == ZIP_ER_OPEN || code == ZIP_ER_READ || code == ZIP_ER_SEEK)
        status = lg_error(LEGO_EIO, "%s: %s", path, zip_error_strerror(&error));
    else
        status = lg_error(LEGO_EFORMAT, "%s: damaged or truncated zip archive (%s)", path, zip_error_strerror(&error));
    zip_error_fini(&error);
    return status;
}

/* `taken`: bytes of the file that the entries before it have. */
static lego_status check_entry(lg_zip *zip, int32_t i, uint64_t *taken, size_t file_bytes)
{
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD |
                                ZIP_STAT_ENCRYPTION_METHOD;
    zip_stat_t about;
    lego_status status = LEGO_OK;

    zip_stat_init(&about);
    if (zip_stat_index(zip->archive, (zip_uint64_t)i, 0, &about) != 0 || (about.valid & needed) != needed)
        return lg_error(LEGO_EFORMAT, "%s: zip entry %d is damaged", zip->path, (int)i);
    LG_TRY(lg_path_check_relative(about.name, zip->path));
    if (lg_name_map_add(&zip->names, about.name, i) != LG_NONE)
        return lg_error(LEGO_EFORMAT, "%s: entry '%s' stands there twice", zip->path, about.name);
    if (about.comp_size > file_bytes - *taken)
        return lg_error(LEGO_EFORMAT, "%s: entry '%s' of %llu bytes: the entries hold more than the file's %zu bytes (they "
                        "overlap, or the sizes lie)", zip->path, about.name, (unsigned long long)about.comp_size,
                        file_bytes);
    *taken += about.comp_size;
    zip->entry_names[i] = about.name;
    zip->sizes[i] = about.size;
    zip->plain[i] = about.comp_method == ZIP_CM_STORE && about.encryption_method == ZIP_EM_NONE &&
                    about.size == about.comp_size;
done:
    return status;
}

lego_status lg_zip_open(lg_zip **out, const char *path)
{
    lg_zip *zip = NULL;
    uint64_t taken = 0;
    size_t file_bytes = 0;
    zip_int64_t n;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_file_size(&file_bytes, path));
    LG_TRY(LG_CALLOC(&zip, 1));
    LG_TRY(LG_STRDUP(&zip->path, path));
    LG_TRY(open_archive(&zip->archive, path));
    n = zip_get_num_entries(zip->archive, 0);
    if (n < 0 || n > INT32_MAX / 2)
        LG_FAIL(LEGO_EFORMAT, "%s: %lld zip entries are too many", path, (long long)n);
    zip->n_entries = (int32_t)n;
    LG_TRY(LG_CALLOC(&zip->sizes, n));
    LG_TRY(LG_CALLOC(&zip->plain, n));
    LG_TRY(LG_CALLOC(&zip->entry_names, n));
    LG_TRY(lg_name_map_init(&zip->names, (size_t)n));
    for (int32_t i = 0; i < zip->n_entries; i++)
        LG_TRY(check_entry(zip, i, &taken, file_bytes));
    *out = zip;
    zip = NULL;
done:
    lg_zip_close(zip);
    return status;
}

void lg_zip_close(lg_zip *zip)
{
    if (!zip)
        return;
    if (zip->archive)
        zip_discard(zip->archive);
    lg_name_map_dispose(&zip->names);
    lg_free(zip->entry_names);
    lg_free(zip->sizes);
    lg_free(zip->plain);
    lg_free(zip->path);
    lg_free(zip);
}

int32_t lg_zip_n_entries(const lg_zip *zip)
{
    return zip->n_entries;
}

const char *lg_zip_name(const lg_zip *zip, int32_t entry)
{
    return zip->entry_names[entry];
}

uint64_t lg_zip_size(const lg_zip *zip, int32_t entry)
{
    return zip->sizes[entry];
}

int lg_zip_is_plain(const lg_zip *zip, int32_t entry)
{
    return zip->plain[entry];
}

int32_t lg_zip_find(const lg_zip *zip, const char *name)
{
    return lg_name_map_find(&zip->names, name);
}

static lego_status open_entry(zip_file_t **out, lg_zip *zip, int32_t entry)
{
    *out = zip_fopen_index(zip->archive, (zip_uint64_t)entry, 0);
    if (*out)
        return LEGO_OK;
    return lg_error(LEGO_EFORMAT, "%s: entry '%s': %s", zip->path, zip->entry_names[entry], zip_strerror(zip->archive));
}

static lego_status damaged(const lg_zip *zip, int32_t entry, zip_file_t *file)
{
    return lg_error(LEGO_EFORMAT, "%s: entry '%s' is damaged (%s)", zip->path, zip->entry_names[entry],
                    zip_error_code_zip(zip_file_get_error(file)) ? zip_file_strerror(file) : "another size than it says");
}

lego_status lg_zip_read(lg_buffer **out, lg_zip *zip, int32_t entry)
{
    lg_buffer *buffer = NULL;
    zip_file_t *file = NULL;
    zip_int64_t got;
    char past_end;
    const size_t size = (size_t)zip->sizes[entry];
    lego_status status = LEGO_OK;

    *out = NULL;
    if (!zip->plain[entry])
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: entry '%s' is compressed or encrypted; torch.save stores entries as they are, "
                "anything else is not read", zip->path, zip->entry_names[entry]);
    LG_TRY(lg_buffer_create(&buffer, size));
    LG_TRY(open_entry(&file, zip, entry));
    got = zip_fread(file, lg_buffer_data(buffer), size);
    /* libzip compares the checksum when a read meets the end. */
    if (got < 0 || (zip_uint64_t)got != size || zip_fread(file, &past_end, 1) != 0)
        LG_TRY(damaged(zip, entry, file));
    *out = buffer;
    buffer = NULL;
done:
    if (file)
        zip_fclose(file);
    lg_buffer_unref(buffer);
    return status;
}

lego_status lg_zip_check(lg_zip *zip, int32_t entry)
{
    zip_file_t *file = NULL;
    char part[16384];
    zip_uint64_t total = 0;
    zip_int64_t got;
    lego_status status = LEGO_OK;

    LG_TRY(open_entry(&file, zip, entry));
    while ((got = zip_fread(file, part, sizeof(part))) > 0 && total <= zip->sizes[entry])
        total += (zip_uint64_t)got;
    if (got < 0 || total != zip->sizes[entry])
        LG_TRY(damaged(zip, entry, file));
done:
    if (file)
        zip_fclose(file);
    return status;
}
