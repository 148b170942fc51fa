/* tokenizer_parts.h - what the files of the tokenizer share; nobody else includes this. The way of a text:
 *
 *   bytes -> UTF-8 (nfc.c) -> added tokens cut out (added_tokens.c) -> NFC (nfc.c) -> normalized added tokens cut out
 *         -> words by the split expression (pretokenize.c) -> ids by byte-pair merges (bpe.c)
 */
#ifndef ES_MODEL_TOKENIZER_PARTS_H
#define ES_MODEL_TOKENIZER_PARTS_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/str.h"
#include "model/token_table.h"
#include "model/tokenizer.h"

enum {
    ES_TOKEN_EXISTS = 1,
    ES_TOKEN_ADDED = 2, /* listed in added_tokens; the flags below are for these only */
    ES_TOKEN_SPECIAL = 4,
    ES_TOKEN_NORMALIZED = 8,
    ES_TOKEN_LSTRIP = 16,
    ES_TOKEN_RSTRIP = 32,
    ES_TOKEN_SINGLE_WORD = 64,
    ES_TOKEN_MODEL = 128 /* in the vocabulary of the model itself */
};

typedef struct es_token {
    const char *bytes; /* what it stands for in text; in the tokenizer's arena */
    uint32_t length;
    uint8_t flags;
} es_token;

/* Added tokens as a trie over bytes: the pair (node, byte) leads to the next node; node 0 is the root. */
typedef struct es_trie {
    es_pair_table next;
    int32_t *ids; /* [nodes] the token that ends at a node, or -1 */
    int32_t nodes;
    bool first[256]; /* bytes that some token starts with */
} es_trie;

/* Split expressions one after the other, as in a Sequence of pre-tokenizers. */
#define ES_SPLITS_MAX 8
typedef struct es_splits {
    pcre2_general_context *memory;
    pcre2_code *codes[ES_SPLITS_MAX];
    size_t count;
} es_splits;

struct es_tokenizer {
    es_token *tokens; /* [size], by id */
    size_t size;
    char *arena;           /* the bytes of tokens, and the keys of `names` */
    es_string_table names; /* tokens as tokenizer.json spells them, to ids */
    es_pair_table merges;  /* two ids to the merge's rank and the id they become */
    int32_t byte_ids[256]; /* the token of a single byte, or -1 */
    bool nfc;
    bool ignore_merges; /* a word that is a token as a whole is not built by merges */
    es_trie raw;        /* added tokens looked for before normalization */
    es_trie normalized; /* and after it */
    es_splits splits;
};

/* nfc.c */
/* Points *out at text made valid: text itself, or a copy in `buffer` with U+FFFD for each maximal broken run. */
es_status es_utf8_repair(const char *text, size_t n, es_str *buffer, const char **out, size_t *out_n, es_error *err);
/* Points *out at the NFC form of valid UTF-8: text itself, or a copy in `buffer`. */
es_status es_nfc(const char *text, size_t n, es_str *buffer, const char **out, size_t *out_n, es_error *err);

/* added_tokens.c */
es_status es_trie_create(es_trie *trie, size_t total_bytes, es_error *err);
void es_trie_free(es_trie *trie);
/* False when the same bytes already lead to another token. */
bool es_trie_add(es_trie *trie, const char *bytes, size_t n, int32_t id);
/* The next added token in text[*at..n): returns its id and its span, or -1. Moves *at behind the match found in the
 * trie. `from` is the end of the previous span: stripping never goes back over it. */
int32_t es_trie_next(const es_tokenizer *tokenizer, const es_trie *trie, const char *text, size_t n, bool special,
                     size_t from, size_t *at, size_t *start, size_t *end);

/* pretokenize.c */
es_status es_splits_create(es_splits *splits, es_error *err);
void es_splits_free(es_splits *splits);
/* Adds an expression in Oniguruma's dialect, as tokenizer.json has it. `name` is the file, for errors. */
es_status es_splits_add(es_splits *splits, const char *expression, size_t n, const char *name, es_error *err);
/* Calls word for each piece of text; stops at the first error. */
typedef es_status (*es_word_fn)(void *context, const char *word, size_t n, es_error *err);
es_status es_splits_run(const es_splits *splits, const char *text, size_t n, es_word_fn word, void *context,
                        es_error *err);
/* The expression of a ByteLevel pre-tokenizer with use_regex, published with GPT-2. */
extern const char es_gpt2_expression[];

/* bpe.c */
/* Room that words reuse; zero-initialise. */
typedef struct es_bpe {
    struct es_symbol *symbols;
    size_t symbols_capacity;
    struct es_candidate *heap;
    size_t heap_capacity;
    size_t heap_count;
    es_str spelled;
} es_bpe;
void es_bpe_free(es_bpe *bpe);
/* Appends the ids of one word. */
es_status es_bpe_word(es_bpe *bpe, const es_tokenizer *tokenizer, const char *word, size_t n, es_ids *ids,
                      es_error *err);

/* byte_alphabet.c */
/* The printable character that stands for a byte in tokenizer.json, and back (-1: none). */
uint32_t es_byte_to_char(uint8_t byte);
int es_char_to_byte(uint32_t character);
/* Decodes the valid UTF-8 character of `length` bytes (1-4). */
uint32_t es_utf8_value(const char *bytes, size_t length);
/* Writes a character's UTF-8 and returns its length. */
size_t es_utf8_write(uint32_t character, char out[4]);

#endif
