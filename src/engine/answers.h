/* answers.h - answers given before, by everything they depend on: the answer cache. */
#ifndef ES_ENGINE_ANSWERS_H
#define ES_ENGINE_ANSWERS_H

#include <stdbool.h>

#include "base/hash.h"
#include "base/status.h"
#include "model/tokenizer.h"

#define ES_ANSWERS 1024 /* how many are remembered; a record line takes some hundred bytes */

typedef struct es_known_answer {
    es_hash key;
    char *text; /* NULL: the place is empty */
    es_ids ids;
    bool truncated;
} es_known_answer;

typedef struct es_answers {
    es_known_answer *items; /* [ES_ANSWERS], a ring */
    size_t next;
} es_answers;

es_status es_answers_create(es_answers *answers, es_error *err);
void es_answers_free(es_answers *answers);

/* NULL when it is not known. Valid until the next es_answers_add. */
const es_known_answer *es_answers_find(const es_answers *answers, es_hash key);
/* Copies. Forgets silently when memory is short: it is only a cache. */
void es_answers_add(es_answers *answers, es_hash key, const char *text, const es_ids *ids, bool truncated);

#endif
