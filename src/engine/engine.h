/* engine.h - many sequences at once over one model. docs/engine.md tells how.
 *
 * A sequence is one prompt with its pictures and its own token budget. Sequences share pages and caches, but a row's
 * arithmetic does not depend on its neighbours: no answer can be confused with, changed or cut short by another.
 * One thread at a time calls an engine.
 */
#ifndef ES_ENGINE_ENGINE_H
#define ES_ENGINE_ENGINE_H

#include "engine/grammar.h"
#include "engine/sampler.h"
#include "model/model.h"

typedef struct es_engine es_engine;

typedef enum es_policy {
    ES_POLICY_THROUGHPUT, /* fill the batch first: a list of frames */
    ES_POLICY_LATENCY     /* who is being answered gets a token soon, whatever else there is to do: a server */
} es_policy;

/* Zero-initialise for the defaults. */
typedef struct es_engine_options {
    int32_t batch;              /* sequences under way at once; 0: 8 */
    int32_t context;            /* tokens one sequence may have, prompt and answer; 0: the model's own */
    int32_t prefill_chunk;      /* rows a prefill step takes at most; 0: 512 */
    int64_t kv_bytes;           /* keys and values may take so much; 0: half of the machine's memory */
    int64_t vision_cache_bytes; /* 0: 256 MiB; -1: off */
    const char *vision_dir;     /* folder of the vision cache on the disk (docs/engine.md); NULL: none */
    int64_t vision_dir_bytes;   /* that may lie there; 0: 2 GB */
    bool no_prefix_cache, no_answer_cache, no_drafts;
    es_policy policy;
    /* ES_POLICY_LATENCY: seconds that the tower may go on while others wait for a token; it ends with the block under
     * way. 0: 0.25. */
    double patience;
    /* Something a person may want to know, on one line (may be NULL): that the folder cannot be used. Called by
     * es_engine_create and es_engine_step. */
    void (*note)(void *context, const char *line);
    void *note_context;
} es_engine_options;

es_status es_engine_create(es_engine **engine, const es_model *model, const es_engine_options *options, es_error *err);
void es_engine_free(es_engine *engine); /* sequences under way are dropped without a word */

/* What to generate from. */
typedef struct es_prompt {
    const es_message *messages;
    size_t message_count;
    const es_patches *pictures; /* [picture_count], in the order of their numbers in the messages */
    size_t picture_count;
} es_prompt;

typedef struct es_generation {
    int32_t max_tokens;
    bool ignore_eos; /* go on to max_tokens; not together with a matcher */
    es_sampling sampling;
    /* NULL: free text. Else the answer is one of its grammar's texts, ended in time when max_tokens is at least the
     * fewest bytes of one; what must come next is not asked of the model. The caller's; outlives the sequence. */
    es_matcher *matcher;
    bool scored;        /* `token` of the request is to be called; no answer is taken from the cache then */
    int32_t best_count; /* of the likeliest tokens told with each; up to ES_BEST_MAX */
} es_generation;

#define ES_BEST_MAX 20

/* How likely the model held a token: natural logarithms of the probabilities that its logits mean, before temperature,
 * penalties and grammar. What a grammar left no choice about was not asked of the model: 0. */
typedef struct es_token_score {
    int32_t id;
    float logprob;
    const int32_t *best; /* [best_count], the likeliest first; valid during the call */
    const float *best_logprobs;
    int32_t best_count;
    size_t text_begin, text_end; /* bytes of the answer's text before and with it; characters may end later */
} es_token_score;

typedef struct es_answer {
    es_status status; /* of this sequence alone; error.message says more */
    es_error error;
    const char *text; /* whole answer so far, UTF-8, special tokens left out */
    const int32_t *ids;
    size_t id_count; /* the end-of-turn token not counted */
    bool truncated;  /* max_tokens reached before an end token */
    bool reused;     /* an equal sequence was answered before: this is its answer */
    int32_t prompt_tokens, image_tokens;
    int32_t cached_tokens; /* prompt tokens whose keys and values were there already */
    double seconds_vision, seconds_prefill, seconds_generate;
} es_answer;

typedef struct es_request {
    es_prompt prompt; /* messages are read by es_engine_add; pictures must live until `finished` */
    es_generation generation;
    int32_t priority; /* higher goes first; 0 is ordinary */
    void *context;
    /* A piece of text was added to the answer (may be NULL). False: that is enough, finish as cancelled. */
    bool (*piece)(void *context, const char *text);
    /* With generation.scored: a token was added, told before the text it ends in. Also from within es_engine_add. */
    void (*token)(void *context, const es_token_score *score);
    /* Called once, well or not, from within es_engine_step or es_engine_drop. The answer lives until it returns. Must
     * not call the engine. */
    void (*finished)(void *context, const es_answer *answer);
    const es_watch *watch; /* may be NULL; no cache is used for a watched sequence */
} es_request;

/* Encodes the prompt and puts the sequence in the queue. A failure means it was not added and `finished` is not called.
 */
es_status es_engine_add(es_engine *engine, const es_request *request, uint64_t *id, es_error *err);
/* Finishes a sequence as cancelled; nothing when it is finished already. */
void es_engine_drop(es_engine *engine, uint64_t id);
/* One step for everybody. *idle: nothing is left to do. A failure is the device's (or cancellation): sequences stay
 * where they are and may be dropped. */
es_status es_engine_step(es_engine *engine, const es_cancel *cancel, bool *idle, es_error *err);
/* How many sequences are queued and under way. */
size_t es_engine_count(const es_engine *engine);

typedef struct es_engine_stats {
    int64_t steps, decoded_rows, prefilled_rows, pictures_encoded; /* since the engine was made */
    int64_t pages_used, pages_total, pages_cached, preemptions;
    int64_t prefix_tokens_reused, pictures_reused, answers_reused;
    int64_t pictures_read, pictures_kept; /* from and to the disk */
    int64_t tokens_guessed, tokens_guessed_right;
    int64_t decode_passes;                                  /* passes in which somebody decoded */
    double seconds_vision, seconds_prefill, seconds_decode; /* of passes, divided by rows where both share one */
    double seconds_sample;                                  /* what becomes of the logits */
} es_engine_stats;
void es_engine_get_stats(const es_engine *engine, es_engine_stats *stats);

/* --- a whole list --- */

/* Where sequences come from and answers go. All are called on the calling thread. */
typedef struct es_job {
    void *context;
    /* Fills the next prompt to answer (its memory stays the caller's until `finished` is called for its tag) and
     * returns ES_OK with *more true; *more false when there are no more. A failure is answered to `finished` as that
     * sequence's. */
    es_status (*next)(void *context, es_prompt *prompt, es_generation *generation, void **tag, bool *more,
                      es_error *err);
    /* A piece of text was added to a sequence's answer (may be NULL). False stops the job. */
    bool (*piece)(void *context, void *tag, const char *text);
    /* A sequence is done, well or not. False stops the job. Not called for what was under way when a job stops. */
    bool (*finished)(void *context, void *tag, const es_answer *answer);
    const es_cancel *cancel; /* may be NULL */
    const es_watch *watch;   /* may be NULL */
} es_job;

/* Runs a job to its end on an engine that has nothing else to do. A sequence's failure is its own; the return value is
 * the engine's: cancelled, device failure. */
es_status es_engine_run(es_engine *engine, const es_job *job, es_error *err);

/* --- lower level, for traces: one prompt as ids and picture grids, as the engine sees it --- */
typedef struct es_encoded {
    es_ids ids;
    int32_t (*grids)[2]; /* merged rows, columns of each picture */
    size_t grid_count;
    int32_t image_tokens;
    es_position *positions;
    int32_t next_position;
} es_encoded;
es_status es_engine_encode(const es_model *model, const es_prompt *prompt, es_encoded *encoded, es_error *err);
void es_encoded_free(es_encoded *encoded);

#endif
