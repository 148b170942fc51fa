/* image.h - picture files to RGB pixels. JPEG, PNG and WebP, told apart by their first bytes, not by their names. */
#ifndef ES_MODEL_IMAGE_H
#define ES_MODEL_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct es_image {
    int32_t width, height; /* pixels */
    uint8_t *rgb;          /* [height, width, 3], owned; es_image_free */
} es_image;

/* No picture larger than this is decoded, whatever its header claims: 8K by 8K. (A fuzzer is built with less.) */
#ifndef ES_IMAGE_MAX_PIXELS
#define ES_IMAGE_MAX_PIXELS (67108864LL)
#endif
#define ES_IMAGE_MAX_FILE (256LL << 20)

/* Decodes a file to what the reference loader gives (transformers' load_image: PIL, EXIF transpose, convert("RGB")):
 *  - the EXIF orientation is applied (JPEG APP1, PNG eXIf, WebP EXIF; not XMP's), so width and height are those seen
 * upright;
 *  - alpha is dropped and the colour under it kept, nothing is laid on any background;
 *  - 16-bit colour keeps its high byte, but 16-bit grey without alpha is clipped at 255, as PIL does it;
 *  - grey, palette and (inverted, Adobe) CMYK become RGB; colour profiles and gamma are ignored.
 * Errors: ES_ERR_IO, ES_ERR_FORMAT (not a picture, damaged, truncated), ES_ERR_UNSUPPORTED (animated WebP, two-channel
 * JPEG), ES_ERR_LIMIT, ES_ERR_MEMORY. On an error image is empty. */
es_status es_image_load(es_image *image, const char *path, es_error *err);
/* The same from bytes in memory; `name` is used in errors only. */
es_status es_image_decode(es_image *image, const void *bytes, size_t size, const char *name, es_error *err);
/* The same for a picture of at most `most` pixels (up to ES_IMAGE_MAX_PIXELS); a larger one is ES_ERR_LIMIT by its
 * header, before anything is unpacked. */
es_status es_image_decode_within(es_image *image, const void *bytes, size_t size, int64_t most, const char *name,
                                 es_error *err);
void es_image_free(es_image *image);

#endif
