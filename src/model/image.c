#include "model/image.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/image_format.h"

es_status es_image_create(es_image *image, int64_t width, int64_t height, int64_t most, const char *name, es_error *err)
{
    *image = (es_image){0};
    if (width < 1 || height < 1)
        return es_fail(err, ES_ERR_FORMAT, "%s: an empty picture (%lld x %lld)", name, (long long)width,
                       (long long)height);
    if (width > INT32_MAX || height > INT32_MAX || width * height > most)
        return es_fail(err, ES_ERR_LIMIT, "%s: %lld x %lld is more than the %lld pixels allowed; make it smaller", name,
                       (long long)width, (long long)height, (long long)most);
    image->rgb = es_calloc((size_t)(width * height), 3);
    if (image->rgb == NULL)
        return es_fail_memory(err, name, (size_t)(width * height) * 3);
    image->width = (int32_t)width;
    image->height = (int32_t)height;
    return ES_OK;
}

void es_image_free(es_image *image)
{
    free(image->rgb);
    *image = (es_image){0};
}

/* Turns and mirrors the picture the way EXIF orientations 2-8 ask to see it upright. */
static es_status orient(es_image *image, int orientation, const char *name, es_error *err)
{
    if (orientation < 2 || orientation > 8)
        return ES_OK;
    const int32_t w = image->width, h = image->height;
    const bool swap = orientation >= 5;
    es_image to;
    ES_TRY(es_image_create(&to, swap ? h : w, swap ? w : h, ES_IMAGE_MAX_PIXELS, name, err));
    /* The source of (x, y) is at x, y counted from the right or the bottom where mirrored, sides exchanged by swap. */
    const bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    uint8_t *out = to.rgb;
    for (int32_t y = 0; y < to.height; y++) {
        for (int32_t x = 0; x < to.width; x++) {
            int32_t sx = swap ? y : x, sy = swap ? x : y;
            if (mirror_x)
                sx = w - 1 - sx;
            if (mirror_y)
                sy = h - 1 - sy;
            const uint8_t *in = image->rgb + ((size_t)sy * (size_t)w + (size_t)sx) * 3;
            *out++ = in[0];
            *out++ = in[1];
            *out++ = in[2];
        }
    }
    es_image_free(image);
    *image = to;
    return ES_OK;
}

es_status es_image_decode_within(es_image *image, const void *bytes, size_t size, int64_t most, const char *name,
                                 es_error *err)
{
    const uint8_t *p = bytes;
    int orientation = 1;
    es_status status;
    *image = (es_image){0};
    if (size == 0)
        return es_fail(err, ES_ERR_FORMAT, "%s: empty, not a picture", name);
    if (size >= 3 && memcmp(p, "\xff\xd8\xff", 3) == 0)
        status = es_jpeg_decode(image, &orientation, p, size, most, name, err);
    else if (size >= 8 && memcmp(p, "\x89PNG\r\n\x1a\n", 8) == 0)
        status = es_png_decode(image, &orientation, p, size, most, name, err);
    else if (size >= 12 && memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WEBP", 4) == 0)
        status = es_webp_decode(image, &orientation, p, size, most, name, err);
    else
        return es_fail(err, ES_ERR_FORMAT, "%s: not a JPEG, PNG or WebP picture", name);
    if (status == ES_OK)
        status = orient(image, orientation, name, err);
    if (status != ES_OK)
        es_image_free(image);
    return status;
}

es_status es_image_decode(es_image *image, const void *bytes, size_t size, const char *name, es_error *err)
{
    return es_image_decode_within(image, bytes, size, ES_IMAGE_MAX_PIXELS, name, err);
}

es_status es_image_load(es_image *image, const char *path, es_error *err)
{
    char *bytes;
    size_t size;
    *image = (es_image){0};
    ES_TRY(es_file_read(path, (size_t)ES_IMAGE_MAX_FILE, &bytes, &size, err));
    es_status status = es_image_decode(image, bytes, size, path, err);
    free(bytes);
    return status;
}

static uint32_t read_uint(const uint8_t *p, size_t bytes, bool big_endian)
{
    uint32_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v |= (uint32_t)p[i] << (8 * (big_endian ? bytes - 1 - i : i));
    return v;
}

int es_exif_orientation(const uint8_t *bytes, size_t size)
{
    enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, TYPE_LONG = 4 }; /* TIFF 6.0 */
    while (size >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0) {
        bytes += 6;
        size -= 6;
    }
    if (size < 8 || (memcmp(bytes, "II*\0", 4) != 0 && memcmp(bytes, "MM\0*", 4) != 0))
        return 1;
    const bool big = bytes[0] == 'M';
    const size_t ifd = read_uint(bytes + 4, 4, big);
    if (ifd > size - 2)
        return 1;
    const size_t entries = read_uint(bytes + ifd, 2, big);
    for (size_t i = 0; i < entries; i++) {
        const size_t at = ifd + 2 + 12 * i;
        if (at + 12 > size)
            return 1;
        if (read_uint(bytes + at, 2, big) != TAG_ORIENTATION)
            continue;
        const uint32_t type = read_uint(bytes + at + 2, 2, big);
        const size_t width = type == TYPE_SHORT ? 2 : type == TYPE_LONG ? 4 : 0;
        const uint32_t count = read_uint(bytes + at + 4, 4, big);
        if (count < 1 || count > 2 || count * width > 4) /* the value is in the entry itself; the first one counts */
            return 1;
        const uint32_t value = read_uint(bytes + at + 8, width, big);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}
