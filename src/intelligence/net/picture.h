/* picture.h - a frame as the native engine would see it, as the text that goes into a request. */
#ifndef ES_INTELLIGENCE_NET_PICTURE_H
#define ES_INTELLIGENCE_NET_PICTURE_H

#include <stdint.h>

#include "base/str.h"
#include "model/image.h"

/* Resizes as Qwen3-VL's processor would, with at most max_pixels (0: its own default), and appends the picture as
 * base64 of a PNG. */
es_status es_picture_base64(const es_image *image, int64_t max_pixels, es_str *out, int32_t *tokens, es_error *err);

/* Appends base64 of bytes (RFC 4648, padded, one line). */
void es_base64(es_str *out, const void *bytes, size_t size);

#endif
