/* blob.h - one file of known size and checksum, from its URL to its place in the cache. */
#ifndef ES_HUB_BLOB_H
#define ES_HUB_BLOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "hub/http.h"
#include "hub/listing.h"
#include "hub/pull.h"

typedef struct es_blob {
    const es_hub_file *file;
    const char *url;
    const char *path; /* where it is to lie; path + ".incomplete" grows beside it */
    const char *lock; /* the file to hold meanwhile */
    bool verify;      /* check a file that is there already */
    /* Told now and then, may be NULL: the phase, and how many of the file's bytes are here. */
    void (*watch)(void *user, es_pull_phase phase, uint64_t done);
    bool (*cancelled)(void *user); /* may be NULL */
    void *user;
} es_blob;

/* Makes sure that the blob lies whole at its path. *fetched: whether any byte came over the network; *reply: the last
 * answer of the network, if there was one. */
es_status es_blob_get(es_http *http, const es_blob *blob, bool *fetched, es_http_reply *reply, es_error *err);

#endif
