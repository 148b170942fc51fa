/* scores.h - how likely a model holds what it says: log probabilities of a token and of its best rivals. */
#ifndef ES_ENGINE_SCORES_H
#define ES_ENGINE_SCORES_H

#include "base/status.h"
#include "engine/engine.h"

typedef struct es_scores {
    int32_t vocab, best_count;
    float *logits; /* [vocab] as the model gave them; NULL: nobody asked */
    double log_sum;
    int32_t best[ES_BEST_MAX];
    float best_logprobs[ES_BEST_MAX];
} es_scores;

es_status es_scores_create(es_scores *scores, int32_t vocab, int32_t best_count, es_error *err);
void es_scores_free(es_scores *scores);
/* Keeps the logits [vocab] of the next token, before anything changes them. */
void es_scores_look(es_scores *scores, const float *logits);
/* What they say about a token. */
es_token_score es_scores_of(const es_scores *scores, int32_t id);
/* The score of a token that the model was not asked for, since nothing else could come: 0, itself its only rival. */
es_token_score es_scores_certain(es_scores *scores, int32_t id);

#endif
