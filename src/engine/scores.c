#include "engine/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/sampler.h"

es_status es_scores_create(es_scores *s, int32_t vocab, int32_t best_count, es_error *err)
{
    *s = (es_scores){.vocab = vocab, .best_count = best_count < vocab ? best_count : vocab};
    if (best_count < 0 || best_count > ES_BEST_MAX)
        return es_fail(err, ES_ERR_ARGUMENT, "%d best tokens are wanted, must be from 0 to %d", best_count,
                       ES_BEST_MAX);
    s->logits = es_calloc((size_t)vocab, sizeof *s->logits);
    return s->logits != NULL ? ES_OK : es_fail_memory(err, "token scores", (size_t)vocab * sizeof *s->logits);
}

void es_scores_free(es_scores *s)
{
    free(s->logits);
    s->logits = NULL;
}

/* log p = logit - log(sum of exp(logits)); taken off the largest first, so that nothing overflows. */
void es_scores_look(es_scores *s, const float *logits)
{
    float top = -INFINITY;
    double sum = 0;
    for (int32_t i = 0; i < s->vocab; i++) {
        s->logits[i] = isnan(logits[i]) ? -INFINITY : logits[i];
        top = s->logits[i] > top ? s->logits[i] : top;
    }
    for (int32_t i = 0; i < s->vocab; i++)
        sum += exp((double)(s->logits[i] - top));
    s->log_sum = (double)top + log(sum);
    es_top_k(s->logits, s->vocab, s->best_count, s->best, s->best_logprobs);
    for (int32_t i = 0; i < s->best_count; i++)
        s->best_logprobs[i] = (float)((double)s->best_logprobs[i] - s->log_sum);
}

es_token_score es_scores_of(const es_scores *s, int32_t id)
{
    return (es_token_score){.id = id,
                            .logprob = (float)((double)s->logits[id] - s->log_sum),
                            .best = s->best,
                            .best_logprobs = s->best_logprobs,
                            .best_count = s->best_count};
}

es_token_score es_scores_certain(es_scores *s, int32_t id)
{
    s->best[0] = id;
    s->best_logprobs[0] = 0;
    return (es_token_score){
        .id = id, .best = s->best, .best_logprobs = s->best_logprobs, .best_count = s->best_count > 0 ? 1 : 0};
}
