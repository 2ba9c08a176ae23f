/* Fuzz target: the pickle of a .pt file (or, if the input starts as an archive does, the whole file). The archive around
 * the pickle is sound and has one storage, so that what the pickle says is all there is to believe. Nothing may crash, leak
 * or overflow, and every tensor of a file that loads must be readable.
 *
 * A seed: the data.pkl of any file that torch.save wrote (unzip -p FILE '*' 'data.pkl'). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zip.h>

#include "import/pt_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[128];

static void remove_file(void)
{
    (void)unlink(path);
}

static void add(zip_t *archive, const char *name, const void *data, size_t size)
{
    const zip_int64_t index = zip_file_add(archive, name, zip_source_buffer(archive, data, size, 0), 0);

    if (index < 0 || zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0)
        abort();
}

static void write_input(const uint8_t *data, size_t size)
{
    static const float storage[64];
    zip_t *archive;
    FILE *file;

    if (size >= 2 && data[0] == 'P' && data[1] == 'K') {
        file = fopen(path, "wb");
        if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
            abort();
        return;
    }
    archive = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    if (!archive)
        abort();
    add(archive, "net/data.pkl", data, size);
    add(archive, "net/data/0", storage, sizeof(storage));
    if (zip_close(archive) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *folder = getenv("TMPDIR");
    lg_pt *file;
    lego_tensor tensor;

    if (!path[0]) {
        (void)snprintf(path, sizeof(path), "%s/fuzz-pt-%ld.pt", folder ? folder : P_tmpdir, (long)getpid());
        (void)atexit(remove_file);
    }
    write_input(data, size);
    if (lg_pt_load(&file, path, NULL) != LEGO_OK)
        return 0;
    for (int32_t i = 0; i < lg_pt_n_tensors(file); i++) {
        const lg_pt_tensor *view = &lg_pt_tensors(file)[i];
        int64_t count;

        if (lg_shape_count(&count, &view->shape, "tensor") != LEGO_OK)
            abort();
        if (count > 1 << 16)
            continue; /* a stride of zero: as large as it likes */
        if (lg_pt_read(&tensor, file, view) != LEGO_OK)
            abort();
        for (size_t byte = 0; byte < lg_tensor_bytes(&tensor); byte++)
            if (((volatile char *)lg_tensor_data(&tensor))[byte] != 0)
                abort();
        lg_tensor_dispose(&tensor);
    }
    lg_pt_free(file);
    return 0;
}
