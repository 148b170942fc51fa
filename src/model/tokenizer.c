#include "model/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/tokenizer_parts.h"

/* More text than any context can take, and well within 32 bits. */
#define TEXT_MAX ((size_t)256 << 20)

es_status es_ids_add(es_ids *ids, int32_t id, es_error *err)
{
    void *items = ids->items;
    if (es_grow(&items, &ids->capacity, ids->count + 1, sizeof *ids->items) != 0)
        return es_fail_memory(err, "token ids", ids->count * sizeof *ids->items);
    ids->items = items;
    ids->items[ids->count++] = id;
    return ES_OK;
}

void es_ids_free(es_ids *ids)
{
    free(ids->items);
    *ids = (es_ids){0};
}

void es_tokenizer_free(es_tokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    free(tokenizer->tokens);
    free(tokenizer->arena);
    es_string_table_free(&tokenizer->names);
    es_pair_table_free(&tokenizer->merges);
    es_trie_free(&tokenizer->raw);
    es_trie_free(&tokenizer->normalized);
    es_splits_free(&tokenizer->splits);
    free(tokenizer);
}

/* One text being encoded. */
typedef struct job {
    const es_tokenizer *tokenizer;
    bool special;
    es_ids *ids;
    es_bpe bpe;
    es_str repaired;
    es_str normalized;
} job;

static es_status encode_word(void *context, const char *word, size_t n, es_error *err)
{
    job *j = context;
    return es_bpe_word(&j->bpe, j->tokenizer, word, n, j->ids, err);
}

static es_status encode_plain(job *j, const char *text, size_t n, es_error *err)
{
    return es_splits_run(&j->tokenizer->splits, text, n, encode_word, j, err);
}

static es_status encode_normalized(job *j, const char *text, size_t n, es_error *err);

typedef es_status (*segment_fn)(job *j, const char *text, size_t n, es_error *err);

/* Cuts the trie's tokens out of text; their ids go to the output, what lies between them to `rest`. */
static es_status cut(job *j, const es_trie *trie, const char *text, size_t n, segment_fn rest, es_error *err)
{
    size_t done = 0, start = 0, end = 0;
    for (size_t at = 0;;) {
        int32_t id = es_trie_next(j->tokenizer, trie, text, n, j->special, done, &at, &start, &end);
        if (id < 0)
            break;
        if (start > done)
            ES_TRY(rest(j, text + done, start - done, err));
        ES_TRY(es_ids_add(j->ids, id, err));
        done = end;
    }
    return n > done ? rest(j, text + done, n - done, err) : ES_OK;
}

static es_status encode_normalized(job *j, const char *text, size_t n, es_error *err)
{
    if (j->tokenizer->nfc)
        ES_TRY(es_nfc(text, n, &j->normalized, &text, &n, err));
    return cut(j, &j->tokenizer->normalized, text, n, encode_plain, err);
}

es_status es_tokenizer_encode(const es_tokenizer *tokenizer, const char *text, size_t n, bool special, es_ids *ids,
                              es_error *err)
{
    if (n > TEXT_MAX)
        return es_fail(err, ES_ERR_LIMIT, "a text of %zu bytes is too long to tokenize (at most %zu)", n, TEXT_MAX);
    job j = {.tokenizer = tokenizer, .special = special, .ids = ids};
    size_t before = ids->count;
    es_status status = es_utf8_repair(text, n, &j.repaired, &text, &n, err);
    if (status == ES_OK)
        status = cut(&j, &tokenizer->raw, text, n, encode_normalized, err);
    if (status != ES_OK)
        ids->count = before;
    es_bpe_free(&j.bpe);
    es_str_free(&j.repaired);
    es_str_free(&j.normalized);
    return status;
}

int32_t es_tokenizer_id(const es_tokenizer *tokenizer, const char *token)
{
    return es_string_table_get(&tokenizer->names, token, strlen(token));
}

/* The token with this id, or NULL. */
static const es_token *token_of(const es_tokenizer *tokenizer, int32_t id)
{
    if (id < 0 || (size_t)id >= tokenizer->size || (tokenizer->tokens[id].flags & ES_TOKEN_EXISTS) == 0)
        return NULL;
    return &tokenizer->tokens[id];
}

const char *es_tokenizer_bytes(const es_tokenizer *tokenizer, int32_t id, size_t *n)
{
    const es_token *token = token_of(tokenizer, id);
    *n = token == NULL ? 0 : token->length;
    return token == NULL ? NULL : token->bytes;
}

bool es_tokenizer_is_special(const es_tokenizer *tokenizer, int32_t id)
{
    const es_token *token = token_of(tokenizer, id);
    return token != NULL && (token->flags & ES_TOKEN_SPECIAL) != 0;
}

size_t es_tokenizer_size(const es_tokenizer *tokenizer)
{
    return tokenizer->size;
}

/* Takes one byte more into a character begun before. */
static void feed_pending(es_decoder *decoder, char byte, es_str *text)
{
    if (decoder->count > 0 && decoder->count < sizeof decoder->pending) {
        decoder->pending[decoder->count] = byte;
        size_t n = decoder->count + 1;
        if (es_utf8_length(decoder->pending, n) == n) {
            es_str_append_n(text, decoder->pending, n);
            decoder->count = 0;
            return;
        }
        if (es_utf8_is_prefix(decoder->pending, n)) {
            decoder->count = n;
            return;
        }
        es_str_append(text, ES_UTF8_REPLACEMENT);
    }
    decoder->count = 0;
    if (es_utf8_length(&byte, 1) == 1) {
        es_str_append_n(text, &byte, 1);
    } else if (es_utf8_is_prefix(&byte, 1)) {
        decoder->pending[0] = byte;
        decoder->count = 1;
    } else {
        es_str_append(text, ES_UTF8_REPLACEMENT);
    }
}

static void feed(es_decoder *decoder, const char *bytes, size_t n, es_str *text)
{
    for (size_t i = 0; i < n;) {
        size_t whole = decoder->count == 0 ? es_utf8_valid(bytes + i, n - i) : 0;
        if (whole > 0)
            es_str_append_n(text, bytes + i, whole);
        else
            feed_pending(decoder, bytes[i], text);
        i += whole > 0 ? whole : 1;
    }
}

es_status es_decoder_push(es_decoder *decoder, const es_tokenizer *tokenizer, int32_t id, es_str *text, es_error *err)
{
    const es_token *token = token_of(tokenizer, id);
    if (token != NULL && (token->flags & ES_TOKEN_SPECIAL) == 0)
        feed(decoder, token->bytes, token->length, text);
    return es_str_check(text, err);
}

void es_decoder_finish(es_decoder *decoder, es_str *text)
{
    if (decoder->count > 0)
        es_str_append(text, ES_UTF8_REPLACEMENT);
    *decoder = (es_decoder){0};
}

es_status es_tokenizer_decode(const es_tokenizer *tokenizer, const int32_t *ids, size_t n, bool skip_special,
                              es_str *text, es_error *err)
{
    es_decoder decoder = {0};
    for (size_t i = 0; i < n; i++) {
        const es_token *token = token_of(tokenizer, ids[i]);
        if (token != NULL && !(skip_special && (token->flags & ES_TOKEN_SPECIAL) != 0))
            feed(&decoder, token->bytes, token->length, text);
    }
    es_decoder_finish(&decoder, text);
    return es_str_check(text, err);
}
