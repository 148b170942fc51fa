/* cache.h - the folder where this and other programs keep models from the hub, and the names in it.
 *
 *   CACHE/models--ORG--NAME/refs/main                       the commit a branch or tag meant when last asked for
 *   CACHE/models--ORG--NAME/blobs/CHECKSUM                  a file's bytes
 *   CACHE/models--ORG--NAME/snapshots/COMMIT/config.json    -> ../../blobs/CHECKSUM
 *   CACHE/.locks/models--ORG--NAME/CHECKSUM.lock            held (flock) by who is writing that blob
 */
#ifndef ES_HUB_CACHE_H
#define ES_HUB_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/file.h"
#include "base/sha.h"
#include "base/status.h"

/* "ORG/NAME" or "ORG/NAME@REVISION" taken apart and checked. */
typedef struct es_hub_name {
    char repo[200];     /* "ORG/NAME" */
    char folder[208];   /* "models--ORG--NAME" */
    char revision[200]; /* "main" unless stated */
    bool has_revision;
} es_hub_name;
es_status es_hub_name_parse(es_hub_name *name, const char *text, es_error *err);

/* $HF_HUB_CACHE, else $HUGGINGFACE_HUB_CACHE, else the home below + "/hub". Free with free. */
es_status es_hub_cache_dir(char **dir, es_error *err);
/* $HF_HOME, else $XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface. Free with free. */
es_status es_hub_home_dir(char **dir, es_error *err);
/* $HF_TOKEN, else the file $HF_TOKEN_PATH, else the home's file "token"; *token NULL when there is none. */
es_status es_hub_token(char **token, es_error *err);
/* $HF_ENDPOINT or https://huggingface.co, without a trailing slash. Free with free. */
es_status es_hub_endpoint(char **endpoint, es_error *err);
/* Whether $HF_HUB_OFFLINE (or $TRANSFORMERS_OFFLINE) says to stay off the network. */
bool es_hub_offline(void);

/* The snapshot folder that a revision (branch, tag, commit or the beginning of one) means in repo_dir; *dir NULL when
 * the cache has none. */
es_status es_hub_find_snapshot(char **dir, const char *repo_dir, const char *revision, es_error *err);
/* The commit in repo_dir/refs/REVISION; false when there is none. */
bool es_hub_read_ref(const char *repo_dir, const char *revision, char commit[ES_SHA1_HEX + 1]);

/* As es_dir_list, but a folder that cannot be read counts as an empty one. */
es_status es_hub_list_dir(const char *path, es_names *names, es_error *err);

/* A model directory looked at from outside. */
typedef struct es_hub_state {
    bool is_model;       /* it has a readable config.json with model_type qwen3_vl */
    bool complete;       /* every file needed to run is there */
    char missing[256];   /* the first that is not */
    char precision[64];  /* "bf16", "4-bit, group 64"... */
    char model_type[64]; /* as config.json states it; "" when it states none */
    uint64_t size;       /* bytes of its files */
} es_hub_state;
es_status es_hub_inspect(const char *dir, es_hub_state *state, es_error *err);

/* The files named by DIR/model.safetensors.index.json, sorted, each once; none when there is no index. Names that are
 * not plain *.safetensors make it ES_ERR_FORMAT. */
es_status es_hub_index_shards(const char *dir, es_names *shards, es_error *err);

#endif
