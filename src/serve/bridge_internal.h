/* bridge_internal.h - what the bridge's two files share. */
#ifndef ES_SERVE_BRIDGE_INTERNAL_H
#define ES_SERVE_BRIDGE_INTERNAL_H

#include <jansson.h>

#include "serve/bridge.h"
#include "serve/listen.h"

typedef struct es_bridge_client {
    struct es_bridge *bridge;
    struct es_bridge_client *next;
    pthread_t thread;
    int fd;
    atomic_bool over; /* the thread may be joined */
    char name[32];
} es_bridge_client;

struct es_bridge {
    es_bridge_options options;
    int fd, wake[2];
    es_socket_file file;
    atomic_bool stopping;
    pthread_mutex_t lock; /* guards what follows */
    es_bridge_client *clients;
    unsigned long long count;
    char *model; /* directory in use */
    char *model_name;
};

/* The answer to one request, an object; never NULL but for lack of memory. *shutdown: the bridge is to end. */
json_t *es_bridge_answer(es_bridge_client *client, json_t *request, bool *shutdown);
/* The client is gone for good. */
bool es_bridge_gone(const es_bridge_client *client);

#endif
