/* fallback.h - an adapter over two: what the first leaves undone goes to the second, each frame once. */
#ifndef ES_INTELLIGENCE_FALLBACK_H
#define ES_INTELLIGENCE_FALLBACK_H

#include "intelligence/intelligence.h"

typedef struct es_fallback_options {
    es_intelligence *first; /* taken over, also when creating fails; NULL: it did not start */
    es_error why;           /* then: what it said */
    /* Opens the second, when it is first needed. */
    es_status (*open)(void *context, es_intelligence **second, es_error *err);
    void (*free)(void *context); /* of the context below, at the end; also when creating fails */
    void *context;
    void (*note)(void *context, const char *line); /* told when the second takes over; may be NULL */
    void *note_context;
} es_fallback_options;

/* The second takes over when the first did not start, or when a call of it ends in anything but a wish to stop or an
 * argument that makes no sense: at once if there was no first, else for the frames left. A frame that only the first's
 * server failed at is asked again of the second; a frame that cannot be read is not. */
es_status es_fallback_create(es_intelligence **self, const es_fallback_options *options, es_error *err);

#endif
