/* pull.h - fetching a model from a hub into the cache, so that it is whole or can be gone on with.
 *
 * Several threads and processes may pull at once, the same model too. Nothing is printed. Every file is checked
 * against the checksum of the hub's listing before it gets its name.
 */
#ifndef ES_HUB_PULL_H
#define ES_HUB_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef enum es_pull_phase {
    ES_PULL_LISTING,  /* asking the hub what there is */
    ES_PULL_WAITING,  /* another program is fetching this file */
    ES_PULL_CHECKING, /* reading what is here already */
    ES_PULL_LOADING,
    ES_PULL_RETRYING, /* note says why, seconds how long the pause is */
    ES_PULL_FILE_DONE,
} es_pull_phase;

typedef struct es_pull_progress {
    es_pull_phase phase;
    const char *file;               /* "" while listing */
    size_t index, count;            /* which file of how many, from 0 */
    uint64_t file_done, file_total; /* bytes of this file */
    uint64_t done, total;           /* bytes of all files; total grows when the weights become known */
    double rate;                    /* bytes a second over the last seconds; 0: not known yet */
    bool fetched;                   /* FILE_DONE: bytes came over the network, else it was here */
    const char *note;
    double seconds;
} es_pull_progress;

typedef struct es_pull_options {
    const char *endpoint; /* NULL: $HF_ENDPOINT, else https://huggingface.co */
    const char *cache;    /* NULL: the shared cache (HF_HUB_CACHE, HF_HOME ...) */
    const char *token;    /* NULL: HF_TOKEN or the token file; "": none */
    bool verify;          /* read files that are here already and check them too */
    int retries;          /* failures in a row before giving up */
    double connect_seconds, stall_seconds, backoff_seconds;
    void (*progress)(void *user, const es_pull_progress *progress); /* NULL: nobody looks */
    bool (*cancelled)(void *user); /* asked several times a second; true ends with ES_ERR_CANCELLED */
    void *user;
} es_pull_options;

/* Retries 6, connect 20 s, stall 30 s, back-off from 0.5 s; all else from the environment. */
es_pull_options es_pull_default_options(void);

/* Fetches "ORG/NAME" or "ORG/NAME@REVISION". *dir gets the snapshot's directory (free with free). What arrived before a
 * failure is kept and the next call goes on from there. */
es_status es_hub_pull(const char *name, const es_pull_options *options, char **dir, es_error *err);

#endif
