/* drafts.h - guesses at what comes next, from answers given before: consecutive frames are described alike.
 *
 * Guesses are verified in the same pass that computes them, so they change the cost and never the answer.
 */
#ifndef ES_ENGINE_DRAFTS_H
#define ES_ENGINE_DRAFTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define ES_DRAFT_CONTEXT 3 /* tokens that must be the same before a guess is taken from there */
#define ES_DRAFT_MAX 12    /* tokens of a guess */

typedef struct es_drafts {
    int32_t *tokens; /* [capacity], a ring of earlier answers, -1 between them */
    int32_t *latest; /* [table_size]: where a context was seen last, -1 nowhere */
    size_t capacity, table_size, end;
    double pays;   /* share of guessed tokens that came true, fading; below a bound nothing is guessed for a while */
    int32_t pause; /* passes until guessing is tried again */
} es_drafts;

es_status es_drafts_create(es_drafts *drafts, es_error *err);
void es_drafts_free(es_drafts *drafts);

/* Remembers an answer: the ES_DRAFT_CONTEXT tokens before it, then its n tokens. */
void es_drafts_learn(es_drafts *drafts, const int32_t *before, const int32_t *ids, size_t n);
/* Guesses up to `most` tokens after the context (its last ES_DRAFT_CONTEXT tokens). Returns how many. */
size_t es_drafts_guess(const es_drafts *drafts, const int32_t *context, size_t most, int32_t *guess);
/* Whether to guess in this pass. */
int es_drafts_worthwhile(es_drafts *drafts);
/* What became of a guess. */
void es_drafts_verdict(es_drafts *drafts, size_t guessed, size_t right);

#endif
