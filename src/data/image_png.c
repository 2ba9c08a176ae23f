/* PNG through libpng's simplified interface, its only user: it catches its own errors, reduces 16 bit and palettes to 8 bit
 * sRGB and lays transparent pixels on black. */
#include <png.h>

#include "base/alloc.h"
#include "data/image.h"

lego_status lg_png_decode(lg_image *out, const uint8_t *data, size_t size, const char *path)
{
    static const png_color black = { 0, 0, 0 };
    png_image png = { .version = PNG_IMAGE_VERSION };
    uint8_t *rgb = NULL;
    size_t plane;
    lego_status status = LEGO_OK;

    if (!png_image_begin_read_from_memory(&png, data, size))
        LG_FAIL(LEGO_EFORMAT, "%s: %s", path, png.message);
    png.format = PNG_FORMAT_RGB;
    LG_TRY(lg_image_allocate(out, 3, png.height, png.width, path));
    plane = (size_t)out->height * (size_t)out->width;
    LG_TRY(LG_CALLOC(&rgb, plane * 3));
    if (!png_image_finish_read(&png, &black, rgb, 0, NULL))
        LG_FAIL(LEGO_EFORMAT, "%s: %s", path, png.message);
    for (size_t i = 0; i < plane; i++)
        for (size_t c = 0; c < 3; c++)
            out->pixels[c * plane + i] = rgb[3 * i + c];
done:
    png_image_free(&png);
    lg_free(rgb);
    return status;
}
