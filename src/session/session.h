/* session.h - all that a store holds of one recording by one method, in memory: what reports are made from. */
#ifndef ES_SESSION_SESSION_H
#define ES_SESSION_SESSION_H

#include "session/segments.h"
#include "session/store.h"

typedef struct es_session {
    es_moment *moments; /* in time order */
    int64_t *frames;    /* [count] their ids in the store */
    bool *own;          /* [count] asked of a model, not taken over */
    void **blocks;      /* [count] what the moments point to */
    size_t count, capacity[4];
} es_session;

es_status es_session_load(es_session *session, es_store *store, int64_t recording, int64_t method, es_error *err);
void es_session_free(es_session *session);

#endif
