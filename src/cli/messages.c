#include "cli/messages.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#define FILE_LIMIT ((size_t)64 << 20)
#define ITEM_LIMIT 100000 /* messages, and parts of messages, in one file */

void es_conversation_free(es_conversation *c)
{
    for (size_t i = 0; i < c->picture_count; i++)
        es_patches_free(&c->pictures[i]);
    free(c->pictures);
    free(c->content);
    free(c->messages);
    json_decref(c->root);
    *c = (es_conversation){0};
}

/* PATH as given, or beside the messages' file when it is not there. */
static char *picture_path(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    if (strncmp(path, "file://", 7) == 0)
        path += 7;
    if (path[0] == '/' || slash == NULL || es_file_exists(path))
        return es_strdup(path);
    char *dir = es_strndup(file, (size_t)(slash - file));
    char *joined = dir != NULL ? es_path_join(dir, path) : NULL;
    free(dir);
    if (joined != NULL && !es_file_exists(joined)) {
        free(joined);
        return es_strdup(path); /* so that the error names what the file says */
    }
    return joined;
}

static es_status add_picture(es_conversation *c, const char *file, const char *name, const es_preprocess *preprocess,
                             es_error *err)
{
    es_patches *grown = es_realloc(c->pictures, c->picture_count + 1, sizeof *grown);
    char *path = picture_path(file, name);
    if (grown != NULL)
        c->pictures = grown;
    if (grown == NULL || path == NULL) {
        free(path);
        return es_fail_memory(err, "a picture", 0);
    }
    es_image image = {0};
    es_status status = es_image_load(&image, path, err);
    if (status == ES_OK) {
        status = es_preprocess_image(preprocess, &image, &c->pictures[c->picture_count], err);
        es_image_free(&image);
        if (status == ES_OK)
            c->picture_count++;
        else
            status = es_wrap(err, status, "%s", path);
    }
    free(path);
    return status;
}

static es_status read_item(es_conversation *c, const json_t *item, const char *file, const char *where,
                           const es_preprocess *preprocess, es_content *out, es_error *err)
{
    const char *type = NULL;
    *out = (es_content){0};
    if (!json_is_object(item))
        return es_fail(err, ES_ERR_FORMAT, "%s: a part must be an object with a \"type\"", where);
    ES_TRY(es_json_string(item, where, "type", true, &type, err));
    if (strcmp(type, "text") == 0)
        return es_json_string(item, where, "text", true, &out->text, err);
    if (strcmp(type, "image") != 0)
        return es_fail(err, ES_ERR_FORMAT, "%s: \"type\" is neither text nor image", where);
    const char *path = NULL;
    ES_TRY(es_json_string(item, where, "image", true, &path, err));
    out->image = (int32_t)c->picture_count;
    return add_picture(c, file, path, preprocess, err);
}

static es_status read_role(const json_t *message, const char *where, es_role *role, es_error *err)
{
    const char *name = NULL;
    ES_TRY(es_json_string(message, where, "role", true, &name, err));
    if (strcmp(name, "system") == 0)
        *role = ES_ROLE_SYSTEM;
    else if (strcmp(name, "user") == 0)
        *role = ES_ROLE_USER;
    else if (strcmp(name, "assistant") == 0)
        *role = ES_ROLE_ASSISTANT;
    else
        return es_fail(err, ES_ERR_FORMAT, "%s: \"role\" is not system, user or assistant", where);
    return ES_OK;
}

static es_status read_message(es_conversation *c, const json_t *message, const char *file, size_t number,
                              const es_preprocess *preprocess, es_error *err)
{
    char where[300];
    snprintf(where, sizeof where, "%s: message %zu", file, number + 1);
    if (!json_is_object(message))
        return es_fail(err, ES_ERR_FORMAT, "%s: must be an object with \"role\" and \"content\"", where);
    es_message *out = &c->messages[number];
    ES_TRY(read_role(message, where, &out->role, err));
    const json_t *content = json_object_get(message, "content");
    out->content = c->content + c->content_count;
    if (json_is_string(content)) {
        c->content[c->content_count++].text = json_string_value(content);
        out->count = 1;
        return ES_OK;
    }
    if (!json_is_array(content))
        return es_fail(err, ES_ERR_FORMAT, "%s: \"content\" must be a text or a list", where);
    for (size_t i = 0; i < json_array_size(content); i++) {
        snprintf(where, sizeof where, "%s: message %zu, part %zu", file, number + 1, i + 1);
        ES_TRY(read_item(c, json_array_get(content, i), file, where, preprocess, &c->content[c->content_count], err));
        c->content_count++;
        out->count++;
    }
    return ES_OK;
}

static es_status read_messages(es_conversation *c, const char *file, const es_preprocess *preprocess, es_error *err)
{
    const json_t *list = json_is_object(c->root) ? json_object_get(c->root, "messages") : c->root;
    size_t n = json_array_size(list), parts = 0;
    if (n == 0)
        return es_fail(err, ES_ERR_FORMAT, "%s: must be a list of messages, or an object with them as \"messages\"",
                       file);
    for (size_t i = 0; i < n; i++) {
        size_t more = json_array_size(json_object_get(json_array_get(list, i), "content"));
        parts += more > 0 ? more : 1;
    }
    if (n > ITEM_LIMIT || parts > ITEM_LIMIT)
        return es_fail(err, ES_ERR_LIMIT, "%s: %zu messages with %zu parts, more than %d", file, n, parts, ITEM_LIMIT);
    c->messages = es_calloc(n, sizeof *c->messages);
    c->content = es_calloc(parts, sizeof *c->content);
    if (c->messages == NULL || c->content == NULL)
        return es_fail_memory(err, "the messages", n * sizeof *c->messages);
    c->message_count = n;
    for (size_t i = 0; i < n; i++)
        ES_TRY(read_message(c, json_array_get(list, i), file, i, preprocess, err));
    return ES_OK;
}

es_status es_conversation_open(es_conversation *conversation, const char *path, const es_preprocess *preprocess,
                               es_error *err)
{
    *conversation = (es_conversation){0};
    char *text = NULL;
    size_t size = 0;
    ES_TRY(es_file_read(path, FILE_LIMIT, &text, &size, err));
    es_status status = es_json_parse(&conversation->root, text, size, path, err);
    free(text);
    if (status == ES_OK)
        status = read_messages(conversation, path, preprocess, err);
    if (status != ES_OK)
        es_conversation_free(conversation);
    return status;
}
