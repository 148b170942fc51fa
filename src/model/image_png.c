/* image_png.c - PNG through libpng's low-level interface, with the conversions that PIL makes. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "model/image_format.h"

enum {
    MAX_CHUNK_BYTES = 8 << 20,
    MAX_CACHED_CHUNKS = 16
}; /* for the chunks that are kept: PLTE, eXIf and small ones */

typedef struct reader {
    png_structp png;
    png_infop info;
    jmp_buf jump; /* the one way out of libpng after an error */
    const uint8_t *bytes;
    size_t size, at;
    int64_t most; /* pixels */
    const char *name;
    es_error *err;
    bool out_of_memory, truncated;
    char text[128]; /* libpng's own words */
    uint8_t palette[256][3];
} reader;

static void on_error(png_structp png, png_const_charp text)
{
    reader *r = png_get_error_ptr(png);
    strncpy(r->text, text, sizeof r->text - 1);
    longjmp(r->jump, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t size)
{
    reader *r = png_get_mem_ptr(png);
    void *block = malloc(size);
    if (block == NULL)
        r->out_of_memory = true;
    return block;
}

static void on_free(png_structp png, png_voidp block)
{
    (void)png;
    free(block);
}

static void on_read(png_structp png, png_bytep to, size_t n)
{
    reader *r = png_get_io_ptr(png);
    if (n > r->size - r->at) {
        r->truncated = true;
        png_error(png, "unexpected end");
    }
    memcpy(to, r->bytes + r->at, n);
    r->at += n;
}

/* What we never use is not even unpacked: profiles, texts, thumbnails. */
static void ignore_chunks(png_structp png)
{
    static const uint8_t names[] = "iCCP\0zTXt\0iTXt\0tEXt\0sPLT\0hIST\0pCAL\0sCAL\0gAMA\0cHRM\0sRGB\0bKGD\0tIME";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, 0);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, names, sizeof names / 5);
}

/* Asks libpng for rows of 8-bit samples without alpha (16-bit for grey); colour channels stay as they are. */
static void set_transforms(reader *r, int depth, int colour)
{
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        png_colorp entries = NULL;
        int count = 0;
        png_get_PLTE(r->png, r->info, &entries, &count);
        for (int i = 0; i < count && i < 256; i++) {
            r->palette[i][0] = entries[i].red;
            r->palette[i][1] = entries[i].green;
            r->palette[i][2] = entries[i].blue;
        }
        png_set_packing(r->png);
    } else if (colour == PNG_COLOR_TYPE_GRAY && depth < 8) {
        png_set_expand_gray_1_2_4_to_8(r->png);
    } else if (depth == 16 && colour != PNG_COLOR_TYPE_GRAY) {
        png_set_strip_16(r->png);
    }
    if (colour & PNG_COLOR_MASK_ALPHA)
        png_set_strip_alpha(r->png);
}

/* A row of grey, 16-bit grey or palette samples becomes RGB where it lies; from the right, as it grows. */
static void expand_row(uint8_t *row, size_t width, int depth, int colour, uint8_t palette[256][3])
{
    for (size_t x = width; x-- > 0;) {
        uint8_t *to = row + 3 * x;
        if (colour == PNG_COLOR_TYPE_PALETTE) {
            memcpy(to, palette[row[x]], 3);
        } else if (colour == PNG_COLOR_TYPE_GRAY && depth == 16) {
            to[0] = to[1] = to[2] = row[2 * x] != 0 ? 255 : row[2 * x + 1]; /* PIL clips I;16 */
        } else {
            to[0] = to[1] = to[2] = row[x];
        }
    }
}

static es_status read_picture(reader *r, es_image *image, int *orientation)
{
    png_uint_32 width, height;
    int depth, colour, interlace;
    png_get_IHDR(r->png, r->info, &width, &height, &depth, &colour, &interlace, NULL, NULL);
    ES_TRY(es_image_create(image, width, height, r->most, r->name, r->err));
    set_transforms(r, depth, colour);
    const int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    const size_t stride = (size_t)width * 3;
    if (png_get_rowbytes(r->png, r->info) > stride)
        return es_fail(r->err, ES_ERR_INTERNAL, "%s: PNG rows wider than expected", r->name);
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < height; y++)
            png_read_row(r->png, image->rgb + y * stride, NULL);
    png_read_end(r->png, r->info);
    if (r->out_of_memory) /* libpng drops a chunk that it had no memory for, and says nothing */
        return es_fail_memory(r->err, r->name, 0);
    if ((colour & ~PNG_COLOR_MASK_ALPHA) != PNG_COLOR_TYPE_RGB)
        for (size_t y = 0; y < height; y++)
            expand_row(image->rgb + y * stride, width, depth, colour, r->palette);
    png_uint_32 exif_size = 0;
    png_bytep exif = NULL;
    if (png_get_eXIf_1(r->png, r->info, &exif_size, &exif) != 0)
        *orientation = es_exif_orientation(exif, exif_size);
    return ES_OK;
}

/* Everything that libpng may jump out of happens below this frame. */
static es_status guarded(reader *r, es_image *image, int *orientation)
{
    if (setjmp(r->jump) != 0) {
        if (r->out_of_memory)
            return es_fail_memory(r->err, r->name, 0);
        if (r->truncated)
            return es_fail(r->err, ES_ERR_FORMAT, "%s: truncated PNG picture", r->name);
        return es_fail(r->err, ES_ERR_FORMAT, "%s: damaged PNG picture: %s", r->name, r->text);
    }
    r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, on_error, on_warning, r, on_malloc, on_free);
    if (r->png != NULL)
        r->info = png_create_info_struct(r->png);
    if (r->info == NULL)
        return es_fail_memory(r->err, r->name, 0);
    png_set_read_fn(r->png, r, on_read);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* es_image_create judges the size */
    png_set_chunk_cache_max(r->png, MAX_CACHED_CHUNKS);
    png_set_chunk_malloc_max(r->png, MAX_CHUNK_BYTES);
    ignore_chunks(r->png);
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    png_set_crc_action(r->png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE); /* or no mutation gets past the checksums */
#endif
    png_read_info(r->png, r->info);
    return read_picture(r, image, orientation);
}

es_status es_png_decode(es_image *image, int *orientation, const uint8_t *bytes, size_t size, int64_t most,
                        const char *name, es_error *err)
{
    reader r;
    memset(&r, 0, sizeof r);
    r.bytes = bytes;
    r.size = size;
    r.most = most;
    r.name = name;
    r.err = err;
    es_status status = guarded(&r, image, orientation);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    return status;
}
