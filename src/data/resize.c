/* Resizing: separable, bilinear, antialiased.
 *
 * Flow: a decoded image of any size -> the size that the model wants. Plain bilinear interpolation looks at four pixels and
 * skips the others when an image shrinks by more than two, which costs accuracy on real photographs; so the triangle is
 * widened by the scale, as Pillow's and torchvision's "antialias" do. Coordinates are those of pixel centres. */
#include <math.h>

#include "base/alloc.h"
#include "data/image.h"

/* For each output position the source pixels it reads and their weights. */
typedef struct filter {
    int32_t *first;
    int32_t *count;
    float *weights; /* n_out * max_count */
    int32_t max_count;
} filter;

static void filter_dispose(filter *f)
{
    lg_free(f->first);
    lg_free(f->count);
    lg_free(f->weights);
}

/* Output i covers the source around (i + 0.5) * scale + offset. */
static lego_status filter_init(filter *f, int32_t n_out, int32_t n_in, double scale, double offset)
{
    double support = scale > 1.0 ? scale : 1.0;
    lego_status status = LEGO_OK;

    f->max_count = (int32_t)ceil(support) * 2 + 1;
    LG_TRY(LG_CALLOC(&f->first, n_out));
    LG_TRY(LG_CALLOC(&f->count, n_out));
    LG_TRY(LG_CALLOC(&f->weights, (size_t)n_out * (size_t)f->max_count));
    for (int32_t i = 0; i < n_out; i++) {
        float *weights = f->weights + (size_t)i * (size_t)f->max_count;
        double center = ((double)i + 0.5) * scale + offset, sum = 0.0;
        int32_t first = (int32_t)fmax(0.0, floor(center - support + 0.5));
        int32_t last = (int32_t)fmin((double)n_in, floor(center + support + 0.5));

        if (first > n_in - 1)
            first = n_in - 1;
        if (last <= first)
            last = first + 1;
        if (last - first > f->max_count)
            last = first + f->max_count;
        for (int32_t j = first; j < last; j++) {
            double weight = 1.0 - fabs(((double)j + 0.5 - center) / support);

            weights[j - first] = weight > 0.0 ? (float)weight : 0.0f;
            sum += weights[j - first];
        }
        if (sum <= 0.0) { /* outside: the edge pixel */
            weights[0] = 1.0f;
            sum = 1.0;
        }
        for (int32_t j = first; j < last; j++)
            weights[j - first] = (float)(weights[j - first] / sum);
        f->first[i] = first;
        f->count[i] = last - first;
    }
done:
    return status;
}

static uint8_t to_byte(float value)
{
    return value <= 0.0f ? 0 : value >= 255.0f ? 255 : (uint8_t)(value + 0.5f);
}

lego_status lg_image_resize(uint8_t *out, int32_t height, int32_t width, const uint8_t *pixels, int32_t channels,
                            int32_t from_height, int32_t from_width)
{
    double scale = fmin((double)from_height / height, (double)from_width / width);
    filter rows = { NULL, NULL, NULL, 0 }, columns = { NULL, NULL, NULL, 0 };
    float *lines = NULL; /* one plane: from_height rows of the wanted width */
    lego_status status = LEGO_OK;

    LG_TRY(filter_init(&rows, height, from_height, scale, (from_height - scale * height) / 2.0));
    LG_TRY(filter_init(&columns, width, from_width, scale, (from_width - scale * width) / 2.0));
    LG_TRY(LG_CALLOC(&lines, (size_t)from_height * (size_t)width));
    for (int32_t c = 0; c < channels; c++) {
        const uint8_t *plane = pixels + (size_t)c * (size_t)from_height * (size_t)from_width;

        for (int32_t y = 0; y < from_height; y++) {
            const uint8_t *source = plane + (size_t)y * (size_t)from_width;

            for (int32_t x = 0; x < width; x++) {
                const float *weights = columns.weights + (size_t)x * (size_t)columns.max_count;
                float sum = 0.0f;

                for (int32_t k = 0; k < columns.count[x]; k++)
                    sum += weights[k] * (float)source[columns.first[x] + k];
                lines[(size_t)y * (size_t)width + (size_t)x] = sum;
            }
        }
        for (int32_t y = 0; y < height; y++) {
            const float *weights = rows.weights + (size_t)y * (size_t)rows.max_count;

            for (int32_t x = 0; x < width; x++) {
                float sum = 0.0f;

                for (int32_t k = 0; k < rows.count[y]; k++)
                    sum += weights[k] * lines[(size_t)(rows.first[y] + k) * (size_t)width + (size_t)x];
                *out++ = to_byte(sum);
            }
        }
    }
done:
    lg_free(lines);
    filter_dispose(&columns);
    filter_dispose(&rows);
    return status;
}
