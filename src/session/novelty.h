/* novelty.h - whether a picture shows what one before it showed: equal to any, or nearly equal to one of the last few
 * that were new. People go back and forth between windows; slow change adds up, since what is compared with is what was
 * looked at. */
#ifndef ES_SESSION_NOVELTY_H
#define ES_SESSION_NOVELTY_H

#include <stdint.h>

#include "session/same.h"

#define ES_ANCHORS 4 /* new pictures that are kept to compare with: 25 MB each at 4K */

typedef struct es_seen_content {
    char content[ES_CONTENT_HEX + 1];
    int64_t at_ms;
} es_seen_content;

typedef struct es_anchor {
    es_image image;
    uint64_t perceptual;
    int64_t at_ms;
} es_anchor;

/* All zero at first. */
typedef struct es_novelty {
    es_anchor anchors[ES_ANCHORS]; /* the newest first */
    size_t anchor_count;
    es_seen_content *seen; /* open addressing, by content; content[0] == 0: free */
    size_t seen_count, seen_room;
} es_novelty;

/* threshold: of same.h. *same_as_ms is set where *same. */
es_status es_novelty_judge(const es_novelty *novelty, const es_image *image, const char *content, uint64_t perceptual,
                           int threshold, bool *same, int64_t *same_as_ms, es_error *err);
/* Remembers a picture that is new; copies it. */
es_status es_novelty_keep(es_novelty *novelty, const es_image *image, const char *content, uint64_t perceptual,
                          int64_t at_ms, es_error *err);
void es_novelty_free(es_novelty *novelty);

#endif
