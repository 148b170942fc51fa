#include "base/hash.h"

#include <string.h>
#include <sys/random.h> /* getentropy, on macOS */
#include <time.h>
#include <unistd.h> /* getentropy, in glibc */

/* Odd numbers with evenly mixed bits: the golden ratio's and two primes' fractional parts. */
#define MIX_1 0x9E3779B97F4A7C15u
#define MIX_2 0xC2B2AE3D27D4EB4Fu
#define MIX_3 0x165667B19E3779F9u
#define LANES 4

static uint64_t rotate(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

/* Every bit of the result depends on every bit of x; reversible, so that nothing is lost. */
static uint64_t finish(uint64_t x)
{
    x ^= x >> 32;
    x *= MIX_2;
    x ^= x >> 29;
    x *= MIX_3;
    return x ^ (x >> 32);
}

es_hash es_hash_key(void)
{
    es_hash key;
    if (getentropy(&key, sizeof key) == 0)
        return key;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    key.a = finish((uint64_t)now.tv_nsec * MIX_1 ^ (uint64_t)now.tv_sec);
    key.b = finish((uint64_t)(uintptr_t)&key ^ key.a);
    return key;
}

/* One word into one lane: a bijection of the lane for a given word, and of the word for a given lane. */
static uint64_t absorb(uint64_t lane, uint64_t word)
{
    return rotate((lane ^ word) * MIX_1, 29) + MIX_2;
}

es_hash es_hash_bytes(es_hash seed, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t lane[LANES] = {seed.a, seed.b, seed.a ^ MIX_2, seed.b ^ MIX_3};
    uint64_t word[LANES];
    size_t left = size;
    for (; left >= sizeof word; left -= sizeof word, bytes += sizeof word) {
        memcpy(word, bytes, sizeof word);
        for (int i = 0; i < LANES; i++)
            lane[i] = absorb(lane[i], word[i]);
    }
    memset(word, 0, sizeof word);
    if (left > 0)
        memcpy(word, bytes, left);
    for (int i = 0; i < LANES; i++)
        lane[i] = absorb(lane[i], word[i]);
    es_hash out = {finish(lane[0] + rotate(lane[1], 13)), finish(lane[2] + rotate(lane[3], 31))};
    /* Both halves see all lanes and the size. */
    out.a = finish(out.a ^ rotate(lane[2], 17) ^ finish(lane[3]) ^ size);
    out.b = finish(out.b ^ rotate(lane[0], 41) ^ finish(lane[1]) ^ rotate(out.a, 7));
    return out;
}

bool es_hash_equal(es_hash x, es_hash y)
{
    return x.a == y.a && x.b == y.b;
}
