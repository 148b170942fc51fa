/* str.h - a growing string. Appending never fails visibly: it marks the string, and es_str_ok tells at the end. */
#ifndef ES_BASE_STR_H
#define ES_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct es_str {
    char *data;    /* NUL-terminated once anything was appended; NULL before */
    size_t length; /* bytes, without the terminator */
    size_t capacity;
    bool failed; /* an append ran out of memory; what follows is dropped */
} es_str;

void es_str_append(es_str *s, const char *text);
void es_str_append_n(es_str *s, const char *bytes, size_t n);
void es_str_append_format(es_str *s, const char *format, ...) ES_PRINTF(2, 3);
/* Appends text as a JSON string with its quotes; broken UTF-8 becomes U+FFFD. */
void es_str_append_json(es_str *s, const char *text);
void es_str_clear(es_str *s);
void es_str_free(es_str *s);

/* The text so far, never NULL ("" when empty). Owned by s. */
const char *es_str_text(const es_str *s);

/* ES_OK, or the out-of-memory error if any append failed. */
es_status es_str_check(const es_str *s, es_error *err);

/* Hands the buffer over (free with free) and empties s; NULL with the error filled when an append failed. */
char *es_str_take(es_str *s, es_error *err);

#endif
