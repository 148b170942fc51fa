/* session.h - all that a store holds of one recording by one method, in memory: what reports are made from. */
#ifndef ES_SESSION_SESSION_H
#define ES_SESSION_SESSION_H

#include "session/segments.h"
#include "session/store.h"

typedef struct es_kept {
    int64_t frame;  /* its id in the store */
    int64_t source; /* of the picture file; 0: a video's */
    bool own;       /* asked of a model, not taken over */
    bool filled;    /* between two samples of the interval */
    void *block;    /* what the moment points to */
} es_kept;

typedef struct es_session {
    es_moment *moments; /* in time order */
    es_kept *kept;      /* [count] of each */
    size_t count, capacity[2];
} es_session;

es_status es_session_load(es_session *session, es_store *store, int64_t recording, int64_t method, es_error *err);
void es_session_free(es_session *session);

#endif
