/* thumbnail.h - a small JPEG of a picture, for pages. */
#ifndef ES_SESSION_THUMBNAIL_H
#define ES_SESSION_THUMBNAIL_H

#include "model/image.h"

#define ES_THUMBNAIL_WIDTH 320 /* pixels at most; smaller pictures keep their size */

/* *jpeg is freed with free. */
es_status es_thumbnail_make(const es_image *image, uint8_t **jpeg, size_t *size, es_error *err);

#endif
