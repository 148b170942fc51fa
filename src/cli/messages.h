/* messages.h - a file of chat messages, with its pictures decoded and cut into patches. */
#ifndef ES_CLI_MESSAGES_H
#define ES_CLI_MESSAGES_H

#include <jansson.h>

#include "model/chat.h"
#include "model/preprocess.h"

typedef struct es_conversation {
    json_t *root; /* the texts are this one's */
    es_message *messages;
    size_t message_count;
    es_content *content; /* of all messages, one after another */
    size_t content_count;
    es_patches *pictures;
    size_t picture_count;
} es_conversation;

/* Reads [{"role", "content": TEXT or [{"type": "text", "text"} or {"type": "image", "image": PATH}, ...]}, ...], or an
 * object with these under "messages". A relative PATH is looked for where the program runs, then beside the file. */
es_status es_conversation_open(es_conversation *conversation, const char *path, const es_preprocess *preprocess,
                               es_error *err);
void es_conversation_free(es_conversation *conversation);

#endif
