/* ticket.h - one request to the worker: what is asked, and what came of it so far.
 *
 * Made and filled by the thread that reads the request, filed with es_worker_file, then waited on. The worker fills the
 * replies. The maker frees it after it is finished (es_worker_cancel hurries that).
 */
#ifndef ES_SERVE_TICKET_H
#define ES_SERVE_TICKET_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/str.h"
#include "engine/engine.h"
#include "engine/grammar.h"
#include "model/image.h"

#define ES_MAX_CHOICES 8        /* answers to one request */
#define ES_KEEP_USUAL INT64_MIN /* the server's own keep-alive */
#define ES_KEEP_FOREVER INT64_MAX

typedef enum es_ticket_kind {
    ES_TICKET_GENERATE,
    ES_TICKET_COUNT, /* only how many tokens the prompt has */
    ES_TICKET_LOAD,  /* only have the model ready, or, with keep_ms 0, unloaded */
} es_ticket_kind;

/* What the request says of its hurry. */
typedef enum es_tier {
    ES_TIER_AUTO,    /* nothing: who reads along and asks one thing at a time goes first */
    ES_TIER_DEFAULT, /* ordinary */
    ES_TIER_FLEX,    /* after the others */
    ES_TIER_PRIORITY /* first, one request of a client at a time */
} es_tier;

/* A token of an answer, or one that might have stood in its place. */
typedef struct es_candidate {
    float logprob;
    size_t at, n; /* its bytes, of the reply's token_bytes */
} es_candidate;

typedef struct es_scored {
    size_t begin, end;   /* bytes of the text before and with it */
    size_t first, count; /* of the reply's candidates: the token itself, then the likeliest ones */
} es_scored;

typedef struct es_reply {
    struct es_ticket *ticket;
    uint64_t id;  /* of the engine's sequence */
    es_str text;  /* so far, ended before a stop text */
    size_t ready; /* bytes of it that no stop text can take back */
    bool running, done;
    bool stopped; /* a stop text came */
    bool truncated, reused;
    es_status status;
    es_error error;
    int32_t prompt_tokens, image_tokens, cached_tokens, tokens;
    double seconds_vision, seconds_prefill, seconds_generate;
    double first; /* es_now of the first text; 0: none yet */
    /* how likely each token was, when that is asked for */
    es_scored *scored;
    size_t scored_count, scored_capacity;
    es_candidate *candidates;
    size_t candidate_count, candidate_capacity;
    es_str token_bytes;
} es_reply;

typedef struct es_ticket {
    /* what is asked; owned */
    es_ticket_kind kind;
    char *model;  /* directory */
    char *client; /* whose turn it is, in the queue */
    es_message *messages;
    size_t *first; /* [message_count] of content */
    size_t message_count, message_capacity, first_capacity;
    es_content *content; /* texts owned */
    size_t content_count, content_capacity;
    es_image *images; /* of their final size */
    size_t image_count, image_capacity;
    int32_t max_tokens;
    es_sampling sampling;
    bool streamed; /* its maker writes each piece out; else it is woken when a reply is whole */
    bool scored;   /* tokens are told with their likelihood */
    int32_t best_count;
    int32_t choices; /* 1 to ES_MAX_CHOICES; each with the next seed */
    char **stops;
    size_t stop_count, stop_capacity;
    es_grammar *grammar; /* NULL: free text; may be taken over by the worker */
    char *form;          /* what names the grammar: equal forms share what was learnt of it */
    int64_t keep_ms;
    es_tier tier;

    /* what came; under the lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    es_reply replies[ES_MAX_CHOICES];
    bool finished; /* the worker has let go of it */
    double filed, started, loaded_seconds;

    /* the worker's */
    atomic_bool cancelled;
    int stage;           /* under the worker's lock */
    bool interactive;    /* reads along, and asks one thing at a time */
    int32_t priority;    /* that it was begun with */
    int64_t promised;    /* tokens it may come to */
    es_patches *patches; /* [image_count] while it runs */
    es_error failure;    /* to make them */
    const es_tokenizer *tokenizer;
    struct es_form *held;
    struct es_ticket *next;
} es_ticket;

es_status es_ticket_create(es_ticket **ticket, es_error *err);
void es_ticket_free(es_ticket *ticket); /* NULL is fine; not while it is filed */

/* A new turn; what follows belongs to it. */
es_status es_ticket_turn(es_ticket *ticket, es_role role, es_error *err);
es_status es_ticket_text(es_ticket *ticket, const char *text, es_error *err);
es_status es_ticket_picture(es_ticket *ticket, es_image *image, es_error *err); /* takes the pixels over */
es_status es_ticket_stop(es_ticket *ticket, const char *text, es_error *err);
size_t es_ticket_bytes(const es_ticket *ticket); /* of its pictures */
/* To be called when nothing more is added: messages can be read. */
void es_ticket_seal(es_ticket *ticket);

/* Waits until any reply has more bytes ready than seen[i] (of a streamed ticket), or is done and not told[i], or the
 * ticket is finished, or `until` (es_now) has passed. Called and returns with the lock held. False: time is up. */
bool es_ticket_wait_any(es_ticket *ticket, const size_t *seen, const bool *told, double until);
/* Waits until it is finished; takes the lock itself. False: time is up. */
bool es_ticket_wait_finished(es_ticket *ticket, double until);

/* For the worker: adds a piece of text to a reply; false when a stop text ends it. The lock is taken. */
bool es_reply_add(es_reply *reply, const char *piece);
/* For the worker: notes how likely a token was. Without memory the reply fails. */
void es_reply_score(es_reply *reply, const es_token_score *score);
void es_reply_finish(es_reply *reply, const es_answer *answer);
/* All replies that are not done fail with this, and the ticket is finished. */
void es_ticket_fail(es_ticket *ticket, es_status status, const es_error *error);

#endif
