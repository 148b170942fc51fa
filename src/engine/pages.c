#include "engine/pages.h"

#include <stdlib.h>

#include "base/mem.h"

es_status es_pages_create(es_pages *p, int32_t total, int32_t page_tokens, es_error *err)
{
    *p = (es_pages){.total = total, .page_tokens = page_tokens, .oldest = -1, .newest = -1};
    p->bucket_count = total;
    p->items = es_calloc((size_t)total, sizeof *p->items);
    p->free_list = es_calloc((size_t)total, sizeof *p->free_list);
    p->buckets = es_calloc((size_t)total, sizeof *p->buckets);
    if (p->items == NULL || p->free_list == NULL || p->buckets == NULL) {
        es_pages_free(p);
        return es_fail_memory(err, "the page table", (size_t)total * sizeof *p->items);
    }
    for (int32_t i = 0; i < total; i++) {
        p->free_list[p->free_count++] = total - 1 - i;
        p->buckets[i] = -1;
    }
    return ES_OK;
}

void es_pages_free(es_pages *p)
{
    free(p->items);
    free(p->free_list);
    free(p->buckets);
    *p = (es_pages){0};
}

int32_t es_pages_for(const es_pages *p, int64_t tokens)
{
    int64_t n = (tokens + p->page_tokens - 1) / p->page_tokens;
    return n > INT32_MAX ? INT32_MAX : (int32_t)n;
}

int32_t es_pages_available(const es_pages *p)
{
    return p->free_count + p->cached_count;
}

static int32_t *bucket_of(es_pages *p, es_hash key)
{
    return &p->buckets[key.a % (uint64_t)p->bucket_count];
}

static int32_t lookup(es_pages *p, es_hash key)
{
    int32_t at = *bucket_of(p, key);
    while (at >= 0 && !es_hash_equal(p->items[at].key, key))
        at = p->items[at].next_in_bucket;
    return at;
}

/* Takes a page out of the list of cached ones. */
static void unlist(es_pages *p, int32_t page)
{
    es_page *item = &p->items[page];
    *(item->older >= 0 ? &p->items[item->older].newer : &p->oldest) = item->newer;
    *(item->newer >= 0 ? &p->items[item->newer].older : &p->newest) = item->older;
    p->cached_count--;
}

/* The table forgets what a page holds. */
static void forget(es_pages *p, int32_t page)
{
    int32_t *at = bucket_of(p, p->items[page].key);
    while (*at != page)
        at = &p->items[*at].next_in_bucket;
    *at = p->items[page].next_in_bucket;
    p->items[page].keyed = false;
}

int32_t es_pages_take(es_pages *p)
{
    int32_t page;
    if (p->free_count > 0) {
        page = p->free_list[--p->free_count];
    } else if (p->oldest >= 0) {
        page = p->oldest;
        unlist(p, page);
        forget(p, page);
    } else {
        return -1;
    }
    p->items[page].users = 1;
    return page;
}

int32_t es_pages_find(es_pages *p, es_hash key)
{
    int32_t page = lookup(p, key);
    if (page >= 0 && p->items[page].users++ == 0)
        unlist(p, page);
    return page;
}

void es_pages_seal(es_pages *p, int32_t page, es_hash key)
{
    es_page *item = &p->items[page];
    if (item->keyed || lookup(p, key) >= 0)
        return;
    int32_t *bucket = bucket_of(p, key);
    item->key = key;
    item->keyed = true;
    item->next_in_bucket = *bucket;
    *bucket = page;
}

void es_pages_release(es_pages *p, int32_t page)
{
    es_page *item = &p->items[page];
    if (--item->users > 0)
        return;
    if (!item->keyed) {
        p->free_list[p->free_count++] = page;
        return;
    }
    item->older = p->newest;
    item->newer = -1;
    *(p->newest >= 0 ? &p->items[p->newest].newer : &p->oldest) = page;
    p->newest = page;
    p->cached_count++;
}
