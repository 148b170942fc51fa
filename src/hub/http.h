/* http.h - one GET at a time from a hub and the storage hosts it redirects to: the transport under pull.
 *
 * Only http and https. Plain http goes to loopback addresses alone, unless the endpoint itself is plain http. The token
 * goes to the endpoint's own origin (scheme, host, port) and nowhere else, and never over plain http except on
 * loopback.
 */
#ifndef ES_HUB_HTTP_H
#define ES_HUB_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct es_http es_http;

typedef struct es_http_options {
    const char *endpoint;                                          /* without a trailing slash */
    const char *token;                                             /* NULL or "": none */
    double connect_seconds;                                        /* to reach a server */
    double stall_seconds;                                          /* below 1 kB/s for so long counts as a cut */
    double backoff_seconds;                                        /* the first pause before trying again; it doubles */
    int retries;                                                   /* attempts after the first that may fail in a row */
    bool (*cancelled)(void *user);                                 /* polled; may be NULL */
    void (*retrying)(void *user, const char *why, double seconds); /* before a pause; may be NULL */
    void *user;
} es_http_options;

/* What the answer said beside its body. */
typedef struct es_http_reply {
    long status;           /* HTTP status; 0: no answer */
    bool retry;            /* after a failure: another attempt may do better */
    bool foreign;          /* the last answer came from another origin than the endpoint */
    double retry_after;    /* seconds the server asks to wait, 0: not said */
    uint64_t length;       /* bytes that the body is to have (UINT64_MAX: not said) */
    uint64_t first, total; /* 206: offset of the body's first byte, and size of the whole (UINT64_MAX: not said) */
    char error_code[48];   /* X-Error-Code: RepoNotFound, GatedRepo, RevisionNotFound, EntryNotFound */
    char next[2048];       /* Link: <...>; rel="next" */
} es_http_reply;

/* Receives the body of a 200 or 206 answer, piece by piece. Anything but ES_OK ends the transfer with that error. */
typedef es_status (*es_http_sink)(void *context, const es_http_reply *reply, const uint8_t *data, size_t size,
                                  es_error *err);

/* Checks the endpoint (an http or https URL without user, query or fragment). The strings are copied. */
es_status es_http_open(es_http **http, const es_http_options *options, es_error *err);
void es_http_close(es_http *http); /* NULL is fine */
const es_http_options *es_http_get_options(const es_http *http);

/* One attempt to GET url from byte `offset` on (0: the whole). ES_OK after a whole 200 or 206 body; else the error,
 * ES_ERR_CANCELLED when cancelled() said so. *reply is filled either way. */
es_status es_http_get(es_http *http, const char *url, uint64_t offset, es_http_sink sink, void *context,
                      es_http_reply *reply, es_error *err);

/* After the `failures`th failure in a row (from 1), whose error is in err: pauses (doubling, jittered, at least
 * Retry-After) and returns ES_OK when there is to be another attempt; else gives err back, or ES_ERR_CANCELLED. */
es_status es_http_pause(es_http *http, int failures, const es_http_reply *reply, es_error *err);

/* GETs a document of at most `limit` bytes with retries; *body gets a NUL after it, free with free. */
es_status es_http_document(es_http *http, const char *url, size_t limit, char **body, size_t *size,
                           es_http_reply *reply, es_error *err);

/* Whether an http handle for `endpoint` may follow to url, and whether it would show its token there. */
es_status es_http_check_url(const es_http *http, const char *url, bool *with_token, es_error *err);

/* base followed by text percent-encoded, but for the characters of `keep`; NULL when memory is short. Free with free.
 */
char *es_http_escape(const char *base, const char *text, const char *keep);

#endif
