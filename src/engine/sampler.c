#include "engine/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

typedef struct candidate {
    int32_t id;
    float logit;
    double p;
} candidate;

struct es_sampler {
    es_sampling how;
    int32_t vocab;
    uint64_t random;
    uint8_t *seen;         /* [vocab]: 1 for tokens of the prompt and the answer */
    int32_t *said;         /* [vocab]: how often the answer has each, when that is penalised */
    candidate *candidates; /* [vocab], when sampling */
};

void es_sampling_init(es_sampling *sampling)
{
    *sampling = (es_sampling){.top_p = 1.0f, .repetition_penalty = 1.0f};
}

es_status es_sampling_check(const es_sampling *s, es_error *err)
{
    if (!(s->temperature >= 0.0f && s->temperature <= 100.0f))
        return es_fail(err, ES_ERR_ARGUMENT, "temperature is %g, must be from 0 (greedy) to 100",
                       (double)s->temperature);
    if (s->top_k < 0)
        return es_fail(err, ES_ERR_ARGUMENT, "top-k is %d, must be 0 (off) or more", s->top_k);
    if (!(s->top_p > 0.0f && s->top_p <= 1.0f))
        return es_fail(err, ES_ERR_ARGUMENT, "top-p is %g, must be above 0, up to 1 (off)", (double)s->top_p);
    if (!(s->min_p >= 0.0f && s->min_p <= 1.0f))
        return es_fail(err, ES_ERR_ARGUMENT, "min-p is %g, must be from 0 (off) to 1", (double)s->min_p);
    if (!(s->repetition_penalty > 0.0f && s->repetition_penalty <= 100.0f))
        return es_fail(err, ES_ERR_ARGUMENT, "repetition penalty is %g, must be above 0 (1: off), up to 100",
                       (double)s->repetition_penalty);
    if (!(fabsf(s->presence_penalty) <= 2.0f) || !(fabsf(s->frequency_penalty) <= 2.0f))
        return es_fail(err, ES_ERR_ARGUMENT, "presence and frequency penalty are %g and %g, must be from -2 to 2",
                       (double)s->presence_penalty, (double)s->frequency_penalty);
    return ES_OK;
}

es_status es_sampler_create(es_sampler **sampler, const es_sampling *sampling, int32_t vocab, es_error *err)
{
    *sampler = NULL;
    ES_TRY(es_sampling_check(sampling, err));
    es_sampler *s = es_calloc(1, sizeof *s);
    if (s == NULL)
        return es_fail_memory(err, "a sampler", sizeof *s);
    s->how = *sampling;
    s->vocab = vocab;
    s->random = sampling->seed;
    bool sampled = sampling->temperature > 0.0f;
    bool counted = sampling->presence_penalty != 0.0f || sampling->frequency_penalty != 0.0f;
    s->seen = es_calloc((size_t)vocab, 1);
    s->candidates = sampled ? es_calloc((size_t)vocab, sizeof *s->candidates) : NULL;
    s->said = counted ? es_calloc((size_t)vocab, sizeof *s->said) : NULL;
    if (s->seen == NULL || (sampled && s->candidates == NULL) || (counted && s->said == NULL)) {
        es_sampler_free(s);
        return es_fail_memory(err, "a sampler", (size_t)vocab * (1 + sizeof *s->candidates));
    }
    *sampler = s;
    return ES_OK;
}

void es_sampler_free(es_sampler *sampler)
{
    if (sampler == NULL)
        return;
    free(sampler->seen);
    free(sampler->said);
    free(sampler->candidates);
    free(sampler);
}

void es_sampler_saw(es_sampler *sampler, int32_t id)
{
    if (id >= 0 && id < sampler->vocab)
        sampler->seen[id] = 1;
}

void es_sampler_said(es_sampler *sampler, int32_t id)
{
    es_sampler_saw(sampler, id);
    if (sampler->said != NULL && id >= 0 && id < sampler->vocab)
        sampler->said[id]++;
}

/* Uniform in [0, 1): SplitMix64 (Steele, Lea, Flood 2014), the top 53 bits. */
static double uniform(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1.0p-53;
}

/* The penalty of Keskar et al. 2019 as the reference applies it: positive logits divided, negative ones multiplied. */
static void prepare(const es_sampler *s, float *logits)
{
    float penalty = s->how.repetition_penalty;
    for (int32_t i = 0; i < s->vocab; i++) {
        if (isnan(logits[i]))
            logits[i] = -INFINITY;
        if (penalty != 1.0f && s->seen[i])
            logits[i] = logits[i] > 0.0f ? logits[i] / penalty : logits[i] * penalty;
    }
    /* As OpenAI's interface defines them: over what the answer has said so far. */
    for (int32_t i = 0; s->said != NULL && i < s->vocab; i++)
        if (s->said[i] > 0)
            logits[i] -= s->how.presence_penalty + s->how.frequency_penalty * (float)s->said[i];
}

static int32_t best(const float *logits, int32_t vocab)
{
    int32_t at = 0;
    for (int32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[at])
            at = i;
    return at;
}

static int by_logit(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit < y->logit ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* How many of the sorted candidates top-k, top-p and min-p leave, at least one. */
static int32_t cut(const es_sampler *s)
{
    const candidate *c = s->candidates;
    int32_t n = s->vocab;
    if (s->how.top_k > 0 && s->how.top_k < n)
        n = s->how.top_k;
    double total = 0, sum = 0;
    for (int32_t i = 0; i < n; i++)
        total += c[i].p;
    for (int32_t i = 0; i < n; i++) {
        if (i > 0 && (c[i].p < (double)s->how.min_p * c[0].p || sum >= (double)s->how.top_p * total))
            return i;
        sum += c[i].p;
    }
    return n;
}

bool es_sampling_is_plain(const es_sampling *s)
{
    return s->temperature <= 0.0f && s->repetition_penalty == 1.0f && s->presence_penalty == 0.0f &&
           s->frequency_penalty == 0.0f;
}

int32_t es_sampler_pick(es_sampler *s, float *logits)
{
    prepare(s, logits);
    int32_t top = best(logits, s->vocab);
    if (s->how.temperature <= 0.0f || !isfinite(logits[top]))
        return top;
    double temperature = (double)s->how.temperature;
    for (int32_t i = 0; i < s->vocab; i++) {
        double above = ((double)logits[i] - (double)logits[top]) / temperature;
        s->candidates[i] = (candidate){i, logits[i], exp(above)};
    }
    qsort(s->candidates, (size_t)s->vocab, sizeof *s->candidates, by_logit);
    int32_t n = cut(s);
    double total = 0;
    for (int32_t i = 0; i < n; i++)
        total += s->candidates[i].p;
    double at = uniform(&s->random) * total;
    for (int32_t i = 0; i < n; i++) {
        at -= s->candidates[i].p;
        if (at < 0)
            return s->candidates[i].id;
    }
    return s->candidates[n - 1].id;
}

void es_top_k(const float *logits, int32_t vocab, int32_t k, int32_t *ids, float *values)
{
    int32_t held = 0;
    for (int32_t i = 0; i < vocab; i++) {
        float logit = isnan(logits[i]) ? -INFINITY : logits[i];
        if (held == k && (k == 0 || logit <= values[k - 1]))
            continue;
        int32_t at = held < k ? held++ : k - 1;
        for (; at > 0 && values[at - 1] < logit; at--) {
            values[at] = values[at - 1];
            ids[at] = ids[at - 1];
        }
        values[at] = logit;
        ids[at] = i;
    }
    for (; held < k; held++) { /* fewer tokens than asked for */
        ids[held] = -1;
        values[held] = -INFINITY;
    }
}
