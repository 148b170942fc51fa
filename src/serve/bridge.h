/* bridge.h - Escribano's bridge: newline-delimited JSON on a Unix socket, any number of clients, one batch.
 *
 * Whoever may connect (the socket is its owner's only) may name picture files.
 */
#ifndef ES_SERVE_BRIDGE_H
#define ES_SERVE_BRIDGE_H

#include "serve/catalog.h"
#include "serve/pictures.h"
#include "serve/worker.h"

typedef struct es_bridge es_bridge;

typedef struct es_bridge_options {
    const char *path;    /* of the socket */
    bool words;          /* mode llm; else vlm */
    es_worker *worker;   /* the caller's, like the next two */
    es_catalog *catalog; /* its usual model answers until load_llm names another */
    es_picture_door *door;
    es_sampling sampling; /* where a request says nothing */
    size_t max_line;      /* bytes; 0: 16 MiB */
    double limit_seconds; /* for an answer; 0: 300 */
} es_bridge_options;

/* Creates the socket, mode 0600. A stale one (nobody listens) is replaced; one that is somebody's, or a file that is no
 * socket, is an error. */
es_status es_bridge_open(es_bridge **bridge, const es_bridge_options *options, es_error *err);
/* Answers until es_bridge_stop, or until a client says shutdown. */
es_status es_bridge_run(es_bridge *bridge, es_error *err);
void es_bridge_stop(es_bridge *bridge); /* from any thread */
/* Removes the socket. NULL is fine. */
void es_bridge_close(es_bridge *bridge);

/* "/tmp/x.sock" and "vlm" to "/tmp/x-vlm.sock", newly allocated; NULL when memory is short. */
char *es_bridge_path(const char *path, const char *mode);

#endif
