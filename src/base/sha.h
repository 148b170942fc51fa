/* sha.h - SHA-1 and SHA-256 (FIPS 180-4), to tell whether a downloaded file is the one that was meant.
 *
 * Not for secrets: the code makes no promise about timing.
 */
#ifndef ES_BASE_SHA_H
#define ES_BASE_SHA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ES_SHA1_HEX 40   /* hexadecimal digits of a SHA-1 */
#define ES_SHA256_HEX 64 /* of a SHA-256 */

/* A digest in the making. Both functions work on blocks of 64 bytes, so they share all but the arithmetic. */
typedef struct es_sha {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    uint8_t block[64];
    bool is_sha256;
} es_sha;

void es_sha1_begin(es_sha *sha);
void es_sha256_begin(es_sha *sha);
void es_sha_update(es_sha *sha, const void *data, size_t size);

/* Ends the digest and writes it in lower-case hexadecimal with a terminator: 40 or 64 digits. */
void es_sha_finish(es_sha *sha, char hex[ES_SHA256_HEX + 1]);

/* Begins the digest that git gives a file of `size` bytes: SHA-1 over "blob SIZE", a NUL, and then the content. */
void es_sha_git_blob_begin(es_sha *sha, uint64_t size);

#endif
