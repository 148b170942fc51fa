/* fuzz_json_schema.c - any bytes as a JSON schema: a grammar whose texts are JSON, or a line of text that says why not.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Isrc tests/fuzz/fuzz_json_schema.c
 *         src/engine/{grammar,json_schema*,lexicon,matcher}.c
 *         src/model/{added_tokens,bpe,byte_alphabet,nfc,pretokenize,token_table,tokenizer*}.c
 *         src/base/{file,hash,json,mem,status,str,thread,utf8}.c -ljansson -lpcre2-8 -lutf8proc -lpthread -lm
 *
 * Saved cases are in corpus-json-schema; tests/engine/test_json_schema.c replays them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "engine/json_schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
    if (!holds)
        abort();
}

/* One text of the grammar: by chance at first, then by the shortest way to its end. False: too many states. */
static int write_one(es_matcher *m, es_str *text, uint64_t chance)
{
    es_match at = es_matcher_start(m);
    for (int n = 0; !es_matcher_is_end(m, at); n++) {
        es_match best = ES_MATCH_DEAD;
        int chosen = -1;
        if (n > 5000)
            return 0;
        if (n > 60 && es_matcher_accepts(m, at))
            return 1;
        for (int i = 0; i < 256; i++) {
            es_match to;
            es_error err;
            chance = chance * 6364136223846793005u + 1442695040888963407u;
            int byte = n > 60 ? i : (int)(chance >> 40 & 255);
            if (es_matcher_byte(m, at, (uint8_t)byte, &to, &err) != ES_OK)
                return 0;
            if (to < 0 || (best >= 0 && es_matcher_distance(m, to) >= es_matcher_distance(m, best)))
                continue;
            best = to;
            chosen = byte;
            if (n <= 60)
                break;
        }
        if (best < 0 && n <= 60) {
            n = 61; /* chance found nothing: the shortest way from here */
            continue;
        }
        must(best >= 0); /* whatever was written can be ended */
        char byte = (char)chosen;
        es_str_append_n(text, &byte, 1);
        at = best;
    }
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *schema;
    es_grammar *g;
    es_lexicon nothing = {.vocab = 1};
    es_matcher *m = NULL;
    es_error err = {0};
    if (es_json_parse(&schema, (const char *)data, size, "case", &err) != ES_OK)
        return 0;
    es_status status = es_json_schema_grammar(&g, schema, &err);
    if (status == ES_OK) {
        status = es_matcher_create(&m, g, &nothing, &err);
        for (uint64_t i = 0; status == ES_OK && i < 4; i++) {
            es_str text = {0};
            if (write_one(m, &text, size * 31 + i)) {
                json_t *value = json_loadb(es_str_text(&text), text.length, JSON_DECODE_ANY, NULL);
                must(value != NULL);
                json_decref(value);
            }
            es_str_free(&text);
        }
    }
    if (status != ES_OK)
        must(err.status == status && err.message[0] != '\0');
    es_matcher_free(m);
    es_grammar_free(g);
    json_decref(schema);
    return 0;
}
