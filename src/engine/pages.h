/* pages.h - who uses which page of the KV cache, and what the pages nobody uses still hold.
 *
 * A page holds page_tokens tokens of one sequence, for all layers. Several sequences may use a page whose content they
 * share; it is never written again once it is full. Pages nobody uses are free, or cached: full, found by key, taken
 * when no free one is left, least recently used first.
 */
#ifndef ES_ENGINE_PAGES_H
#define ES_ENGINE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

typedef struct es_page {
    int32_t users;
    bool keyed; /* key says what it holds, and the table finds it */
    es_hash key;
    int32_t next_in_bucket; /* of the table; -1 ends */
    int32_t older, newer;   /* among the cached; -1 ends */
} es_page;

typedef struct es_pages {
    es_page *items;     /* [total] */
    int32_t *free_list; /* a stack: what was given back last goes first, so that few pages are ever touched */
    int32_t *buckets;   /* [bucket_count], -1 when empty */
    int32_t total, page_tokens, free_count, cached_count, bucket_count;
    int32_t oldest, newest; /* ends of the cached list */
} es_pages;

es_status es_pages_create(es_pages *pages, int32_t total, int32_t page_tokens, es_error *err);
void es_pages_free(es_pages *pages);

/* How many pages `tokens` tokens need. */
int32_t es_pages_for(const es_pages *pages, int64_t tokens);
/* How many could be taken now: free and cached ones. */
int32_t es_pages_available(const es_pages *pages);

/* A page for one user to write to, or -1 when there is none. May forget a cached one. */
int32_t es_pages_take(es_pages *pages);
/* The page that holds what `key` says, with one more user; -1 when there is none. */
int32_t es_pages_find(es_pages *pages, es_hash key);
/* The page is full and holds what `key` says: others may find it. No effect when a page with that key is known. */
void es_pages_seal(es_pages *pages, int32_t page, es_hash key);
/* One user less. */
void es_pages_release(es_pages *pages, int32_t page);

#endif
