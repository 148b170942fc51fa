/* serving.h - what the verbs that answer others share: settings as a worker, a catalog and a picture door. */
#ifndef ES_CLI_SERVING_H
#define ES_CLI_SERVING_H

#include "cli/cli.h"
#include "serve/catalog.h"
#include "serve/pictures.h"
#include "serve/worker.h"

int es_cmd_serve(int argc, char **argv);
int es_cmd_bridge(int argc, char **argv);

typedef struct es_serving {
    const es_settings *settings;
    es_catalog catalog;
    es_picture_door door;
    es_worker *worker;
} es_serving;

/* Finds the model and starts the worker, which loads nothing yet. `name`: the model; queue, tokens and keep_ms as in
 * worker.h. */
es_status es_serving_begin(es_serving *serving, const es_settings *settings, const char *name, int32_t queue,
                           int64_t tokens, int64_t keep_ms, es_error *err);
void es_serving_end(es_serving *serving);
/* The settings' sampling, for what a request leaves open. */
es_sampling es_serving_sampling(const es_settings *settings);
/* Loads the usual model now and keeps it for keep_ms (ES_KEEP_USUAL: as begun with). */
es_status es_serving_load(es_serving *serving, int64_t keep_ms, es_error *err);

#endif
