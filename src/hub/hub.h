/* hub.h - which models are on this machine, and which directory a name means.
 *
 * Places, in this order: $ESCRIBA_MODELS, PREFIX/share/escriba/models of the installed program, the source tree's
 * models/ when the program runs from its build folder, and the cache that programs share for models of the hub.
 */
#ifndef ES_HUB_HUB_H
#define ES_HUB_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef enum es_hub_source {
    ES_HUB_BOX,  /* in a models folder: came with the program, or the user put it there */
    ES_HUB_CACHE /* in the hub's cache */
} es_hub_source;

typedef struct es_hub_model {
    char *name; /* what es_hub_resolve takes: "escriba-tiny", "ORG/NAME", "ORG/NAME@COMMIT" */
    char *path; /* the directory to load */
    es_hub_source source;
    char precision[64]; /* "bf16", "4-bit, group 64", "unknown" */
    uint64_t size;      /* bytes of the files that are there */
    bool complete;      /* it can be loaded */
    char missing[256];  /* else the first file that is not there */
} es_hub_model;

typedef struct es_hub_models {
    es_hub_model *items;
    size_t count, capacity;
} es_hub_models;

/* Every Qwen3-VL found, complete or not, in the order of the places and by name. Folders that cannot be read are
 * passed over. Free with es_hub_models_free. */
es_status es_hub_list(es_hub_models *models, es_error *err);
void es_hub_models_free(es_hub_models *models);

/* The directory that name_or_path means: a directory as it is; a name without a slash is a model of a models folder;
 * ORG/NAME[@REVISION] one of the cache. A model that is not here or not whole is ES_ERR_IO,
 * with a line that says how to get it. *dir is freed with free. */
es_status es_hub_resolve(const char *name_or_path, char **dir, es_error *err);

#endif
