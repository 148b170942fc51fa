/* words.h - the activities, apps and topics of a session as small numbers, for counting. */
#ifndef ES_SESSION_WORDS_H
#define ES_SESSION_WORDS_H

#include <stdint.h>

#include "base/status.h"
#include "session/moment.h"

typedef enum es_field { ES_FIELD_ACTIVITY, ES_FIELD_APP, ES_FIELD_TOPIC, ES_FIELD_COUNT } es_field;

typedef struct es_word {
    const char *text; /* the first spelling seen, borrowed */
    es_field field;
    double seen; /* times */
    double base; /* frequency within its field, smoothed */
} es_word;

typedef struct es_words {
    es_word *items;
    size_t count, capacity;
    uint32_t *slots; /* open addressing: word + 1, 0 empty */
    size_t slot_count;
    uint32_t *ids; /* the words of all moments, one after the other, each moment's by field */
    size_t id_count, id_capacity;
    size_t *first; /* [moments + 1]: where a moment's ids begin */
} es_words;

/* Numbers what the moments say, letter case (ASCII) aside. A word repeated within a moment counts once. */
es_status es_words_make(es_words *words, const es_moment *moments, size_t count, es_error *err);
void es_words_free(es_words *words);

#endif
