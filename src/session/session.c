#include "session/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

typedef struct loading {
    es_session *session;
    es_status status;
    es_error *err;
} loading;

static size_t length_of(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

static const char *put(char **at, const char *text)
{
    size_t n = length_of(text);
    const char *copy = n > 0 ? *at : NULL;
    if (n > 0)
        memcpy(*at, text, n);
    *at += n;
    return copy;
}

/* A copy of the moment in one block of memory, which begins with its lists. */
static void *copy_moment(const es_moment *from, es_moment *to)
{
    size_t lists = (from->app_count + from->topic_count) * sizeof(char *);
    size_t bytes = lists + length_of(from->activity) + length_of(from->description) + 1;
    for (size_t i = 0; i < from->app_count; i++)
        bytes += length_of(from->apps[i]);
    for (size_t i = 0; i < from->topic_count; i++)
        bytes += length_of(from->topics[i]);
    void *block = es_calloc(bytes, 1);
    if (block == NULL)
        return NULL;
    const char **list = block;
    char *text = (char *)block + lists;
    *to = *from;
    to->activity = put(&text, from->activity);
    to->description = put(&text, from->description);
    to->apps = list;
    to->topics = list + from->app_count;
    for (size_t i = 0; i < from->app_count; i++)
        *list++ = put(&text, from->apps[i]);
    for (size_t i = 0; i < from->topic_count; i++)
        *list++ = put(&text, from->topics[i]);
    return block;
}

static bool add(void *context, const es_stored *stored)
{
    loading *l = context;
    es_session *s = l->session;
    size_t n = s->count;
    void *moments = s->moments, *kept = s->kept;
    bool room = es_grow(&moments, &s->capacity[0], n + 1, sizeof *s->moments) == 0;
    s->moments = moments;
    room = room && es_grow(&kept, &s->capacity[1], n + 1, sizeof *s->kept) == 0;
    s->kept = kept;
    void *block = room ? copy_moment(&stored->moment, &s->moments[n]) : NULL;
    if (block == NULL) {
        l->status = es_fail_memory(l->err, "a session", n * sizeof *s->moments);
        return false;
    }
    s->kept[n] = (es_kept){stored->frame, stored->source, stored->reused_from == 0, stored->filled, block};
    s->count++;
    return true;
}

es_status es_session_load(es_session *session, es_store *store, int64_t recording, int64_t method, es_error *err)
{
    loading l = {.session = session, .err = err};
    *session = (es_session){0};
    es_status status = es_store_each(store, recording, method, add, &l, err);
    status = status == ES_OK ? l.status : status;
    if (status != ES_OK)
        es_session_free(session);
    return status;
}

void es_session_free(es_session *session)
{
    for (size_t i = 0; i < session->count; i++)
        free(session->kept[i].block);
    free(session->moments);
    free(session->kept);
    *session = (es_session){0};
}
