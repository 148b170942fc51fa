#include "model/token_table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"

/* A secret per table. Where the system has no random bytes to give, the clock and an address must do. */
static void make_seed(uint64_t seed[2])
{
    if (getentropy(seed, 2 * sizeof *seed) == 0)
        return;
    seed[0] = (uint64_t)(es_now() * 1e9);
    seed[1] = (uint64_t)(uintptr_t)seed;
}

/* Slots for keys at a load of at most two thirds: a power of two, 0 when there is no such number. */
static size_t slot_count(size_t keys)
{
    size_t slots = 16;
    while (slots / 3 * 2 < keys) {
        if (slots > SIZE_MAX / 4)
            return 0;
        slots *= 2;
    }
    return slots;
}

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

typedef struct sip_state {
    uint64_t v0, v1, v2, v3;
} sip_state;

static void sip_round(sip_state *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

/* SipHash-1-3 (Aumasson and Bernstein): keyed, short, and fast on short strings. The constants are the paper's. */
static uint64_t string_hash(const uint64_t seed[2], const char *bytes, size_t length)
{
    sip_state s = {seed[0] ^ 0x736F6D6570736575U, seed[1] ^ 0x646F72616E646F6DU, seed[0] ^ 0x6C7967656E657261U,
                   seed[1] ^ 0x7465646279746573U};
    size_t whole = length / 8 * 8;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        s.v3 ^= word;
        sip_round(&s);
        s.v0 ^= word;
    }
    uint64_t last = (uint64_t)length << 56;
    for (size_t i = whole; i < length; i++)
        last |= (uint64_t)(unsigned char)bytes[i] << (8 * (i - whole));
    s.v3 ^= last;
    sip_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xFF;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

es_status es_string_table_create(es_string_table *table, size_t keys, es_error *err)
{
    *table = (es_string_table){0};
    size_t slots = slot_count(keys);
    table->slots = slots == 0 ? NULL : es_calloc(slots, sizeof *table->slots);
    if (table->slots == NULL)
        return es_fail_memory(err, "the vocabulary", slots * sizeof *table->slots);
    table->mask = slots - 1;
    table->room = keys;
    make_seed(table->seed);
    return ES_OK;
}

void es_string_table_free(es_string_table *table)
{
    free(table->slots);
    *table = (es_string_table){0};
}

static es_string_slot *find_string(const es_string_table *table, const char *bytes, size_t length)
{
    size_t i = (size_t)string_hash(table->seed, bytes, length) & table->mask;
    for (;; i = (i + 1) & table->mask) {
        es_string_slot *slot = &table->slots[i];
        if (slot->bytes == NULL || (slot->length == length && memcmp(slot->bytes, bytes, length) == 0))
            return slot;
    }
}

int32_t es_string_table_put(es_string_table *table, const char *bytes, uint32_t length, int32_t value)
{
    es_string_slot *slot = find_string(table, bytes, length);
    if (slot->bytes != NULL)
        return slot->value;
    if (table->room > 0) {
        table->room--;
        *slot = (es_string_slot){.bytes = bytes, .length = length, .value = value};
    }
    return -1;
}

int32_t es_string_table_get(const es_string_table *table, const char *bytes, size_t length)
{
    const es_string_slot *slot = find_string(table, bytes, length);
    return slot->bytes == NULL ? -1 : slot->value;
}

/* The finalizer of splitmix64 (Vigna) with a secret before and within it. */
static uint64_t pair_hash(const uint64_t seed[2], uint64_t key)
{
    uint64_t x = key ^ seed[0];
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x ^= seed[1];
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return x ^ x >> 31;
}

es_status es_pair_table_create(es_pair_table *table, size_t keys, es_error *err)
{
    *table = (es_pair_table){0};
    size_t slots = slot_count(keys);
    table->slots = slots == 0 ? NULL : es_realloc(NULL, slots, sizeof *table->slots);
    if (table->slots == NULL)
        return es_fail_memory(err, "the table of merges", slots * sizeof *table->slots);
    for (size_t i = 0; i < slots; i++)
        table->slots[i] = (es_pair_slot){.value = -1};
    table->mask = slots - 1;
    table->room = keys;
    make_seed(table->seed);
    return ES_OK;
}

void es_pair_table_free(es_pair_table *table)
{
    free(table->slots);
    *table = (es_pair_table){0};
}

static uint64_t pair_key(int32_t a, int32_t b)
{
    return (uint64_t)(uint32_t)a << 32 | (uint32_t)b;
}

static es_pair_slot *find_pair(const es_pair_table *table, uint64_t key)
{
    size_t i = (size_t)pair_hash(table->seed, key) & table->mask;
    while (table->slots[i].value >= 0 && table->slots[i].key != key)
        i = (i + 1) & table->mask;
    return &table->slots[i];
}

void es_pair_table_put(es_pair_table *table, int32_t a, int32_t b, int32_t rank, int32_t value)
{
    uint64_t key = pair_key(a, b);
    es_pair_slot *slot = find_pair(table, key);
    if (slot->value < 0) {
        if (table->room == 0)
            return;
        table->room--;
    }
    *slot = (es_pair_slot){.key = key, .rank = rank, .value = value};
}

const es_pair_slot *es_pair_table_get(const es_pair_table *table, int32_t a, int32_t b)
{
    const es_pair_slot *slot = find_pair(table, pair_key(a, b));
    return slot->value < 0 ? NULL : slot;
}
