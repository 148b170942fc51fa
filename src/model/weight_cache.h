/* weight_cache.h - weights in a device's own order, in one file beside a hash of what they were made from.
 *
 * A file is written whole or not at all, mapped read-only, and never trusted: its table and each matrix carry sums that
 * are checked before use. What does not match is as good as absent.
 */
#ifndef ES_MODEL_WEIGHT_CACHE_H
#define ES_MODEL_WEIGHT_CACHE_H

#include "base/sha.h"
#include "compute/compute.h"
#include "model/safetensors.h"

typedef struct es_weight_cache es_weight_cache;

/* The user's own folder for caches: $XDG_CACHE_HOME or ~/.cache, then escriba/weights. NULL when there is none. */
char *es_weight_cache_dir(void);
/* The file for one model on one kind of device, so that a changed model replaces its own. */
es_status es_weight_cache_path(char **path, const char *cache_dir, const char *model_dir, const es_device *device,
                               es_error *err);
/* What ready weights are made from: the device's layout; every file's size, times and place on the disk; every tensor's
 * name, type, shape and some of its bytes. ES_ERR_UNSUPPORTED: nothing here can be kept. */
es_status es_weight_cache_key(char key[ES_SHA256_HEX + 1], const es_device *device, const es_tensors *tensors);

/* ES_ERR_IO: absent. ES_ERR_FORMAT: made from something else, or damaged. */
es_status es_weight_cache_open(es_weight_cache **cache, const char *path, const char *key, es_error *err);
/* The weights of the matrix after the one asked for last; NULL unless there are `size` bytes, undamaged. */
const void *es_weight_cache_next(es_weight_cache *cache, size_t size);
void es_weight_cache_close(es_weight_cache *cache); /* NULL is fine */

/* A new file for that key: what a device has made of each matrix is added as it is made, so that none need be kept. It
 * takes its place when it is finished; until then, and if anything fails, nobody sees it. */
typedef struct es_weight_cache_out es_weight_cache_out;
es_status es_weight_cache_begin(es_weight_cache_out **out, const char *path, const char *key, es_error *err);
es_status es_weight_cache_add(es_weight_cache_out *out, const void *data, size_t size, es_error *err);
es_status es_weight_cache_finish(es_weight_cache_out *out, es_error *err); /* frees it, too, in any case */
void es_weight_cache_drop(es_weight_cache_out *out);                       /* instead; NULL is fine */

#endif
