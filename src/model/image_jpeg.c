/* image_jpeg.c - JPEG through libjpeg-turbo with its defaults (integer DCT, fancy upsampling), as Pillow uses it. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "model/image_format.h"

/* A progressive picture has a dozen scans; thousands of empty ones are an attack on our time. */
enum { MAX_SCANS = 100 };
#define MAX_DECODER_MEMORY (1L << 30)

typedef struct reader {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump; /* the one way out of libjpeg after an error */
    int64_t most; /* pixels */
    const char *name;
    es_error *err;
    es_status status; /* of the error that jumped */
} reader;

static void on_error(j_common_ptr cinfo)
{
    reader *r = cinfo->client_data;
    char text[JMSG_LENGTH_MAX];
    cinfo->err->format_message(cinfo, text);
    const int code = cinfo->err->msg_code;
    if (code == JERR_OUT_OF_MEMORY)
        r->status = es_fail_memory(r->err, r->name, 0);
    else if (code == JWRN_JPEG_EOF || code == JERR_INPUT_EMPTY || code == JERR_INPUT_EOF)
        r->status = es_fail(r->err, ES_ERR_FORMAT, "%s: truncated JPEG picture", r->name);
    else if (code == JERR_NO_BACKING_STORE || code == JERR_IMAGE_TOO_BIG)
        r->status = es_fail(r->err, ES_ERR_LIMIT, "%s: JPEG picture too large: %s", r->name, text);
    else
        r->status = es_fail(r->err, ES_ERR_FORMAT, "%s: damaged JPEG picture: %s", r->name, text);
    longjmp(r->jump, 1);
}

/* Warnings pass, as they do in Pillow, but a file that ends early is an error there too. */
static void on_message(j_common_ptr cinfo, int level)
{
    if (level < 0 && cinfo->err->msg_code == JWRN_JPEG_EOF)
        on_error(cinfo);
}

static void on_output(j_common_ptr cinfo)
{
    (void)cinfo;
}

static void on_progress(j_common_ptr cinfo)
{
    reader *r = cinfo->client_data;
    if (r->cinfo.input_scan_number > MAX_SCANS) {
        r->status = es_fail(r->err, ES_ERR_LIMIT, "%s: JPEG picture of more than %d scans", r->name, (int)MAX_SCANS);
        longjmp(r->jump, 1);
    }
}

static int find_orientation(const struct jpeg_decompress_struct *cinfo)
{
    for (jpeg_saved_marker_ptr m = cinfo->marker_list; m != NULL; m = m->next)
        if (m->data_length >= 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            return es_exif_orientation(m->data, m->data_length);
    return 1;
}

/* Pillow takes every four-channel JPEG for Adobe's, which stores 255 - ink. row: [width, 4] to rgb: [width, 3]. */
static void inverted_cmyk_to_rgb(uint8_t *rgb, const uint8_t *row, size_t width)
{
    for (size_t x = 0; x < width; x++, row += 4, rgb += 3) {
        const int white = row[3];
        for (int c = 0; c < 3; c++) {
            const int product = (255 - row[c]) * white + 128; /* of two bytes; divided by 255, rounded, below */
            rgb[c] = (uint8_t)(white - (((product >> 8) + product) >> 8));
        }
    }
}

static es_status read_picture(reader *r, es_image *image, int *orientation)
{
    struct jpeg_decompress_struct *c = &r->cinfo;
    *orientation = find_orientation(c);
    if (c->num_components != 1 && c->num_components != 3 && c->num_components != 4)
        return es_fail(r->err, ES_ERR_UNSUPPORTED, "%s: JPEG picture of %d channels", r->name, c->num_components);
    ES_TRY(es_image_create(image, c->image_width, c->image_height, r->most, r->name, r->err));
    const bool cmyk = c->num_components == 4;
    c->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(c);
    const size_t width = c->output_width, stride = width * 3;
    JSAMPARRAY line = NULL;
    if (cmyk)
        line = c->mem->alloc_sarray((j_common_ptr)c, JPOOL_IMAGE, (JDIMENSION)(width * 4), 1);
    while (c->output_scanline < c->output_height) {
        uint8_t *to = image->rgb + c->output_scanline * stride;
        JSAMPROW row = to;
        jpeg_read_scanlines(c, cmyk ? line : &row, 1);
        if (cmyk)
            inverted_cmyk_to_rgb(to, line[0], width);
    }
    return ES_OK;
}

/* Everything that libjpeg may jump out of happens below this frame. */
static es_status guarded(reader *r, es_image *image, int *orientation, const uint8_t *bytes, size_t size)
{
    if (setjmp(r->jump) != 0)
        return r->status;
    jpeg_create_decompress(&r->cinfo);
    r->cinfo.client_data = r;
    r->cinfo.progress = &r->progress;
    r->cinfo.mem->max_memory_to_use = MAX_DECODER_MEMORY;
    jpeg_mem_src(&r->cinfo, bytes, (unsigned long)size);
    jpeg_save_markers(&r->cinfo, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&r->cinfo, TRUE);
    return read_picture(r, image, orientation);
}

es_status es_jpeg_decode(es_image *image, int *orientation, const uint8_t *bytes, size_t size, int64_t most,
                         const char *name, es_error *err)
{
    reader r;
    memset(&r, 0, sizeof r);
    r.most = most;
    r.name = name;
    r.err = err;
    r.cinfo.err = jpeg_std_error(&r.errors);
    r.errors.error_exit = on_error;
    r.errors.emit_message = on_message;
    r.errors.output_message = on_output;
    r.progress.progress_monitor = on_progress;
    r.cinfo.client_data = &r;
    es_status status = guarded(&r, image, orientation, bytes, size);
    jpeg_destroy_decompress(&r.cinfo);
    return status;
}
