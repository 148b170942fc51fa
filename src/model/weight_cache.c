/* weight_cache.c - [matrices, each at a multiple of 64 bytes][table][head]: what is known last comes last. */
#include "model/weight_cache.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/identity.h"

#define MAGIC "escriba\n"
#define VERSION 2u
#define ORDER 0x01020304u /* reads otherwise on a machine of the other byte order */
#define ALIGN 64u

typedef struct head {
    char magic[8];
    uint32_t order, version;
    char key[ES_SHA256_HEX];
    uint64_t count, size; /* matrices; bytes of the file */
    es_hash sum;          /* of the table */
} head;

typedef struct entry {
    uint64_t offset, size;
    es_hash sum;
} entry;

struct es_weight_cache {
    es_map map;
    const entry *table;
    size_t count, next;
};

static es_hash sum_of(const void *data, size_t size)
{
    return es_hash_bytes((es_hash){1, 2}, data, size);
}

/* --- names and keys --- */

char *es_weight_cache_dir(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache != NULL && cache[0] == '/')
        return es_path_join(cache, "escriba/weights");
    return home != NULL && home[0] == '/' ? es_path_join(home, ".cache/escriba/weights") : NULL;
}

es_status es_weight_cache_path(char **path, const char *cache_dir, const char *model_dir, const es_device *device,
                               es_error *err)
{
    char place[PATH_MAX], hex[ES_SHA256_HEX + 1], name[ES_SHA256_HEX + 16];
    es_sha sha;
    const char *whole = realpath(model_dir, place) != NULL ? place : model_dir;
    es_sha256_begin(&sha);
    es_sha_update(&sha, device->layout, strlen(device->layout) + 1);
    es_sha_update(&sha, whole, strlen(whole));
    es_sha_finish(&sha, hex);
    snprintf(name, sizeof name, "%.32s.weights", hex);
    *path = es_path_join(cache_dir, name);
    return *path == NULL ? es_fail_memory(err, "a path", 0) : ES_OK;
}

es_status es_weight_cache_key(char key[ES_SHA256_HEX + 1], const es_device *device, const es_tensors *tensors)
{
    es_sha sha;
    if (device->layout[0] == '\0')
        return ES_ERR_UNSUPPORTED;
    es_sha256_begin(&sha);
    es_identity_add_number(&sha, VERSION);
    es_identity_add_text(&sha, device->layout);
    ES_TRY(es_identity_add_tensors(&sha, tensors));
    es_sha_finish(&sha, key);
    return ES_OK;
}

/* --- reading --- */

/* The head, and with it *table; false unless both are whole and made for that key. */
static bool read_head(const es_map *map, const char *key, head *h, const entry **table)
{
    if (map->size < sizeof *h || map->size % _Alignof(entry) != 0)
        return false;
    memcpy(h, map->data + map->size - sizeof *h, sizeof *h);
    if (memcmp(h->magic, MAGIC, sizeof h->magic) != 0 || h->order != ORDER || h->version != VERSION ||
        memcmp(h->key, key, sizeof h->key) != 0 || h->size != map->size ||
        h->count > (map->size - sizeof *h) / sizeof(entry))
        return false;
    size_t bytes = (size_t)h->count * sizeof(entry);
    *table = (const entry *)(const void *)(map->data + map->size - sizeof *h - bytes);
    if (!es_hash_equal(h->sum, sum_of(*table, bytes)))
        return false;
    for (uint64_t i = 0; i < h->count; i++) {
        const entry *e = &(*table)[i];
        if (e->offset % ALIGN != 0 || e->offset > map->size || e->size > map->size - e->offset)
            return false;
    }
    return true;
}

es_status es_weight_cache_open(es_weight_cache **cache, const char *path, const char *key, es_error *err)
{
    *cache = NULL;
    es_weight_cache *c = es_calloc(1, sizeof *c);
    if (c == NULL)
        return es_fail_memory(err, "a cache of weights", sizeof *c);
    head h;
    es_status status = es_map_open(&c->map, path, err);
    if (status == ES_OK && !read_head(&c->map, key, &h, &c->table)) {
        es_map_close(&c->map);
        status = es_fail(err, ES_ERR_FORMAT, "%s: not made from this model, or damaged", path);
    }
    if (status != ES_OK) {
        free(c);
        return status;
    }
    c->count = (size_t)h.count;
    *cache = c;
    return ES_OK;
}

const void *es_weight_cache_next(es_weight_cache *c, size_t size)
{
    if (c->next == c->count)
        return NULL;
    const entry *e = &c->table[c->next++];
    const uint8_t *data = c->map.data + e->offset;
    return e->size == size && es_hash_equal(e->sum, sum_of(data, size)) ? data : NULL;
}

void es_weight_cache_close(es_weight_cache *cache)
{
    if (cache == NULL)
        return;
    es_map_close(&cache->map);
    free(cache);
}

/* --- writing --- */

struct es_weight_cache_out {
    head head; /* count and size: so far */
    entry *table;
    size_t capacity;
    es_new_file file;
};

es_status es_weight_cache_begin(es_weight_cache_out **made, const char *path, const char *key, es_error *err)
{
    *made = NULL;
    ES_TRY(es_mkdirs_above(path, err));
    es_weight_cache_out *out = es_calloc(1, sizeof *out);
    if (out == NULL)
        return es_fail_memory(err, "a cache of weights", sizeof *out);
    memcpy(out->head.magic, MAGIC, sizeof out->head.magic);
    memcpy(out->head.key, key, sizeof out->head.key);
    out->head.order = ORDER;
    out->head.version = VERSION;
    es_new_file_begin(&out->file, path);
    *made = out;
    return ES_OK;
}

/* From the next whole number of ALIGN bytes on. */
static void put(es_weight_cache_out *out, const void *data, size_t size)
{
    static const char zeros[ALIGN] = {0};
    size_t gap = (size_t)(ALIGN - out->head.size % ALIGN) % ALIGN;
    es_new_file_add(&out->file, zeros, gap);
    es_new_file_add(&out->file, data, size);
    out->head.size += gap + size;
}

es_status es_weight_cache_add(es_weight_cache_out *out, const void *data, size_t size, es_error *err)
{
    void *table = out->table;
    if (es_grow(&table, &out->capacity, (size_t)out->head.count + 1, sizeof *out->table) != 0)
        return es_fail_memory(err, "a cache of weights", 0);
    out->table = table;
    put(out, data, size);
    out->table[out->head.count++] = (entry){out->head.size - size, size, sum_of(data, size)};
    if (out->file.failure != 0)
        return es_fail(err, ES_ERR_IO, "cannot write %s: %s", out->file.path, strerror(out->file.failure));
    return ES_OK;
}

es_status es_weight_cache_finish(es_weight_cache_out *out, es_error *err)
{
    size_t bytes = (size_t)out->head.count * sizeof *out->table;
    put(out, out->table, bytes);
    out->head.sum = sum_of(out->table, bytes);
    out->head.size += sizeof out->head;
    es_new_file_add(&out->file, &out->head, sizeof out->head);
    es_status status = es_new_file_end(&out->file, 0600, true, err);
    free(out->table);
    free(out);
    return status;
}

void es_weight_cache_drop(es_weight_cache_out *out)
{
    if (out == NULL)
        return;
    out->file.failure = out->file.failure != 0 ? out->file.failure : ECANCELED; /* so that nothing is left of it */
    es_new_file_end(&out->file, 0600, false, NULL);
    free(out->table);
    free(out);
}
