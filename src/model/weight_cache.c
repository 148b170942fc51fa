/* weight_cache.c - [head][table][matrices, each at a multiple of 64 bytes]. */
#include "model/weight_cache.h"

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
#define VERSION 1u
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

static bool whole(const es_map *map, const char *key)
{
    head h;
    if (map->size < sizeof h)
        return false;
    memcpy(&h, map->data, sizeof h);
    if (memcmp(h.magic, MAGIC, sizeof h.magic) != 0 || h.order != ORDER || h.version != VERSION ||
        memcmp(h.key, key, sizeof h.key) != 0 || h.size != map->size ||
        h.count > (map->size - sizeof h) / sizeof(entry))
        return false;
    const entry *table = (const entry *)(const void *)(map->data + sizeof h);
    if (!es_hash_equal(h.sum, sum_of(table, (size_t)h.count * sizeof *table)))
        return false;
    for (uint64_t i = 0; i < h.count; i++)
        if (table[i].offset % ALIGN != 0 || table[i].offset > map->size || table[i].size > map->size - table[i].offset)
            return false;
    return true;
}

es_status es_weight_cache_open(es_weight_cache **cache, const char *path, const char *key, es_error *err)
{
    *cache = NULL;
    es_weight_cache *c = es_calloc(1, sizeof *c);
    if (c == NULL)
        return es_fail_memory(err, "a cache of weights", sizeof *c);
    es_status status = es_map_open(&c->map, path, err);
    if (status == ES_OK && !whole(&c->map, key)) {
        es_map_close(&c->map);
        status = es_fail(err, ES_ERR_FORMAT, "%s: not made from this model, or damaged", path);
    }
    if (status != ES_OK) {
        free(c);
        return status;
    }
    head h;
    memcpy(&h, c->map.data, sizeof h);
    c->table = (const entry *)(const void *)(c->map.data + sizeof h);
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

static void put_all(es_new_file *file, const head *h, const entry *table, const es_device *device,
                    es_matrix *const *matrices)
{
    static const char zeros[ALIGN] = {0};
    uint64_t at = sizeof *h + h->count * sizeof *table;
    es_new_file_add(file, h, sizeof *h);
    es_new_file_add(file, table, (size_t)h->count * sizeof *table);
    for (size_t i = 0; i < h->count; i++) {
        size_t size;
        const void *data = es_matrix_ready(device, matrices[i], &size);
        es_new_file_add(file, zeros, (size_t)(table[i].offset - at));
        es_new_file_add(file, data, size);
        at = table[i].offset + size;
    }
}

es_status es_weight_cache_write(const char *path, const char *key, const es_device *device, es_matrix *const *matrices,
                                size_t n, es_error *err)
{
    head h = {.magic = {0}, .order = ORDER, .version = VERSION, .count = n};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    memcpy(h.key, key, sizeof h.key);
    entry *table = es_calloc(n, sizeof *table);
    if (table == NULL)
        return es_fail_memory(err, "a cache of weights", n * sizeof *table);
    uint64_t at = sizeof h + n * sizeof *table;
    for (size_t i = 0; i < n; i++) {
        size_t size;
        const void *data = es_matrix_ready(device, matrices[i], &size);
        table[i] = (entry){(at + ALIGN - 1) / ALIGN * ALIGN, size, sum_of(data, size)};
        at = table[i].offset + size;
    }
    h.size = at;
    h.sum = sum_of(table, n * sizeof *table);
    es_status status = es_mkdirs_above(path, err);
    if (status == ES_OK) {
        es_new_file file;
        es_new_file_begin(&file, path);
        put_all(&file, &h, table, device, matrices);
        status = es_new_file_end(&file, 0600, true, err);
    }
    free(table);
    return status;
}
