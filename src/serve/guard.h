/* guard.h - who may ask: the names the server may be called by, the pages that may call it, keys. */
#ifndef ES_SERVE_GUARD_H
#define ES_SERVE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sha.h"
#include "base/status.h"

typedef struct es_key {
    char hash[ES_SHA256_HEX + 1];
    char name[64];
} es_key;

typedef struct es_guard {
    const char *const *hosts; /* names besides addresses and localhost */
    size_t host_count;
    const char *const *origins; /* "https://example.org" or "*" */
    size_t origin_count;
    bool any_host; /* on a Unix socket no name was resolved */
    es_key *keys;  /* NULL: none is asked for */
    size_t key_count;
} es_guard;

/* What a request says about itself; NULL: the header is not there. */
typedef struct es_headers {
    const char *host, *origin, *site, *authorization, *agent;
} es_headers;

/* Reads lines "sha256:HEX NAME" (# comments, blank lines). A file that others may write is refused. */
es_status es_guard_read_keys(es_guard *guard, const char *path, es_error *err);
void es_guard_free(es_guard *guard);

/* "host", "host:port", "[::1]:port": an address, localhost, or one of the names. A name that a stranger's DNS points
 * here is none of these. */
bool es_guard_host(const es_guard *guard, const char *host);
/* The page that asks is the server's own, or one of the origins; requests that no page sends have no Origin. */
bool es_guard_origin(const es_guard *guard, const es_headers *headers);
/* The origin may be told in Access-Control-Allow-Origin. */
bool es_guard_shares(const es_guard *guard, const char *origin);
/* "Bearer KEY" is one of the keys (or none is asked for). All are compared, each in constant time. *name: the key's. */
bool es_guard_key(const es_guard *guard, const char *authorization, const char **name);
/* "sha256:HEX" of a key, for the file. */
void es_guard_hash(const char *key, char out[ES_SHA256_HEX + 8]);

#endif
