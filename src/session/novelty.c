#include "session/novelty.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static es_seen_content *find_seen(const es_novelty *n, const char *content)
{
    size_t at = 0;
    for (size_t i = 0; i < 8; i++)
        at = at << 4 | (size_t)(content[i] <= '9' ? content[i] - '0' : content[i] - 'a' + 10);
    for (at &= n->seen_room - 1; n->seen[at].content[0] != '\0'; at = (at + 1) & (n->seen_room - 1))
        if (strcmp(n->seen[at].content, content) == 0)
            break;
    return &n->seen[at];
}

static es_status remember(es_novelty *n, const char *content, int64_t at_ms, es_error *err)
{
    if (n->seen_count * 2 >= n->seen_room) {
        es_novelty grown = {.seen_room = n->seen_room == 0 ? 256 : n->seen_room * 2};
        grown.seen = es_calloc(grown.seen_room, sizeof *grown.seen);
        if (grown.seen == NULL)
            return es_fail_memory(err, "the frames seen", grown.seen_room * sizeof *grown.seen);
        for (size_t i = 0; i < n->seen_room; i++)
            if (n->seen[i].content[0] != '\0')
                *find_seen(&grown, n->seen[i].content) = n->seen[i];
        free(n->seen);
        n->seen = grown.seen;
        n->seen_room = grown.seen_room;
    }
    es_seen_content *place = find_seen(n, content);
    memcpy(place->content, content, sizeof place->content);
    place->at_ms = at_ms;
    n->seen_count++;
    return ES_OK;
}

es_status es_novelty_judge(const es_novelty *n, const es_image *image, const char *content, uint64_t perceptual,
                           int threshold, bool *same, int64_t *same_as_ms, es_error *err)
{
    const es_seen_content *equal = n->seen_room > 0 ? find_seen(n, content) : NULL;
    *same = equal != NULL && equal->content[0] != '\0';
    if (*same)
        *same_as_ms = equal->at_ms;
    for (size_t i = 0; i < n->anchor_count && !*same; i++) {
        const es_anchor *a = &n->anchors[i];
        es_difference difference;
        if (es_hash_distance(a->perceptual, perceptual) > ES_HASH_FAR && threshold < 255)
            continue;
        ES_TRY(es_compare_images(&a->image, image, threshold, &difference, err));
        *same = !difference.changed;
        *same_as_ms = a->at_ms;
    }
    return ES_OK;
}

es_status es_novelty_keep(es_novelty *n, const es_image *image, const char *content, uint64_t perceptual, int64_t at_ms,
                          es_error *err)
{
    size_t bytes = (size_t)image->width * (size_t)image->height * 3;
    es_anchor kept = {{image->width, image->height, es_calloc(bytes, 1)}, perceptual, at_ms};
    if (kept.image.rgb == NULL)
        return es_fail_memory(err, "a frame", bytes);
    memcpy(kept.image.rgb, image->rgb, bytes);
    if (n->anchor_count == ES_ANCHORS)
        es_image_free(&n->anchors[--n->anchor_count].image);
    memmove(n->anchors + 1, n->anchors, n->anchor_count * sizeof *n->anchors);
    n->anchors[0] = kept;
    n->anchor_count++;
    return remember(n, content, at_ms, err);
}

void es_novelty_free(es_novelty *n)
{
    for (size_t i = 0; i < n->anchor_count; i++)
        es_image_free(&n->anchors[i].image);
    free(n->seen);
    *n = (es_novelty){0};
}
