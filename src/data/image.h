/* Decoded images: 8 bit, channel-major (C,H,W), and how they are brought to another size. */
#ifndef LG_DATA_IMAGE_H
#define LG_DATA_IMAGE_H

#include "base/status.h"

#define LG_IMAGE_MAX_EXTENT 32768
#define LG_IMAGE_MAX_PIXELS ((int64_t)1 << 27)

typedef struct lg_image {
    int32_t channels, height, width;
    uint8_t *pixels; /* channel-major; lg_free */
} lg_image;

/* An image file by its content, JPEG or PNG, as RGB. Free with lg_image_dispose(). */
lego_status lg_image_load(lg_image *out, const char *path);
void lg_image_dispose(lg_image *image);
int lg_image_is_name(const char *name); /* .jpg .jpeg .png, any case */

/* `path` names the image in errors. RGB, rows from the top, interleaved in `data` of size bytes. */
lego_status lg_jpeg_decode(lg_image *out, const uint8_t *data, size_t size, const char *path);
lego_status lg_png_decode(lg_image *out, const uint8_t *data, size_t size, const char *path);
/* Check a header's size and allocate the pixels. */
lego_status lg_image_allocate(lg_image *out, int64_t channels, int64_t height, int64_t width, const char *path);

/* Scale a plane-wise image so that it covers height x width, and cut the middle out: bilinear, with the filter widened
 * when shrinking, so that nothing is skipped (as Pillow does it). */
lego_status lg_image_resize(uint8_t *out, int32_t height, int32_t width, const uint8_t *pixels, int32_t channels,
                            int32_t from_height, int32_t from_width);

#endif
