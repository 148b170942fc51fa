/* asking.h - what both dialects do alike: from a model's name to a filed ticket, from options to sampling. */
#ifndef ES_SERVE_ASKING_H
#define ES_SERVE_ASKING_H

#include "serve/exchange.h"

/* A request for an answer, on its way. */
typedef struct es_asking {
    es_exchange *x;
    json_t *body;
    es_ticket *ticket;
    char *name, *dir; /* the model's */
    es_preprocess rules;
    bool stream;
    bool has_temperature, has_seed;
    size_t seen[ES_MAX_CHOICES];   /* bytes told of each answer */
    size_t scored[ES_MAX_CHOICES]; /* tokens told of each with their likelihood */
    bool begun[ES_MAX_CHOICES], told[ES_MAX_CHOICES];
    int stage;
    bool flag; /* the dialect's: Ollama: generate; OpenAI: usage at the end of a stream */
    char id[40];
    int64_t created; /* seconds since 1970 */
    void *own;       /* the dialect's, freed with free */
} es_asking;

/* Parses the body and finds the model that `key` names. *asking is freed by es_asking_free. */
es_status es_asking_begin(es_exchange *x, const char *key, es_asking **asking, es_error *err);
void es_asking_free(es_asking *asking); /* NULL is fine; lets go of a ticket under way */

/* A picture of the request; `given` as es_picture_add takes it. */
es_status es_asking_picture(es_asking *a, const char *given, es_error *err);
/* Members of an object that are numbers within bounds, into the ticket's sampling. Known names: temperature, top_k,
 * top_p, min_p, seed, presence_penalty, frequency_penalty, repetition_penalty; `penalty` is what the dialect calls the
 * last. */
es_status es_asking_sampling(es_asking *a, const json_t *from, const char *penalty, es_error *err);
/* What the body's "service_tier" says, and where it says nothing "priority", as vLLM has it: the lower, the sooner. */
es_status es_asking_tier(es_asking *a, es_error *err);
/* The tier as a response tells it. */
const char *es_asking_tier_name(const es_asking *a);
/* "logprobs" and "top_logprobs" of the body. */
es_status es_asking_logprobs(es_asking *a, es_error *err);
/* The tokens of choice i that are new since the last call, with their likelihood; a list, empty when nobody asked. */
json_t *es_asking_scores(es_asking *a, int32_t i);
/* A text, or a list of them, that ends the answer. */
es_status es_asking_stops(es_asking *a, const json_t *stop, size_t most, es_error *err);
/* The answer is to be a JSON object (schema NULL), or to validate against the schema. */
es_status es_asking_form(es_asking *a, const json_t *schema, es_error *err);
/* Files the ticket. The request is read: its body is let go of. */
es_status es_asking_file(es_asking *a, es_error *err);
/* Waits until there is something to tell, or all is done; ES_ERR_CANCELLED when the client leaves. The failure of an
 * answer before its first text is returned. */
es_status es_asking_wait_first(es_asking *a, es_error *err);
/* Waits until all is done; the first failure of an answer is returned. */
es_status es_asking_wait_all(es_asking *a, es_error *err);
/* Streams: waits for news; false when the client left. */
bool es_asking_wait_news(es_asking *a);
/* The new text of choice i, to be freed; "" when there is none. *done: it is whole. NULL: memory is short. */
char *es_asking_news(es_asking *a, int32_t i, bool *done);
void es_asking_end(es_exchange *x); /* es_exchange.end for an asking in x->stream */

/* "2026-11-23T21:00:00.123456Z" of now. */
void es_time_text(char out[40]);
/* Names the members of `object` that are not neutral among those nobody here holds. neutral: as JSON. */
typedef struct es_unheld {
    const char *name, *neutral; /* NULL: only null is */
} es_unheld;
es_status es_refuse_unheld(const json_t *object, const es_unheld *list, size_t n, es_error *err);
/* Fails for a member whose name is not in the list (NULL at its end). */
es_status es_refuse_unknown(const json_t *object, const char *const *known, es_error *err);

#endif
