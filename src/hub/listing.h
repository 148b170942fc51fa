/* listing.h - what the hub says a model consists of: its answers read with distrust. */
#ifndef ES_HUB_LISTING_H
#define ES_HUB_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sha.h"
#include "base/status.h"

typedef struct es_hub_file {
    char *path;                     /* a plain file name: letters, digits and ._+=- */
    uint64_t size;                  /* bytes */
    char digest[ES_SHA256_HEX + 1]; /* lower-case hexadecimal; also the blob's name in the cache */
    bool is_sha256;                 /* a large file (LFS); else git's SHA-1 of the blob */
} es_hub_file;

typedef struct es_hub_files {
    es_hub_file *items;
    size_t count, capacity;
    size_t seen; /* entries of the listing, wanted or not */
} es_hub_files;

/* True for the files a model is loaded from: configuration, tokenizer, chat template, safetensors and their index, at
 * the top of the repository. */
bool es_hub_wanted(const char *path);

/* The commit that GET /api/models/REPO/revision/REV names ("sha"): 40 hexadecimal digits. */
es_status es_hub_read_revision(const char *text, size_t size, char commit[ES_SHA1_HEX + 1], es_error *err);

/* Adds the wanted files of one page of GET /api/models/REPO/tree/COMMIT. A path that leaves the repository, a size that
 * is not one, a checksum of the wrong shape or a name listed twice makes the whole page ES_ERR_FORMAT. */
es_status es_hub_read_tree(es_hub_files *files, const char *text, size_t size, es_error *err);

/* Configuration first, then the index, then weights; by name within each. */
void es_hub_files_sort(es_hub_files *files);
es_hub_file *es_hub_files_find(const es_hub_files *files, const char *path); /* NULL: not there */
void es_hub_files_free(es_hub_files *files);

bool es_hub_is_weights(const char *path); /* *.safetensors */
bool es_hub_is_hex(const char *text, size_t digits);

#endif
