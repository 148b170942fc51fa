/* intelligence.h - PORT 1: who answers. Adapters: local (our engine on any device), ollama, openai.
 *
 * An adapter implements the small table at the bottom; everything else here is common to all of them.
 */
#ifndef ES_INTELLIGENCE_INTELLIGENCE_H
#define ES_INTELLIGENCE_INTELLIGENCE_H

#include "base/str.h"
#include "intelligence/record.h"
#include "model/chat.h"
#include "model/image.h"
#include "model/model.h"
#include "engine/sampler.h"

typedef struct es_intelligence es_intelligence;

/* A frame: a file, or a decoded picture when path is NULL. */
typedef struct es_frame {
    const char *path;
    const es_image *image;
    double timestamp; /* seconds; negative: unknown */
} es_frame;

typedef struct es_ask {
    const char *prompt; /* NULL: es_prompt_frame */
    int32_t max_tokens; /* a frame */
    es_sampling sampling;
    int32_t interleaved; /* frames in one prompt; 1: each its own sequence */
    bool free_form;      /* the answer to escriba's own question need not keep to the record's grammar */
} es_ask;
void es_ask_init(es_ask *ask); /* greedy, 500 tokens, own sequences */

typedef struct es_observation {
    size_t index;
    double timestamp;
    const char *image_path; /* borrowed from the frame; may be NULL */
    es_status status;       /* not ES_OK: the frame failed and error says why */
    es_error error;
    es_record record;
    const char *raw_text; /* borrowed; valid during the callback */
    const char *reason;   /* why there is no record; "" when there is one, or the frame failed; never freed */
    bool truncated;
    int32_t prompt_tokens, image_tokens, generated_tokens;
    double seconds_decode_image, seconds_vision, seconds_prefill, seconds_generate;
} es_observation;

/* Whether the server at a place of the list (from 1; 0: all) is to get nothing new. Asked often. */
typedef struct es_drain {
    bool (*asked)(void *context, size_t place);
    void *context;
} es_drain;

typedef struct es_listener {
    void *context;
    bool (*observed)(void *context, const es_observation *observation); /* false: stop */
    void (*progress)(void *context, size_t done, size_t total);         /* may be NULL */
    bool (*piece)(void *context, const char *text);                     /* generate_text only; may be NULL */
    const es_cancel *cancel;                                            /* may be NULL */
    const struct es_drain *drain;                                       /* of several servers; may be NULL */
} es_listener;

/* A stretch of the recording about one thing, for summaries. */
typedef struct es_topic_block {
    double start, end; /* seconds */
    const char *activity;
    const char *const *apps;
    size_t app_count;
    const char *const *topics;
    size_t topic_count;
    const char *const *descriptions;
    size_t description_count;
} es_topic_block;

typedef struct es_intelligence_ops {
    void (*destroy)(es_intelligence *self);
    es_status (*classify_frames)(es_intelligence *self, const es_frame *frames, size_t count, const es_ask *ask,
                                 const es_listener *listener, es_error *err);
    es_status (*generate_text)(es_intelligence *self, const es_message *messages, size_t count, const es_ask *ask,
                               const es_listener *listener, es_str *text, es_error *err);
} es_intelligence_ops;

struct es_intelligence {
    const es_intelligence_ops *ops;
    const char *name; /* "native", "mlx", "ollama", "openai" */
};

void es_intelligence_free(es_intelligence *self); /* NULL is fine */

/* The port. Each frame gives exactly one observation, bad ones too, in the order in which they are done. */
es_status es_classify_frames(es_intelligence *self, const es_frame *frames, size_t count, const es_ask *ask,
                             const es_listener *listener, es_error *err);
es_status es_generate_text(es_intelligence *self, const es_message *messages, size_t count, const es_ask *ask,
                           const es_listener *listener, es_str *text, es_error *err);
/* A few sentences about what was done, from blocks in time order. */
es_status es_generate_summary(es_intelligence *self, const es_topic_block *blocks, size_t count, const es_ask *ask,
                              const es_listener *listener, es_str *text, es_error *err);

#endif
