/* intelligence.c - what is common to all adapters: arguments checked once, summaries as text from text. */
#include "intelligence/intelligence.h"

#include "intelligence/prompts.h"

#define DEFAULT_MAX_TOKENS 500
#define MAX_INTERLEAVED 64

void es_ask_init(es_ask *ask)
{
    *ask = (es_ask){.max_tokens = DEFAULT_MAX_TOKENS, .interleaved = 1};
    es_sampling_init(&ask->sampling);
}

void es_intelligence_free(es_intelligence *self)
{
    if (self != NULL)
        self->ops->destroy(self);
}

static es_status check_ask(const es_ask *ask, es_error *err)
{
    if (ask == NULL)
        return es_fail(err, ES_ERR_ARGUMENT, "no question was given");
    if (ask->max_tokens < 1)
        return es_fail(err, ES_ERR_ARGUMENT, "max_tokens is %d, must be 1 or more", ask->max_tokens);
    if (ask->interleaved < 1 || ask->interleaved > MAX_INTERLEAVED)
        return es_fail(err, ES_ERR_ARGUMENT, "interleaved is %d, must be 1 to %d frames in a prompt", ask->interleaved,
                       MAX_INTERLEAVED);
    return es_sampling_check(&ask->sampling, err);
}

es_status es_classify_frames(es_intelligence *self, const es_frame *frames, size_t count, const es_ask *ask,
                             const es_listener *listener, es_error *err)
{
    static const es_listener nobody;
    ES_TRY(check_ask(ask, err));
    if (frames == NULL && count > 0)
        return es_fail(err, ES_ERR_ARGUMENT, "%zu frames, but no list of them", count);
    if (listener == NULL)
        listener = &nobody;
    if (es_cancel_asked(listener->cancel))
        return es_fail(err, ES_ERR_CANCELLED, "cancelled");
    return count > 0 ? self->ops->classify_frames(self, frames, count, ask, listener, err) : ES_OK;
}

es_status es_generate_text(es_intelligence *self, const es_message *messages, size_t count, const es_ask *ask,
                           const es_listener *listener, es_str *text, es_error *err)
{
    static const es_listener nobody;
    ES_TRY(check_ask(ask, err));
    if (messages == NULL || count == 0)
        return es_fail(err, ES_ERR_ARGUMENT, "there are no messages to answer");
    if (listener == NULL)
        listener = &nobody;
    if (es_cancel_asked(listener->cancel))
        return es_fail(err, ES_ERR_CANCELLED, "cancelled");
    return self->ops->generate_text(self, messages, count, ask, listener, text, err);
}

es_status es_generate_summary(es_intelligence *self, const es_topic_block *blocks, size_t count, const es_ask *ask,
                              const es_listener *listener, es_str *text, es_error *err)
{
    es_str question = {0};
    if (blocks == NULL || count == 0)
        return es_fail(err, ES_ERR_ARGUMENT, "there are no blocks to summarise");
    if (ask != NULL && ask->prompt != NULL)
        es_str_append_format(&question, "%s\n\n", ask->prompt);
    es_prompt_summary(&question, blocks, count);
    es_status status = es_str_check(&question, err);
    if (status == ES_OK) {
        es_content content = {.text = es_str_text(&question)};
        es_message message = {ES_ROLE_USER, &content, 1};
        status = es_generate_text(self, &message, 1, ask, listener, text, err);
    }
    es_str_free(&question);
    return status;
}
