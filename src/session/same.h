/* same.h - whether a frame shows something new, so that a model need not look at what it saw already.
 *
 * Exact: a hash of the pixels. Nearly: the pixels differ nowhere but in a few spots as small as a mouse pointer, a
 * caret or a clock's digit. What is wider, such as a word of three letters, counts as change; so does anything in
 * doubt. */
#ifndef ES_SESSION_SAME_H
#define ES_SESSION_SAME_H

#include <stdbool.h>

#include "base/status.h"
#include "model/image.h"

#define ES_CONTENT_HEX 32 /* digits of a content hash */

/* A fingerprint of size and pixels, the same on every machine. Not cryptographic. */
void es_content_hash(const es_image *image, char hex[ES_CONTENT_HEX + 1]);
/* 64 comparisons of neighbouring areas: near for pictures that look alike, in number of different bits. */
uint64_t es_perceptual_hash(const es_image *image);
int es_hash_distance(uint64_t a, uint64_t b);
#define ES_HASH_FAR 20 /* a greater distance: no need to look closer */

/* Differences of a colour channel up to this are a codec's noise. 255 takes all pictures of a size for the same. */
#define ES_SAME_THRESHOLD 32

typedef struct es_difference {
    bool changed;
    size_t cells;            /* of 8 x 8 pixels that differ */
    size_t spots;            /* stretches of neighbouring cells */
    int32_t widest, tallest; /* pixels, of a spot */
} es_difference;

es_status es_compare_images(const es_image *a, const es_image *b, int threshold, es_difference *difference,
                            es_error *err);

#endif
