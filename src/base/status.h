/* status.h - how every call in escriba says what went wrong.
 *
 * A function that can fail returns an es_status and takes an es_error as its last argument. The error is filled
 * where the fault is known best, with one line for a person: what, where, what to do. Callers pass it up untouched.
 */
#ifndef ES_BASE_STATUS_H
#define ES_BASE_STATUS_H

#include <stddef.h>

typedef enum es_status {
    ES_OK = 0,
    ES_ERR_MEMORY,      /* an allocation failed */
    ES_ERR_IO,          /* the system refused: open, read, write, map, disk full */
    ES_ERR_FORMAT,      /* a file or message is not what it must be */
    ES_ERR_ARGUMENT,    /* the caller asked for something that makes no sense */
    ES_ERR_UNSUPPORTED, /* well formed, but nothing here can do it */
    ES_ERR_LIMIT,       /* larger than a limit that protects the process: context, pixels, bytes */
    ES_ERR_CANCELLED,   /* the caller asked to stop */
    ES_ERR_NETWORK,     /* another machine did not answer as it should */
    ES_ERR_INTERNAL     /* a broken promise inside escriba: always a bug */
} es_status;

typedef struct es_error {
    es_status status;
    char message[512]; /* one line, no trailing newline; empty when status is ES_OK */
} es_error;

#if defined(__GNUC__)
#define ES_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define ES_PRINTF(fmt, args)
#endif

/* Fills err (may be NULL) with status and the formatted line, and returns status: `return es_fail(err, ...)`. */
es_status es_fail(es_error *err, es_status status, const char *format, ...) ES_PRINTF(3, 4);

/* Puts "prefix: " before the message already in err and returns its status; for callers that know the place. */
es_status es_wrap(es_error *err, es_status status, const char *format, ...) ES_PRINTF(3, 4);

/* The out-of-memory error, which needs no memory: `what` names the thing wanted, `bytes` its size (0: unknown). */
es_status es_fail_memory(es_error *err, const char *what, size_t bytes);

/* A name for a status, in lower case: "ok", "memory", "io"... Never NULL. */
const char *es_status_name(es_status status);

/* Runs an expression that yields an es_status and returns it from the present function unless it is ES_OK. */
#define ES_TRY(expression)                                                                                             \
    do {                                                                                                               \
        es_status es_try_status_ = (expression);                                                                       \
        if (es_try_status_ != ES_OK)                                                                                   \
            return es_try_status_;                                                                                     \
    } while (0)

#endif
