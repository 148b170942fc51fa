/* tokenizer_load.h - what the two files that read tokenizer.json share; nobody else includes this. */
#ifndef ES_MODEL_TOKENIZER_LOAD_H
#define ES_MODEL_TOKENIZER_LOAD_H

#include <jansson.h>

#include "model/tokenizer_parts.h"
#include "model/tokenizer_scan.h"

/* One file being read. */
typedef struct es_loader {
    es_tokenizer *tokenizer;
    const char *name; /* of the file, for errors */
    const char *text; /* the whole of it */
    es_span vocab;
    es_span merges;
    const json_t *added; /* NULL or null: none */
    size_t arena_used;
    es_error *err;
} es_loader;

/* An optional member that is true or false; *value is kept when it is absent. */
es_status es_loader_flag(const es_loader *l, const json_t *object, const char *where, const char *key, bool *value);

/* tokenizer_vocab.c: fills the tokenizer's tokens, names, merges and tries. */
es_status es_loader_tables(es_loader *l);

#endif
