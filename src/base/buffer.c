/* Reference-counted bytes.
 *
 * A mapped file stays readable after its name was replaced by an atomic write: the mapping keeps the old inode. A file
 * that is truncated in place under us would raise SIGBUS, which is why every writer of ours renames instead. */
#include "base/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

struct lg_buffer {
    atomic_int references;
    int mapped;
    void *data;
    size_t size;
};

lego_status lg_buffer_create(lg_buffer **out, size_t bytes)
{
    lg_buffer *buffer = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&buffer, 1));
    atomic_init(&buffer->references, 1);
    buffer->size = bytes;
    buffer->data = lg_alloc_aligned(bytes);
    if (!buffer->data)
        LG_FAIL(LEGO_ENOMEM, "out of memory: a buffer of %zu bytes", bytes);
    memset(buffer->data, 0, bytes);
    *out = buffer;
    buffer = NULL;
done:
    lg_buffer_unref(buffer);
    return status;
}

lego_status lg_buffer_map(lg_buffer **out, const char *path)
{
    lg_buffer *buffer = NULL;
    struct stat info;
    int file = -1;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&buffer, 1));
    atomic_init(&buffer->references, 1);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        LG_FAIL(errno == ENOENT ? LEGO_ENOTFOUND : LEGO_EIO, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(file, &info) != 0)
        LG_FAIL(LEGO_EIO, "%s: cannot read its size: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        LG_FAIL(LEGO_EIO, "%s: not a regular file", path);
    if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (data == MAP_FAILED)
            LG_FAIL(LEGO_EIO, "%s: cannot map: %s", path, strerror(errno));
        buffer->data = data;
        buffer->size = (size_t)info.st_size;
        buffer->mapped = 1;
    }
    *out = buffer;
    buffer = NULL;
done:
    if (file >= 0)
        close(file);
    lg_buffer_unref(buffer);
    return status;
}

lg_buffer *lg_buffer_ref(lg_buffer *buffer)
{
    if (buffer)
        atomic_fetch_add_explicit(&buffer->references, 1, memory_order_relaxed);
    return buffer;
}

void lg_buffer_unref(lg_buffer *buffer)
{
    if (!buffer || atomic_fetch_sub_explicit(&buffer->references, 1, memory_order_acq_rel) != 1)
        return;
    if (buffer->mapped)
        munmap(buffer->data, buffer->size);
    else
        lg_free_aligned(buffer->data);
    lg_free(buffer);
}

void *lg_buffer_data(const lg_buffer *buffer)
{
    return buffer->data;
}

size_t lg_buffer_size(const lg_buffer *buffer)
{
    return buffer->size;
}

int lg_buffer_is_mapped(const lg_buffer *buffer)
{
    return buffer->mapped;
}
