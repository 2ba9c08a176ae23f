/* Image files by what they hold, not by their name: many ".jpg" of real data sets are PNG.
 *
 * Flow: imagefolder.c's file names -> pixels (C,H,W), 8 bit -> resize.c -> normalise.c. Sizes in headers are bounded before
 * anything is allocated: a 50-byte file may claim 2^31 x 2^31 pixels. */
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/file.h"
#include "data/image.h"

#define MAX_FILE_BYTES ((size_t)1 << 28)

int lg_image_is_name(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 || strcasecmp(dot, ".png") == 0);
}

lego_status lg_image_allocate(lg_image *out, int64_t channels, int64_t height, int64_t width, const char *path)
{
    if (height < 1 || width < 1 || height > LG_IMAGE_MAX_EXTENT || width > LG_IMAGE_MAX_EXTENT ||
        height * width > LG_IMAGE_MAX_PIXELS)
        return lg_error(LEGO_EFORMAT, "%s: %lld x %lld pixels, allowed are 1 to %d each and %lld together", path,
                        (long long)width, (long long)height, LG_IMAGE_MAX_EXTENT, (long long)LG_IMAGE_MAX_PIXELS);
    out->channels = (int32_t)channels;
    out->height = (int32_t)height;
    out->width = (int32_t)width;
    return LG_CALLOC(&out->pixels, channels * height * width);
}

void lg_image_dispose(lg_image *image)
{
    lg_free(image->pixels);
    *image = (lg_image){ 0, 0, 0, NULL };
}

lego_status lg_image_load(lg_image *out, const char *path)
{
    static const uint8_t png[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    static const uint8_t jpeg[2] = { 0xff, 0xd8 };
    char *data = NULL;
    size_t size = 0;
    lego_status status = LEGO_OK;

    *out = (lg_image){ 0, 0, 0, NULL };
    LG_TRY(lg_file_read(&data, &size, path, MAX_FILE_BYTES));
    if (size >= sizeof(png) && memcmp(data, png, sizeof(png)) == 0)
        LG_TRY(lg_png_decode(out, (const uint8_t *)data, size, path));
    else if (size >= sizeof(jpeg) && memcmp(data, jpeg, sizeof(jpeg)) == 0)
        LG_TRY(lg_jpeg_decode(out, (const uint8_t *)data, size, path));
    else
        LG_FAIL(LEGO_EFORMAT, "%s: neither a JPEG nor a PNG file", path);
done:
    if (status != LEGO_OK)
        lg_image_dispose(out);
    lg_free(data);
    return status;
}
