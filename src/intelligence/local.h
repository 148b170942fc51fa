/* local.h - the adapter that answers with our own engine. */
#ifndef ES_INTELLIGENCE_LOCAL_H
#define ES_INTELLIGENCE_LOCAL_H

#include "engine/engine.h"
#include "intelligence/intelligence.h"

typedef struct es_local_options {
    const char *model; /* directory */
    es_engine_options engine;
    int64_t max_pixels;       /* 0: the model's own */
    const char *weight_cache; /* folder for weights made ready; NULL: the user's own, "": nowhere */
    double idle_unload;       /* seconds without a question after which model and caches are let go; 0: never */
} es_local_options;

/* Opens the model on `device`, which the adapter takes over (and frees, also when this fails). */
es_status es_local_create(es_intelligence **self, es_device *device, const es_local_options *options, es_error *err);
/* Lets model, keys, values and caches go; the next question brings them back. Waits for one under way. */
void es_local_unload(es_intelligence *self);
bool es_local_is_loaded(es_intelligence *self);

#endif
