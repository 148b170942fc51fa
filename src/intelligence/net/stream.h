/* stream.h - the bytes of an answer as the JSON values in it, as they come. Bounded, and surprised by nothing. */
#ifndef ES_INTELLIGENCE_NET_STREAM_H
#define ES_INTELLIGENCE_NET_STREAM_H

#include <jansson.h>
#include <stdbool.h>

#include "base/str.h"

#define ES_STREAM_LINE ((size_t)1 << 20) /* bytes a line, or an event, may have */

typedef struct es_stream {
    bool events; /* server-sent events; else a JSON value a line, or one value on many lines */
    bool done;   /* "data: [DONE]" was seen */
    es_str line; /* bytes of a line that has not ended */
    es_str data; /* of an event that has not ended; or of a value that goes on */
    void *context;
    es_status (*value)(void *context, const json_t *value, es_error *err);
} es_stream;

/* ES_ERR_FORMAT for what is not JSON, ES_ERR_LIMIT for a line without end, or what `value` returned. */
es_status es_stream_feed(es_stream *stream, const char *bytes, size_t size, es_error *err);
/* The body is over: what is left is a value too. */
es_status es_stream_end(es_stream *stream, es_error *err);
void es_stream_free(es_stream *stream);

#endif
