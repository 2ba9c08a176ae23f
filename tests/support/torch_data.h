/* A small data set on disk that a small network learns in seconds: 12x12 images, a bright patch says the class. */
#ifndef LG_TESTS_TORCH_DATA_H
#define LG_TESTS_TORCH_DATA_H

#include "support/files.h"

#include "base/rng.h"
#include "legodnn/data.h"

#define TINY_SIDE 12
#define TINY_CLASSES 4

static inline void tiny_be32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* The files of `prefix` ("train", "t10k"): n images; class c is a patch in one of four corners, on noise. */
static inline void write_tiny_part(const char *folder, const char *prefix, uint32_t n, uint64_t seed)
{
    const size_t pixels = TINY_SIDE * TINY_SIDE;
    uint8_t *images = lg_calloc(16 + n * pixels, 1), *labels = lg_calloc(8 + n, 1);
    char name[64];
    lg_rng rng;

    lg_rng_init(&rng, seed, 1);
    tiny_be32(images, 0x803);
    tiny_be32(images + 4, n);
    tiny_be32(images + 8, TINY_SIDE);
    tiny_be32(images + 12, TINY_SIDE);
    tiny_be32(labels, 0x801);
    tiny_be32(labels + 4, n);
    for (uint32_t i = 0; i < n; i++) {
        const int c = (int)(i % TINY_CLASSES), top = c / 2 * 6 + 1, left = c % 2 * 6 + 1;
        uint8_t *image = images + 16 + i * pixels;

        labels[8 + i] = (uint8_t)c;
        for (size_t k = 0; k < pixels; k++)
            image[k] = (uint8_t)lg_rng_below(&rng, 140);
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 4; x++)
                image[(top + y) * TINY_SIDE + left + x] = (uint8_t)(110 + lg_rng_below(&rng, 140));
    }
    snprintf(name, sizeof(name), "%s-images-idx3-ubyte", prefix);
    write_file(folder, name, images, 16 + n * pixels);
    snprintf(name, sizeof(name), "%s-labels-idx1-ubyte", prefix);
    write_file(folder, name, labels, 8 + n);
    lg_free(images);
    lg_free(labels);
}

/* cmocka setup: a folder with the data set in it. */
static inline int make_tiny_data(void **state)
{
    if (make_folder(state) != 0)
        return -1;
    write_tiny_part(*state, "train", 400, 1);
    write_tiny_part(*state, "t10k", 100, 2);
    return 0;
}

static inline lego_dataset *open_tiny_data(void **state, lego_context *context, lego_split split)
{
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    lego_dataset *dataset = NULL;
    char *spec = lg_asprintf("mnist:%s", (const char *)*state);

    options.split = split;
    assert_ok(lego_dataset_open(&dataset, context, spec, &options));
    lg_free(spec);
    return dataset;
}

#endif
