/* JPEG through libjpeg, its only user.
 *
 * libjpeg's default on an error is to print and exit(); here error_exit jumps back into lg_jpeg_decode(). Everything that must
 * survive the jump lives in `jpeg_job`, outside the registers of the function that called setjmp. A truncated file is a
 * mere warning for libjpeg (it paints the rest grey): for training data it is an error. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "base/alloc.h"
#include "data/image.h"

typedef struct jpeg_job {
    struct jpeg_error_mgr errors; /* first: libjpeg hands back a pointer to it */
    struct jpeg_decompress_struct info;
    jmp_buf escape;
    int truncated;
    char message[JMSG_LENGTH_MAX];
    uint8_t *row;
} jpeg_job;

static void on_error(j_common_ptr info)
{
    jpeg_job *job = (jpeg_job *)info->err;

    job->errors.format_message(info, job->message);
    longjmp(job->escape, 1);
}

static void on_message(j_common_ptr info, int level)
{
    jpeg_job *job = (jpeg_job *)info->err;

    if (level < 0 && job->errors.msg_code == JWRN_JPEG_EOF)
        job->truncated = 1;
}

static void no_output(j_common_ptr info)
{
}

/* One row of interleaved samples into the three planes. Adobe's CMYK is stored inverted: 255 is "no ink". */
static void split_row(uint8_t *pixels, size_t plane, const uint8_t *row, size_t width, int cmyk)
{
    if (!cmyk) {
        for (size_t x = 0; x < width; x++)
            for (size_t c = 0; c < 3; c++)
                pixels[c * plane + x] = row[3 * x + c];
        return;
    }
    for (size_t x = 0; x < width; x++)
        for (size_t c = 0; c < 3; c++)
            pixels[c * plane + x] = (uint8_t)((row[4 * x + c] * row[4 * x + 3] + 127) / 255);
}

/* Runs under the caller's setjmp. */
static lego_status decode(jpeg_job *job, lg_image *out, const uint8_t *data, size_t size, const char *path)
{
    struct jpeg_decompress_struct *info = &job->info;
    int cmyk;
    size_t plane;
    lego_status status;

    jpeg_create_decompress(info);
    jpeg_mem_src(info, data, (unsigned long)size);
    (void)jpeg_read_header(info, TRUE);
    cmyk = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    info->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    if ((status = lg_image_allocate(out, 3, info->image_height, info->image_width, path)) != LEGO_OK)
        return status;
    if ((status = LG_CALLOC(&job->row, (size_t)info->image_width * 4)) != LEGO_OK)
        return status;
    plane = (size_t)out->height * (size_t)out->width;
    (void)jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        size_t y = info->output_scanline;
        JSAMPROW row = job->row;

        (void)jpeg_read_scanlines(info, &row, 1);
        split_row(out->pixels + y * (size_t)out->width, plane, job->row, (size_t)out->width, cmyk);
    }
    (void)jpeg_finish_decompress(info);
    if (job->truncated)
        return lg_error(LEGO_EFORMAT, "%s: truncated JPEG file", path);
    return LEGO_OK;
}

lego_status lg_jpeg_decode(lg_image *out, const uint8_t *data, size_t size, const char *path)
{
    jpeg_job *job = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&job, 1));
    job->info.err = jpeg_std_error(&job->errors);
    job->errors.error_exit = on_error;
    job->errors.emit_message = on_message;
    job->errors.output_message = no_output;
    if (setjmp(job->escape) == 0)
        status = decode(job, out, data, size, path);
    else
        status = lg_error(LEGO_EFORMAT, "%s: %s", path, job->message);
    jpeg_destroy_decompress(&job->info);
done:
    if (job)
        lg_free(job->row);
    lg_free(job);
    return status;
}
