/* image_webp.c - still WebP pictures, lossy and lossless, through libwebp. */
#include <stdint.h>
#include <string.h>

#include <webp/decode.h>

#include "model/image_format.h"

static uint32_t read_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Walks the RIFF chunks (after the 12-byte header; each is padded to an even size) to the one named EXIF. */
static int find_orientation(const uint8_t *bytes, size_t size)
{
    size_t at = 12;
    while (size - at >= 8) {
        const size_t length = read_le32(bytes + at + 4);
        if (length > size - at - 8)
            return 1;
        if (memcmp(bytes + at, "EXIF", 4) == 0)
            return es_exif_orientation(bytes + at + 8, length);
        at += 8 + length;
        if (length % 2 != 0 && at < size)
            at++;
    }
    return 1;
}

static es_status fail(VP8StatusCode code, const char *name, es_error *err)
{
    switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY:
        return es_fail_memory(err, name, 0);
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
        return es_fail(err, ES_ERR_FORMAT, "%s: truncated WebP picture", name);
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: WebP picture of a kind not supported", name);
    default:
        return es_fail(err, ES_ERR_FORMAT, "%s: damaged WebP picture", name);
    }
}

es_status es_webp_decode(es_image *image, int *orientation, const uint8_t *bytes, size_t size, int64_t most,
                         const char *name, es_error *err)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return es_fail(err, ES_ERR_INTERNAL, "%s: libwebp is not the version escriba was built for", name);
    VP8StatusCode code = WebPGetFeatures(bytes, size, &config.input);
    if (code != VP8_STATUS_OK)
        return fail(code, name, err);
    if (config.input.has_animation)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: animated WebP; give single frames", name);
    ES_TRY(es_image_create(image, config.input.width, config.input.height, most, name, err));
    config.output.colorspace = MODE_RGB; /* alpha is dropped */
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = image->rgb;
    config.output.u.RGBA.stride = image->width * 3;
    config.output.u.RGBA.size = (size_t)image->width * (size_t)image->height * 3;
    code = WebPDecode(bytes, size, &config);
    WebPFreeDecBuffer(&config.output);
    if (code != VP8_STATUS_OK)
        return fail(code, name, err);
    *orientation = find_orientation(bytes, size);
    return ES_OK;
}
