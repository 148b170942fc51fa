/* dialect.h - what the protocols differ in: how a question is written, and how an answer is read. */
#ifndef ES_INTELLIGENCE_NET_DIALECT_H
#define ES_INTELLIGENCE_NET_DIALECT_H

#include <jansson.h>

#include "base/str.h"
#include "engine/sampler.h"
#include "model/chat.h"

#define ES_ANSWER_MAX ((size_t)4 << 20) /* bytes of text an answer may have */

/* How Ollama, which keeps a message's pictures apart from its words, is told where among them they belong. */
typedef enum es_placing {
    ES_PLACING_TURNS, /* a message for each text and each picture, in order */
    ES_PLACING_MARKS, /* "[img]" among the words, where a template leaves it */
    ES_PLACING_WHOLE  /* the prompt written out as Qwen3-VL has it, with "[img-0]" and so on in it */
} es_placing;

typedef struct es_question {
    const char *model;
    const es_message *messages;
    size_t message_count;
    const es_str *pictures; /* base64 of PNG files, in the order of their numbers */
    int32_t max_tokens;
    const es_sampling *sampling;
    int32_t context;    /* tokens of prompt and answer the server should make room for; 0: its own choice */
    bool record_schema; /* the answer is to be a record as JSON */
    const char *think;  /* of a model that can think aloud: "false", "true" or a JSON string; NULL: not said */
    bool stream;
    es_placing placing;     /* of pictures, should words come before one */
    const char *keep_alive; /* how long the server keeps the model, as JSON; NULL: its own choice */
} es_question;

/* An answer as it comes. */
typedef struct es_reading {
    es_str text;
    bool ended, truncated;
    int32_t prompt_tokens, generated_tokens;
    double seconds_prefill, seconds_generate; /* 0: not said */
} es_reading;

typedef struct es_dialect {
    const char *name; /* "ollama" */
    /* *path: where the body goes, after the base address. */
    es_status (*write)(const es_question *question, const char **path, es_str *body, es_error *err);
    /* One JSON value of the answer. ES_ERR_FORMAT: not what the protocol says; ES_ERR_NETWORK: the server's error. */
    es_status (*read)(es_reading *reading, const json_t *value, es_error *err);
} es_dialect;

extern const es_dialect es_dialect_ollama, es_dialect_openai;

/* --- used by both --- */
/* {"type": "object", ...}: the JSON schema of a record. */
void es_append_record_schema(es_str *out);
/* Appends text to the answer; ES_ERR_LIMIT when it grows too long. */
es_status es_reading_add(es_reading *reading, const char *text, es_error *err);
/* What the server says is wrong, as it words it: "error" as a string or with a "message", "detail"; NULL: nothing. */
const char *es_server_complaint(const json_t *value);
/* A member that counts something: kept within [0, INT32_MAX]; anything but a whole number is passed over. */
int32_t es_count_of(const json_t *object, const char *key);

#endif
