/* sampler.h - from logits to the next token. */
#ifndef ES_ENGINE_SAMPLER_H
#define ES_ENGINE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct es_sampling {
    float temperature;        /* 0: greedy */
    int32_t top_k;            /* 0: off */
    float top_p, min_p;       /* 1 and 0: off */
    float repetition_penalty; /* 1: off; over prompt text and answer, as the reference's processor defines it */
    float presence_penalty;   /* 0: off; taken off the logit of a token that the answer has already */
    float frequency_penalty;  /* 0: off; the same for each time it has it */
    uint64_t seed;
} es_sampling;

void es_sampling_init(es_sampling *sampling); /* greedy, everything off */
/* Checks ranges; names the value that makes no sense. */
es_status es_sampling_check(const es_sampling *sampling, es_error *err);

typedef struct es_sampler es_sampler; /* one a sequence: its random state and scratch */
es_status es_sampler_create(es_sampler **sampler, const es_sampling *sampling, int32_t vocab, es_error *err);
void es_sampler_free(es_sampler *sampler);

/* Tells the sampler a token of the prompt, for the repetition penalty; of the answer, for all penalties. */
void es_sampler_saw(es_sampler *sampler, int32_t id);
void es_sampler_said(es_sampler *sampler, int32_t id);
/* Whether the next token is always the best logit's, so that nothing else of the logits is needed. */
bool es_sampling_is_plain(const es_sampling *sampling);
/* The next token; logits [vocab] are changed. Ties go to the lowest id. Not-a-number logits count as -infinity. */
int32_t es_sampler_pick(es_sampler *sampler, float *logits);

/* The k best ids and logits, best first, ties to the lower id. */
void es_top_k(const float *logits, int32_t vocab, int32_t k, int32_t *ids, float *values);

#endif
