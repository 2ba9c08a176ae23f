/* Pixels to numbers: (value / 255 - mean) / deviation by channel, centred in the wanted size.
 *
 * Flow: source pixels (c0,h0,w0) -> model input (C,H,W) floats. What is outside the image is pixel value 0 (black), which is not
 * the number 0 after normalisation. Means and deviations are in the table of kinds.c; a grey image that becomes three
 * channels uses the grey constants three times, colours mixed to grey use the mix of theirs. */
#include "data/dataset.h"

/* ITU-R BT.601 luma, the weights of JPEG. */
static const float luma[3] = { 0.299f, 0.587f, 0.114f };

void lg_normaliser_init(lg_normaliser *out, const lg_data_kind *kind, int32_t channels)
{
    for (int32_t c = 0; c < channels; c++) {
        float mean = kind->mean[kind->n_channels == 1 ? 0 : c];
        float std = kind->std[kind->n_channels == 1 ? 0 : c];

        if (channels == 1 && kind->n_channels == 3) {
            mean = std = 0.0f;
            for (int i = 0; i < 3; i++) {
                mean += luma[i] * kind->mean[i];
                std += luma[i] * kind->std[i];
            }
        }
        for (int v = 0; v < 256; v++)
            out->table[c][v] = ((float)v / 255.0f - mean) / std;
    }
}

static uint8_t grey(const uint8_t *pixels, int64_t plane, int64_t i)
{
    return (uint8_t)(luma[0] * pixels[i] + luma[1] * pixels[i + plane] + luma[2] * pixels[i + 2 * plane] + 0.5f);
}

void lg_normalise(float *out, const int32_t shape[3], const lg_normaliser *normaliser, const uint8_t *pixels,
                  const int32_t from[3], const lg_augmentation *augmentation)
{
    int32_t height = shape[1], width = shape[2];
    int32_t top = (height - from[1]) / 2 + augmentation->dy, left = (width - from[2]) / 2 + augmentation->dx;
    int64_t plane = (int64_t)from[1] * from[2];

    for (int32_t c = 0; c < shape[0]; c++) {
        const uint8_t *source = from[0] == 3 && shape[0] == 3 ? pixels + c * plane : pixels;
        const float *table = normaliser->table[c];

        for (int32_t y = 0; y < height; y++) {
            int32_t sy = y - top;

            for (int32_t x = 0; x < width; x++) {
                int32_t sx = (augmentation->flip ? width - 1 - x : x) - left;
                uint8_t value = 0;

                if (sy >= 0 && sy < from[1] && sx >= 0 && sx < from[2]) {
                    int64_t i = (int64_t)sy * from[2] + sx;

                    value = from[0] == 3 && shape[0] == 1 ? grey(pixels, plane, i) : source[i];
                }
                *out++ = table[value];
            }
        }
    }
}
