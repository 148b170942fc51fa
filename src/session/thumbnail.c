#include "session/thumbnail.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "base/mem.h"

#define QUALITY 60

typedef struct writer {
    struct jpeg_compress_struct cinfo;
    struct jpeg_error_mgr errors;
    jmp_buf jump;
    unsigned char *out; /* libjpeg's own allocation, by malloc */
    unsigned long size;
} writer;

static void on_error(j_common_ptr cinfo)
{
    writer *w = cinfo->client_data;
    longjmp(w->jump, 1);
}

static void on_message(j_common_ptr cinfo, int level)
{
    (void)cinfo, (void)level;
}

/* small: [height, width, 3], each pixel the mean of those it stands for. */
static void shrink(const es_image *image, uint8_t *small, size_t width, size_t height)
{
    size_t w = (size_t)image->width, h = (size_t)image->height;
    for (size_t y = 0; y < height; y++) {
        for (size_t x = 0; x < width; x++) {
            size_t x0 = x * w / width, x1 = (x + 1) * w / width, y0 = y * h / height, y1 = (y + 1) * h / height;
            uint32_t sum[3] = {0}, n = 0;
            for (size_t r = y0; r < y1; r++)
                for (size_t c = x0; c < x1; c++, n++)
                    for (size_t k = 0; k < 3; k++)
                        sum[k] += image->rgb[(r * w + c) * 3 + k];
            for (size_t k = 0; k < 3; k++)
                small[(y * width + x) * 3 + k] = (uint8_t)(sum[k] / n);
        }
    }
}

static int compress(writer *w, uint8_t *pixels, size_t width, size_t height)
{
    w->cinfo.err = jpeg_std_error(&w->errors);
    w->errors.error_exit = on_error;
    w->errors.emit_message = on_message;
    w->cinfo.client_data = w;
    if (setjmp(w->jump) != 0) {
        jpeg_destroy_compress(&w->cinfo);
        free(w->out);
        w->out = NULL;
        return -1;
    }
    jpeg_create_compress(&w->cinfo);
    jpeg_mem_dest(&w->cinfo, &w->out, &w->size);
    w->cinfo.image_width = (JDIMENSION)width;
    w->cinfo.image_height = (JDIMENSION)height;
    w->cinfo.input_components = 3;
    w->cinfo.in_color_space = JCS_RGB;
    jpeg_set_defaults(&w->cinfo);
    jpeg_set_quality(&w->cinfo, QUALITY, TRUE);
    jpeg_start_compress(&w->cinfo, TRUE);
    while (w->cinfo.next_scanline < height) {
        JSAMPROW row = pixels + (size_t)w->cinfo.next_scanline * width * 3;
        jpeg_write_scanlines(&w->cinfo, &row, 1);
    }
    jpeg_finish_compress(&w->cinfo);
    jpeg_destroy_compress(&w->cinfo);
    return 0;
}

es_status es_thumbnail_make(const es_image *image, uint8_t **jpeg, size_t *size, es_error *err)
{
    size_t w = (size_t)image->width, h = (size_t)image->height;
    size_t width = w < ES_THUMBNAIL_WIDTH ? w : ES_THUMBNAIL_WIDTH, height = h * width / w;
    height = height == 0 ? 1 : height > 4 * ES_THUMBNAIL_WIDTH ? 4 * ES_THUMBNAIL_WIDTH : height;
    *jpeg = NULL;
    *size = 0;
    uint8_t *small = es_calloc(width * height, 3);
    writer *out = es_calloc(1, sizeof *out);
    es_status status = ES_OK;
    if (small == NULL || out == NULL) {
        status = es_fail_memory(err, "a thumbnail", width * height * 3);
    } else {
        shrink(image, small, width, height);
        if (compress(out, small, width, height) != 0)
            status = es_fail_memory(err, "a thumbnail", 0);
        *jpeg = out->out;
        *size = out->size;
    }
    free(small);
    free(out);
    return status;
}
