/* IDX files: the format of MNIST and its family (Fashion-MNIST), plain or gzipped.
 *
 * Flow: folder -> lg_source with all images of the training or the test files in memory, for dataset.c to split.
 * Format (yann.lecun.com/exdb/mnist): bytes 0, 0, type (8 = unsigned byte), number of dimensions, then each extent as a
 * big-endian 32-bit number, then the elements. Newcomers trip over two things: the header's numbers are a claim, checked
 * here against the bytes that really come; and zlib reads plain files too, so there is one path for both. */
#include <zlib.h>

#include "base/alloc.h"
#include "base/file.h"
#include "data/source.h"

#define IDX_TYPE_U8 8
#define IDX_MAX_EXTENT 4096
#define IDX_MAX_BYTES ((int64_t)1 << 31)
#define IDX_READ_CHUNK ((int64_t)1 << 24)

static lego_status read_failed(gzFile file, const char *path)
{
    int code = Z_OK;
    const char *reason = gzerror(file, &code);

    if (code == Z_OK || code == Z_BUF_ERROR)
        return lg_error(LEGO_EFORMAT, "%s: truncated", path);
    if (code == Z_MEM_ERROR)
        return lg_error(LEGO_ENOMEM, "%s: zlib is out of memory", path);
    return lg_error(code == Z_ERRNO ? LEGO_EIO : LEGO_EFORMAT, "%s: %s", path, reason);
}

static lego_status read_bytes(gzFile file, const char *path, uint8_t *out, int64_t n)
{
    while (n > 0) {
        unsigned want = (unsigned)(n < IDX_READ_CHUNK ? n : IDX_READ_CHUNK);
        int got = gzread(file, out, want);

        if (got <= 0)
            return read_failed(file, path);
        out += got;
        n -= got;
    }
    return LEGO_OK;
}

/* One more read has to say "end": it also makes zlib compare the checksum. */
static lego_status expect_end(gzFile file, const char *path)
{
    uint8_t extra;
    int code = Z_OK;
    int got = gzread(file, &extra, 1);

    if (got > 0)
        return lg_error(LEGO_EFORMAT, "%s: holds more bytes than its header says", path);
    (void)gzerror(file, &code);
    if (got < 0 || code != Z_OK)
        return read_failed(file, path);
    return LEGO_OK;
}

/* Read the header; `dims` receives n_dims extents. */
static lego_status read_header(gzFile file, const char *path, int n_dims, int64_t *dims)
{
    uint8_t head[4 + 4 * 3];
    lego_status status = read_bytes(file, path, head, 4 + 4 * n_dims);

    if (status != LEGO_OK)
        return status;
    if (head[0] != 0 || head[1] != 0 || head[2] != IDX_TYPE_U8 || head[3] != n_dims)
        return lg_error(LEGO_EFORMAT, "%s: starts with %02x%02x%02x%02x, an IDX file of bytes in %d dimensions with "
                        "000008%02x", path, head[0], head[1], head[2], head[3], n_dims, (unsigned)n_dims);
    for (int i = 0; i < n_dims; i++) {
        const uint8_t *p = head + 4 + 4 * i;

        dims[i] = (int64_t)(((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3]);
    }
    return LEGO_OK;
}

/* A whole file of `n_dims` dimensions. */
static lego_status read_file(uint8_t **out, int64_t *dims, const char *path, int n_dims)
{
    gzFile file = gzopen(path, "rb");
    uint8_t *bytes = NULL;
    int64_t total;
    lego_status status = LEGO_OK;

    if (!file)
        return lg_error(LEGO_EIO, "%s: cannot be opened", path);
    (void)gzbuffer(file, 1u << 17);
    LG_TRY(read_header(file, path, n_dims, dims));
    if (dims[0] == 0)
        LG_FAIL(LEGO_EFORMAT, "%s: holds no samples", path);
    total = dims[0];
    for (int i = 1; i < n_dims; i++) {
        if (dims[i] < 1 || dims[i] > IDX_MAX_EXTENT)
            LG_FAIL(LEGO_EFORMAT, "%s: images of extent %lld, allowed are 1 to %d", path, (long long)dims[i],
                    IDX_MAX_EXTENT);
        total *= dims[i]; /* at most 2^32 * 2^12 * 2^12 */
    }
    if (total > IDX_MAX_BYTES)
        LG_FAIL(LEGO_EFORMAT, "%s: claims %lld bytes of samples, allowed are %lld", path, (long long)total,
                (long long)IDX_MAX_BYTES);
    LG_TRY(LG_CALLOC(&bytes, total));
    LG_TRY(read_bytes(file, path, bytes, total));
    LG_TRY(expect_end(file, path));
    *out = bytes;
    bytes = NULL;
done:
    lg_free(bytes);
    (void)gzclose(file);
    return status;
}

/* "train-images-idx3-ubyte", also with a dot as some mirrors have it, also gzipped. */
static lego_status find_file(char **out, const lg_data_kind *kind, const char *folder, const char *stem, int n_dims)
{
    for (int form = 0; form < 4; form++) {
        char *path = lg_asprintf("%s/%s%cidx%d-ubyte%s", folder, stem, form & 1 ? '.' : '-', n_dims,
                                 form & 2 ? ".gz" : "");

        if (!path)
            return lg_error(LEGO_ENOMEM, "out of memory");
        if (lg_file_exists(path)) {
            *out = path;
            return LEGO_OK;
        }
        lg_free(path);
    }
    return lg_data_missing(kind, folder, stem);
}

lego_status lg_idx_open(lg_source *out, const lg_data_kind *kind, const char *folder, lego_split split)
{
    int test = split == LEGO_SPLIT_TEST;
    int64_t image_dims[3], label_dims[1];
    char *image_path = NULL, *label_path = NULL;
    uint8_t *labels = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(find_file(&image_path, kind, folder, test ? "t10k-images" : "train-images", 3));
    LG_TRY(find_file(&label_path, kind, folder, test ? "t10k-labels" : "train-labels", 1));
    LG_TRY(read_file(&labels, label_dims, label_path, 1));
    LG_TRY(read_file(&out->pixels, image_dims, image_path, 3));
    if (image_dims[0] != label_dims[0])
        LG_FAIL(LEGO_EFORMAT, "%s: holds %lld images, but %s %lld labels", image_path, (long long)image_dims[0],
                label_path, (long long)label_dims[0]);
    out->n = image_dims[0];
    out->shape[0] = 1;
    out->shape[1] = (int32_t)image_dims[1];
    out->shape[2] = (int32_t)image_dims[2];
    out->n_classes = kind->n_classes;
    out->cut = test ? LG_CUT_NONE : LG_CUT_VAL;
    LG_TRY(LG_CALLOC(&out->labels, out->n));
    for (int64_t i = 0; i < out->n; i++) {
        if (labels[i] >= kind->n_classes)
            LG_FAIL(LEGO_EFORMAT, "%s: label %d of sample %lld, allowed are 0 to %d", label_path, labels[i],
                    (long long)i, kind->n_classes - 1);
        out->labels[i] = labels[i];
    }
done:
    lg_free(labels);
    lg_free(label_path);
    lg_free(image_path);
    return status;
}
