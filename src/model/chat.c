#include "model/chat.h"

#include "base/str.h"

/* The ids that mark turns and pictures; checked once a call. */
typedef struct marks {
    int32_t turn_start, turn_end, vision_start, vision_end, image_pad;
} marks;

static es_status find_marks(const es_tokenizer *tokenizer, const es_model_config *config, bool pictures, marks *m,
                            es_error *err)
{
    m->turn_start = es_tokenizer_id(tokenizer, "<|im_start|>");
    m->turn_end = es_tokenizer_id(tokenizer, "<|im_end|>");
    m->vision_start = config->vision_start;
    m->vision_end = config->vision_end;
    m->image_pad = config->image_token;
    if (m->turn_start < 0 || m->turn_end < 0)
        return es_fail(err, ES_ERR_FORMAT, "tokenizer.json: no <|im_start|> and <|im_end|> tokens: not a chat model's");
    int32_t vocab = config->text.vocab;
    if (m->turn_start >= vocab || m->turn_end >= vocab)
        return es_fail(err, ES_ERR_FORMAT, "tokenizer.json: <|im_start|> lies outside the vocabulary of config.json");
    if (pictures && (m->vision_start < 0 || m->vision_end < 0 || m->image_pad < 0))
        return es_fail(err, ES_ERR_FORMAT,
                       "config.json: no vision_start_token_id, vision_end_token_id, image_token_id");
    return ES_OK;
}

/* Text between two marks is tokenised as one piece, since tokens may span the role line and the content. */
static es_status flush(const es_tokenizer *tokenizer, es_str *pending, es_ids *ids, es_error *err)
{
    ES_TRY(es_str_check(pending, err));
    if (pending->length > 0)
        ES_TRY(es_tokenizer_encode(tokenizer, pending->data, pending->length, false, ids, err));
    es_str_clear(pending);
    return ES_OK;
}

static es_status add_picture(const marks *m, int32_t tokens, es_ids *ids, es_error *err)
{
    ES_TRY(es_ids_add(ids, m->vision_start, err));
    for (int32_t i = 0; i < tokens; i++)
        ES_TRY(es_ids_add(ids, m->image_pad, err));
    return es_ids_add(ids, m->vision_end, err);
}

static const char *role_line(es_role role)
{
    switch (role) {
    case ES_ROLE_SYSTEM:
        return "system\n";
    case ES_ROLE_ASSISTANT:
        return "assistant\n";
    case ES_ROLE_USER:
        break;
    }
    return "user\n";
}

static es_status encode_all(const es_tokenizer *tokenizer, const marks *m, const es_message *messages, size_t count,
                            const int32_t *image_tokens, size_t images, es_str *pending, es_ids *ids, es_error *err)
{
    for (size_t i = 0; i < count; i++) {
        ES_TRY(flush(tokenizer, pending, ids, err));
        ES_TRY(es_ids_add(ids, m->turn_start, err));
        es_str_append(pending, role_line(messages[i].role));
        for (size_t j = 0; j < messages[i].count; j++) {
            const es_content *piece = &messages[i].content[j];
            if (piece->text != NULL) {
                es_str_append(pending, piece->text);
                continue;
            }
            if (piece->image < 0 || (size_t)piece->image >= images)
                return es_fail(err, ES_ERR_ARGUMENT, "a message names picture %d, but there are %zu", piece->image,
                               images);
            ES_TRY(flush(tokenizer, pending, ids, err));
            ES_TRY(add_picture(m, image_tokens[piece->image], ids, err));
        }
        ES_TRY(flush(tokenizer, pending, ids, err));
        ES_TRY(es_ids_add(ids, m->turn_end, err));
        es_str_append(pending, "\n");
    }
    ES_TRY(flush(tokenizer, pending, ids, err));
    ES_TRY(es_ids_add(ids, m->turn_start, err));
    es_str_append(pending, role_line(ES_ROLE_ASSISTANT));
    return flush(tokenizer, pending, ids, err);
}

es_status es_chat_encode(const es_tokenizer *tokenizer, const es_model_config *config, const es_message *messages,
                         size_t count, const int32_t *image_tokens, size_t images, es_ids *ids, es_error *err)
{
    marks m;
    es_str pending = {0};
    ES_TRY(find_marks(tokenizer, config, images > 0, &m, err));
    es_status status = encode_all(tokenizer, &m, messages, count, image_tokens, images, &pending, ids, err);
    es_str_free(&pending);
    return status;
}
