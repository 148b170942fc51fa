/* tokenizer.h - text to token ids and back, as tokenizer.json says (byte-level BPE, the format of the Qwen family). */
#ifndef ES_MODEL_TOKENIZER_H
#define ES_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

typedef struct es_tokenizer es_tokenizer; /* immutable once loaded: any number of threads may use it */

/* Token ids, owned; es_ids_free. */
typedef struct es_ids {
    int32_t *items;
    size_t count;
    size_t capacity;
} es_ids;
es_status es_ids_add(es_ids *ids, int32_t id, es_error *err);
void es_ids_free(es_ids *ids);

/* Reads DIR/tokenizer.json. Errors: ES_ERR_IO, ES_ERR_FORMAT (what and where), ES_ERR_UNSUPPORTED (another kind). */
es_status es_tokenizer_open(es_tokenizer **tokenizer, const char *dir, es_error *err);
/* The same from n bytes of JSON in memory; `name` stands for the file in errors. */
es_status es_tokenizer_parse(es_tokenizer **tokenizer, const char *text, size_t n, const char *name, es_error *err);
void es_tokenizer_free(es_tokenizer *tokenizer);

/* Appends the ids of n bytes of text; on failure ids are as before. Broken UTF-8 becomes U+FFFD for each maximal broken
 * run, as Python's errors="replace" does it; then added tokens are cut out and the rest is normalized, split and
 * merged.
 *
 * `special` true (the reference library's default): special tokens written in the text become their ids. False (its
 * encode_special_tokens): their characters are ordinary text, so that text from a user cannot forge a turn. Either way
 * added tokens that are not special (<think>, <tool_call>) become their ids: "normalized" ones are looked for after
 * NFC, in any spelling that has the same NFC form, the others before it, byte for byte. At each place the longest token
 * wins, special ones included even where they are then taken for text; lstrip and rstrip give the white space beside a
 * token to it, single_word wants no word character beside it. What a post_processor would add is the chat layout's
 * business.
 *
 * Characters newer than the Unicode tables of the installed PCRE2 and utf8proc may be split differently from libraries
 * with newer ones; they always decode to themselves. */
es_status es_tokenizer_encode(const es_tokenizer *tokenizer, const char *text, size_t n, bool special, es_ids *ids,
                              es_error *err);

/* The id of a token by its exact content (as in added_tokens or the vocabulary), or -1. */
int32_t es_tokenizer_id(const es_tokenizer *tokenizer, const char *token);

/* The bytes a token stands for (not necessarily whole characters); *n its length. NULL for an id that does not exist.
 * Added tokens give their content (its NFC form if they are normalized). */
const char *es_tokenizer_bytes(const es_tokenizer *tokenizer, int32_t id, size_t *n);
bool es_tokenizer_is_special(const es_tokenizer *tokenizer, int32_t id);
size_t es_tokenizer_size(const es_tokenizer *tokenizer); /* largest id + 1 */

/* Appends the text of ids; special tokens left out when skip_special; bytes that never become UTF-8 give U+FFFD. Ids
 * that do not exist (a model's vocabulary may be padded) give nothing. */
es_status es_tokenizer_decode(const es_tokenizer *tokenizer, const int32_t *ids, size_t n, bool skip_special,
                              es_str *text, es_error *err);

/* Incremental decoding: holds back bytes until they make whole characters. Zero-initialise. */
typedef struct es_decoder {
    char pending[4];
    size_t count;
} es_decoder;
/* Appends to text what id makes complete (special tokens give nothing). */
es_status es_decoder_push(es_decoder *decoder, const es_tokenizer *tokenizer, int32_t id, es_str *text, es_error *err);
/* Appends U+FFFD for anything left incomplete. */
void es_decoder_finish(es_decoder *decoder, es_str *text);

#endif
