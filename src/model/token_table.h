/* token_table.h - the two hash tables of the tokenizer, safe against keys chosen to collide (seeded per table).
 *
 * Sized once, never grown: the number of keys is known before the first one is put in. Read-only afterwards, so any
 * number of threads may look things up.
 */
#ifndef ES_MODEL_TOKEN_TABLE_H
#define ES_MODEL_TOKEN_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Strings of bytes to non-negative numbers. The strings are not copied: they must outlive the table. */
typedef struct es_string_slot {
    const char *bytes; /* NULL: free */
    uint32_t length;
    int32_t value;
} es_string_slot;

typedef struct es_string_table {
    es_string_slot *slots;
    size_t mask; /* slots - 1, slots being a power of two */
    size_t room; /* keys that may still be put in */
    uint64_t seed[2];
} es_string_table;

es_status es_string_table_create(es_string_table *table, size_t keys, es_error *err);
void es_string_table_free(es_string_table *table);
/* Puts a new key in and returns -1, or returns the value the key already has and changes nothing. The caller never
 * puts in more keys than the table was created for. */
int32_t es_string_table_put(es_string_table *table, const char *bytes, uint32_t length, int32_t value);
/* The value of a key, or -1. */
int32_t es_string_table_get(const es_string_table *table, const char *bytes, size_t length);

/* Pairs of non-negative numbers to (rank, value). */
typedef struct es_pair_slot {
    uint64_t key;
    int32_t rank;
    int32_t value; /* -1: free */
} es_pair_slot;

typedef struct es_pair_table {
    es_pair_slot *slots;
    size_t mask;
    size_t room;
    uint64_t seed[2];
} es_pair_table;

es_status es_pair_table_create(es_pair_table *table, size_t keys, es_error *err);
void es_pair_table_free(es_pair_table *table);
/* Puts a pair in, or replaces what it had. The same bound as above. */
void es_pair_table_put(es_pair_table *table, int32_t a, int32_t b, int32_t rank, int32_t value);
/* What a pair has, or NULL. */
const es_pair_slot *es_pair_table_get(const es_pair_table *table, int32_t a, int32_t b);

#endif
