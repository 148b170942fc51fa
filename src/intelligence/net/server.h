/* server.h - the adapters `ollama` and `openai`: frames and words answered by a server, or by many. docs/backends.md
 * tells how. */
#ifndef ES_INTELLIGENCE_NET_SERVER_H
#define ES_INTELLIGENCE_NET_SERVER_H

#include "base/file.h"
#include "intelligence/intelligence.h"

/* Zero-initialise for the defaults. */
typedef struct es_server_options {
    const char *backend; /* "ollama" or "openai" */
    /* As the user wrote it; NULL: Ollama's own default. Several are parted by spaces; "@FILE" names a file with one a
     * line, which may be edited while it runs: "URL [backend=NAME] [model=NAME] [key=KEY] [most=N]". */
    const char *endpoint;
    const char *key;    /* NULL: none */
    const char *model;  /* NULL or "": what the server has */
    int64_t max_pixels; /* of a picture; 0: Qwen3-VL's own default */
    int32_t context;    /* tokens of prompt and answer; 0: what they need */
    int32_t most;       /* requests in flight; 0: 64 */
    bool no_stream;
    const char *keep_alive; /* Ollama: how long the model stays loaded, "10m"; NULL: the server's choice */
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

#endif
