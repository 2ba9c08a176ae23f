/* Fuzz target: the pickle of a .pt file, or the whole file if the input starts as an archive or as the old format does. The archive around the
 * pickle is sound and has one storage, so that what the pickle says is all there is to believe. Every tensor of a file that
 * loads must be readable. */
#include "fuzz/fuzz.h"

#include <zip.h>

#include "import/pt_file.h"
#include "import/pt_source.h"

static void add(zip_t *archive, const char *name, const void *data, size_t size)
{
    const zip_int64_t index = zip_file_add(archive, name, zip_source_buffer(archive, data, size, 0), 0);

    if (index < 0 || zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0)
        abort();
}

/* An archive of the pickle and 64 numbers, as a file in memory. */
static int archive_of(char path[64], const uint8_t *data, size_t size)
{
    static const float storage[64];
    zip_source_t *bytes = zip_source_buffer_create(NULL, 0, 0, NULL);
    zip_t *archive = bytes ? zip_open_from_source(bytes, ZIP_CREATE, NULL) : NULL;
    zip_stat_t about;
    uint8_t *copy;
    int file;

    if (!archive)
        abort();
    zip_source_keep(bytes);
    add(archive, "net/data.pkl", data, size);
    add(archive, "net/data/0", storage, sizeof(storage));
    if (zip_close(archive) != 0 || zip_source_stat(bytes, &about) != 0 || zip_source_open(bytes) != 0)
        abort();
    copy = malloc((size_t)about.size);
    if (!copy || zip_source_read(bytes, copy, about.size) != (zip_int64_t)about.size)
        abort();
    file = file_of(path, copy, (size_t)about.size);
    free(copy);
    zip_source_close(bytes);
    zip_source_free(bytes);
    return file;
}

static void read_all(lg_pt *pt)
{
    for (int32_t i = 0; i < lg_pt_n_tensors(pt); i++) {
        const lg_pt_tensor *view = &lg_pt_tensors(pt)[i];
        lego_tensor tensor;
        int64_t count;

        if (lg_shape_count(&count, &view->shape, "tensor") != LEGO_OK)
            abort();
        if (count > 1 << 16)
            continue; /* strides of zero: as large as it likes */
        if (lg_pt_read(&tensor, pt, view) != LEGO_OK)
            abort();
        for (size_t byte = 0; byte < lg_tensor_bytes(&tensor); byte++)
            if (((const volatile char *)lg_tensor_data(&tensor))[byte] != 0)
                abort();
        lg_tensor_dispose(&tensor);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int whole = (size >= 2 && data[0] == 'P' && data[1] == 'K') || lg_pt_is_legacy(data, size);
    char path[64];
    const int file = whole ? file_of(path, data, size) : archive_of(path, data, size);
    lg_pt *pt;

    if (lg_pt_load(&pt, path, NULL) == LEGO_OK) {
        if (!whole) /* else a storage may be damaged, and hold anything */
            read_all(pt);
        lg_pt_free(pt);
    }
    close(file);
    return 0;
}
