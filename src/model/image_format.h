/* image_format.h - what image.c and the decoders of single formats share; nobody else includes it. */
#ifndef ES_MODEL_IMAGE_FORMAT_H
#define ES_MODEL_IMAGE_FORMAT_H

#include "model/image.h"

/* Checks the size a header claims, at most `most` pixels, and makes them: ES_ERR_FORMAT, ES_ERR_LIMIT or ES_ERR_MEMORY.
 */
es_status es_image_create(es_image *image, int64_t width, int64_t height, int64_t most, const char *name,
                          es_error *err);

/* The orientation (1-8) an EXIF block asks for, with or without its "Exif\0\0" prefix; 1 when it says nothing. */
int es_exif_orientation(const uint8_t *bytes, size_t size);

/* Each decodes one format, of at most `most` pixels. On an error the caller frees image; *orientation is 1 unless the
 * file says otherwise. */
es_status es_jpeg_decode(es_image *image, int *orientation, const uint8_t *bytes, size_t size, int64_t most,
                         const char *name, es_error *err);
es_status es_png_decode(es_image *image, int *orientation, const uint8_t *bytes, size_t size, int64_t most,
                        const char *name, es_error *err);
es_status es_webp_decode(es_image *image, int *orientation, const uint8_t *bytes, size_t size, int64_t most,
                         const char *name, es_error *err);

#endif
