/* chat.h - the model's chat layout: messages to token ids with vision spans. */
#ifndef ES_MODEL_CHAT_H
#define ES_MODEL_CHAT_H

#include "model/tokenizer.h"
#include "model/config.h"

typedef enum es_role { ES_ROLE_SYSTEM, ES_ROLE_USER, ES_ROLE_ASSISTANT } es_role;

/* A piece of a message: text, or the place of picture number `image` (counted over the whole conversation).
 */
typedef struct es_content {
    const char *text; /* NULL: a picture */
    int32_t image;
} es_content;

typedef struct es_message {
    es_role role;
    const es_content *content;
    size_t count;
} es_message;

/* Tokens one picture takes in the prompt, image_tokens[i] for picture i. Appends ids of
 *   <|im_start|>ROLE\n CONTENT <|im_end|>\n ... <|im_start|>assistant\n
 * where a picture is <|vision_start|> <|image_pad|> * image_tokens[i] <|vision_end|>. Text is never read for
 * special tokens: a prompt cannot forge a turn or a picture. */
es_status es_chat_encode(const es_tokenizer *tokenizer, const es_model_config *config, const es_message *messages,
                         size_t count, const int32_t *image_tokens, size_t images, es_ids *ids, es_error *err);

#endif
