/* server.h - the adapters `ollama` and `openai`: frames and words answered by a server, or by many. docs/backends.md
 * tells how. */
#ifndef ES_INTELLIGENCE_NET_SERVER_H
#define ES_INTELLIGENCE_NET_SERVER_H

#include <stdint.h>

#include "base/file.h"
#include "base/str.h"
#include "intelligence/intelligence.h"

/* Zero-initialise for the defaults. */
typedef struct es_server_options {
    const char *backend; /* "ollama" or "openai" */
    /* As the user wrote it; NULL: Ollama's own default. Several are parted by spaces; "@FILE" names a file with one a
     * line, which may be edited while it runs: "URL [backend=NAME] [model=NAME] [key=KEY] [most=N] [timeout=SECONDS]";
     * all but the key may follow a URL here, too. */
    const char *endpoint;
    const char *key;    /* NULL: none */
    const char *model;  /* NULL or "": what the server has */
    int64_t max_pixels; /* of a picture; 0: Qwen3-VL's own default */
    int32_t context;    /* tokens of prompt and answer; 0: what they need */
    int32_t most;       /* requests in flight; 0: 64 */
    bool no_stream;
    const char *keep_alive; /* Ollama: how long the model stays loaded, "10m" or seconds; NULL: the server's choice */
    const char *think;      /* Ollama, of a model that can think aloud: "off" (NULL), "on", "low", "medium", "high" */
    double connect_seconds; /* 0: 10 */
    double answer_seconds;  /* to the first byte, and between two; 0: 300 */
    double total_seconds;   /* an answer in all; 0: six times that */
    double pause_seconds;   /* before the second attempt; it doubles; 0: 0.5 */
    void (*note)(void *context, const char *line); /* told the table of a run on several servers; may be NULL */
    void *note_context;
} es_server_options;

/* Finds the model (an OpenAI server that is told one is not asked). Of several servers those that do not answer are
 * left out, with a note; when none does, that is the error. */
es_status es_server_create(es_intelligence **self, const es_server_options *options, es_error *err);

/* The models a server (one) lists; an error when it does not answer as it should. What doctor and auto ask. */
es_status es_server_models(const es_server_options *options, es_names *names, es_error *err);

/* What a server says of itself, in a line for doctor: its version, how many models, the one that options->model means
 * or that would be taken (with what it can), and those in memory. Of several, each after its address. */
es_status es_server_tell(const es_server_options *options, es_str *out, es_error *err);

/* How far a pull is. */
typedef struct es_pull_step {
    const char *words;    /* the server's: "pulling 1ff5b64b61b9", "verifying sha256 digest" */
    uint64_t done, total; /* bytes of the layer it is at; 0: not said */
    double rate;          /* bytes a second; 0: not known yet */
    double pause;         /* > 0: the connection broke (words: how), and is tried again after so many seconds */
} es_pull_step;
typedef struct es_server_pull {
    void *context;
    void (*step)(void *context, const es_pull_step *step); /* may be NULL */
    bool (*cancelled)(void *context);                      /* asked several times a second; may be NULL */
} es_server_pull;
/* Has an Ollama server fetch a model. What it has when the connection breaks it keeps, and the next attempt, which is
 * made here while something new comes, goes on from there. */
es_status es_server_get(const es_server_options *options, const char *model, const es_server_pull *how, es_error *err);

#endif
