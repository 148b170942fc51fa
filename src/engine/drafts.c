#include "engine/drafts.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

#define CAPACITY 16384   /* tokens: some 300 record lines */
#define TABLE_SIZE 32768 /* a power of two */
#define FADE 0.9         /* weight of what was before in `pays` */
#define WORTHWHILE 0.25  /* a row more in a pass costs less than a quarter of a pass of its own */
#define PAUSE 64         /* passes */

es_status es_drafts_create(es_drafts *d, es_error *err)
{
    *d = (es_drafts){.capacity = CAPACITY, .table_size = TABLE_SIZE, .pays = 1.0};
    d->tokens = es_calloc(d->capacity, sizeof *d->tokens);
    d->latest = es_calloc(d->table_size, sizeof *d->latest);
    if (d->tokens == NULL || d->latest == NULL) {
        es_drafts_free(d);
        return es_fail_memory(err, "drafts", CAPACITY * sizeof(int32_t));
    }
    memset(d->tokens, 0xFF, d->capacity * sizeof *d->tokens);
    memset(d->latest, 0xFF, d->table_size * sizeof *d->latest);
    return ES_OK;
}

void es_drafts_free(es_drafts *d)
{
    free(d->tokens);
    free(d->latest);
    *d = (es_drafts){0};
}

static size_t slot_of(const es_drafts *d, const int32_t *context)
{
    return (size_t)es_hash_bytes((es_hash){3, 4}, context, ES_DRAFT_CONTEXT * sizeof *context).a & (d->table_size - 1);
}

static void push(es_drafts *d, int32_t token)
{
    d->tokens[d->end] = token;
    d->end = (d->end + 1) % d->capacity;
}

void es_drafts_learn(es_drafts *d, const int32_t *before, const int32_t *ids, size_t n)
{
    int32_t context[ES_DRAFT_CONTEXT];
    if (d->tokens == NULL || n + ES_DRAFT_CONTEXT + 1 > d->capacity)
        return;
    memcpy(context, before, sizeof context);
    for (size_t i = 0; i < n; i++) {
        d->latest[slot_of(d, context)] = (int32_t)d->end; /* ids[i] goes there */
        push(d, ids[i]);
        memmove(context, context + 1, sizeof context - sizeof *context);
        context[ES_DRAFT_CONTEXT - 1] = ids[i];
    }
    push(d, -1);
}

size_t es_drafts_guess(const es_drafts *d, const int32_t *context, size_t most, int32_t *guess)
{
    /* Another context may share the slot, and its place may have been written over: then the guess is a bad one, and
     * the verification finds out. */
    int32_t at = d->latest[slot_of(d, context)];
    size_t n = 0;
    for (; at >= 0 && n < most && n < ES_DRAFT_MAX; n++) {
        int32_t token = d->tokens[((size_t)at + n) % d->capacity];
        if (token < 0)
            break;
        guess[n] = token;
    }
    return n;
}

int es_drafts_worthwhile(es_drafts *d)
{
    if (d->tokens == NULL)
        return 0;
    if (d->pause > 0 && --d->pause == 0)
        d->pays = WORTHWHILE + 0.1; /* another try, soon over if it is none */
    return d->pause == 0;
}

void es_drafts_verdict(es_drafts *d, size_t guessed, size_t right)
{
    if (guessed == 0)
        return;
    d->pays = FADE * d->pays + (1.0 - FADE) * (double)right / (double)guessed;
    if (d->pays < WORTHWHILE)
        d->pause = PAUSE;
}
