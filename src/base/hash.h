/* hash.h - a fast 128-bit fingerprint of bytes, for finding equal content again within one process.
 *
 * Not cryptographic: a key drawn at random for each table keeps strangers from preparing collisions.
 */
#ifndef ES_BASE_HASH_H
#define ES_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct es_hash {
    uint64_t a, b;
} es_hash;

/* A random key, from the system; falls back to the clock and addresses. */
es_hash es_hash_key(void);
/* The fingerprint of size bytes, continuing from (or keyed by) `seed`. */
es_hash es_hash_bytes(es_hash seed, const void *data, size_t size);
bool es_hash_equal(es_hash x, es_hash y);

#endif
