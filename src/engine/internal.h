/* internal.h - what the engine's own files share. */
#ifndef ES_ENGINE_INTERNAL_H
#define ES_ENGINE_INTERNAL_H

#include "engine/answers.h"
#include "engine/drafts.h"
#include "engine/engine.h"
#include "engine/pages.h"
#include "engine/pictures.h"
#include "engine/scores.h"
#include "engine/shelf.h"

typedef enum es_stage {
    ES_STAGE_QUEUED,  /* waits for pages */
    ES_STAGE_VISION,  /* has pictures the tower has not seen */
    ES_STAGE_PREFILL, /* has tokens whose keys and values are not cached */
    ES_STAGE_DECODE,  /* gets a row each step */
    ES_STAGE_DONE     /* to be handed over */
} es_stage;

/* What a prompt's token shows. */
typedef struct es_place {
    int32_t picture; /* -1: text */
    int32_t token;   /* of the picture */
} es_place;

typedef struct es_sequence {
    struct es_sequence *next; /* of the engine's list: by priority, then by age */
    uint64_t id;
    es_stage stage;
    es_request request;
    es_encoded prompt;
    es_place *places; /* [prompt.ids.count] */
    es_hash answer_key;
    es_hash *picture_hashes; /* [prompt.grid_count] */
    es_picture **pictures;   /* [prompt.grid_count]; NULL until the tower has seen it */
    es_wanted **wanted;      /* [prompt.grid_count] asked of the disk; NULL: not, or no longer */
    double wanted_since;     /* es_now */
    size_t vision_at;        /* the picture to encode next */
    es_hash *keys;           /* [key_count] of the full pages so far */
    size_t key_count, key_capacity;
    int32_t *pages; /* [page_count] */
    size_t page_count, page_capacity;
    int64_t past;   /* tokens whose keys and values are cached */
    int32_t budget; /* tokens the answer may have */
    es_match match; /* where the answer stands in its grammar */
    bool in_time;   /* the budget is enough to end it well, and so it will be */
    bool begun;     /* it was let in before */
    es_sampler *sampler;
    es_scores scores;
    es_decoder decoder;
    es_str text;
    size_t told;                 /* bytes of the text that `piece` has heard of */
    es_ids ids;                  /* the answer so far; the last ones are not yet cached */
    int32_t guess[ES_DRAFT_MAX]; /* what may come after them, in this pass */
    size_t guess_count;
    es_answer answer;
} es_sequence;

/* A picture half-way through the tower. There is one lane for ordinary sequences and one for those that overtake. */
typedef struct es_lane {
    es_sequence *sequence; /* NULL: the lane is empty */
    es_vision_run run;
    es_vision_scratch scratch;
} es_lane;
#define ES_LANES 2

#define ES_AHEAD 64 /* tokens that a grammar may put into one pass for a sequence */

struct es_engine {
    const es_model *model;
    es_engine_options options; /* defaults filled in */
    es_kv *kv;
    es_pages pages;
    es_pictures pictures;
    es_shelf *shelf; /* NULL: no vision cache on the disk */
    size_t wanted;   /* pictures asked of it */
    bool disk_hangs; /* it is not asked any more */
    es_answers answers;
    es_drafts drafts;
    es_hash hash_key;
    es_lane lanes[ES_LANES];
    es_text_scratch text;
    es_sequence *first; /* all sequences */
    uint64_t last_id;
    int overtaken;        /* pieces of work in a row that went ahead of somebody of lower priority */
    double tower_seconds; /* spent in the tower since decoding sequences last got their row */
    double row_seconds;   /* what a row took in the last pass that read a prompt; 0: none yet */
    es_engine_stats stats;
    /* The rows of one pass through the decoder, [batch * (1 + ES_AHEAD + ES_DRAFT_MAX) +
     * prefill_chunk] or [batch + 1] each. */
    int32_t *ids, *logit_rows, *best; /* logit_rows, best and logits: [(batch + 1) * (1 + ES_DRAFT_MAX)] */
    es_position *positions;
    struct es_visual_row *visual;
    es_attend *attend;
    es_sequence **who;
    float *logits; /* [.., vocab] */
};

/* --- engine.c --- */
size_t es_most_guesses(const es_engine *e); /* rows of guesses that a pass may have */

/* --- sequence.c --- */
es_status es_sequence_create(es_engine *e, const es_request *request, es_sequence **sequence, es_error *err);
void es_sequence_free(es_engine *e, es_sequence *s);
int64_t es_sequence_total(const es_sequence *s);            /* tokens of prompt and answer so far */
int32_t es_sequence_token(const es_sequence *s, int64_t i); /* guesses after them too */
es_position es_sequence_position(const es_sequence *s, int64_t i);
/* Takes over what is cached of its tokens, and pages for the rest; false when there is no room now. */
es_status es_sequence_admit(es_engine *e, es_sequence *s, bool *admitted, es_error *err);
/* Makes sure that tokens up to `tokens` have pages; false when none is left. */
es_status es_sequence_grow(es_engine *e, es_sequence *s, int64_t tokens, bool *grown, es_error *err);
/* Gives its pages back and queues it again, with what it has said so far. */
void es_sequence_set_aside(es_engine *e, es_sequence *s);
/* `n` more tokens are cached: seals the pages that became full. */
es_status es_sequence_advance(es_engine *e, es_sequence *s, int64_t n, es_error *err);
/* Adds what the grammar says must come next, but for its last token. */
es_status es_sequence_take_forced(es_engine *e, es_sequence *s, es_error *err);
/* Whether it needs no more of its logits than which is best. */
bool es_sequence_takes_best(const es_sequence *s);
/* Takes the logits after its last token, [vocab], or NULL and the best of them, and decides what comes next. */
es_status es_sequence_accept(es_engine *e, es_sequence *s, float *logits, int32_t best, es_error *err);
void es_sequence_finish(es_sequence *s, es_status status, const es_error *error);

/* --- passes.c --- */
/* One pass through the decoder: a row for each decoding sequence (with_decode) and a chunk of `feed`'s prompt (may be
 * NULL). */
es_status es_pass_text(es_engine *e, es_sequence *feed, bool with_decode, const es_cancel *cancel, es_error *err);
/* Some of the tower for `s`: until its pictures are done, or `until` (es_now) has passed. */
es_status es_pass_vision(es_engine *e, es_sequence *s, double until, const es_cancel *cancel, es_error *err);
void es_lane_clear(es_engine *e, const es_sequence *s); /* forgets a picture half done for s */
/* The next picture of s is there: from a cache, or done just now. */
void es_sequence_see(es_sequence *s, es_picture *picture);

/* --- disk.c --- */
void es_disk_open(es_engine *e); /* without success it is noted, and done without */
void es_disk_close(es_engine *e);
/* Asks for the pictures that an admitted sequence needs, and forgets them. */
void es_disk_ask(es_engine *e, es_sequence *s);
void es_disk_forget(es_engine *e, es_sequence *s);
/* Has what the tower just made kept. */
void es_disk_keep(es_engine *e, es_picture *picture);
/* Gives sequences what has come, and lets go of what is written. */
void es_disk_settle(es_engine *e);
/* Whether the next picture of s is still to come from the disk. */
bool es_disk_waits(const es_sequence *s);

#endif
