/* fuzz_tokenizer.c - any bytes as a tokenizer.json, and any bytes as text for a good one.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Isrc tests/fuzz/fuzz_tokenizer.c \
 *     src/model/{added_tokens,bpe,byte_alphabet,nfc,pretokenize,token_table,tokenizer,tokenizer_load,tokenizer_scan}.c
 * \ src/model/tokenizer_vocab.c src/base/{file,json,mem,status,str,thread,utf8}.c -ljansson -lpcre2-8 -lutf8proc
 *
 * Cases worth keeping are in tests/fuzz/corpus-tokenizer; tests/model/test_tokenizer_bad.c replays them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char small[] =
    "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"
    "\"Split\","
    "\"pattern\":{\"Regex\":\"(?i:'s|'t)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|"
    "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","
    "\"add_prefix_space\":false,\"use_regex\":false}]},\"added_tokens\":[{\"id\":9,\"content\":\"<a>\",\"special\":"
    "true,"
    "\"lstrip\":true},{\"id\":10,\"content\":\"<b>\",\"normalized\":true,\"rstrip\":true,\"single_word\":true},{\"id\":"
    "11,"
    "\"content\":\"e\\u0301\",\"normalized\":true}],\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"\\u0120\":"
    "2,"
    "\"aa\":3,\"ab\":4,\"\\u0120a\":5,\"aaaa\":6,\"\\u00c3\":7,\"<\":8},\"merges\":[\"a a\",[\"a\",\"b\"],\"\\u0120 "
    "a\","
    "\"aa aa\"]}}";

/* Encodes and decodes; what comes out must be sound whatever goes in. */
static void use(const es_tokenizer *tokenizer, const char *text, size_t n, bool special)
{
    es_error err = {0};
    es_ids ids = {0};
    es_str whole = {0}, parts = {0};
    es_decoder decoder = {0};
    if (es_tokenizer_encode(tokenizer, text, n, special, &ids, &err) != ES_OK && err.message[0] == '\0')
        abort();
    for (size_t i = 0; i < ids.count; i++) {
        size_t length;
        if (es_tokenizer_bytes(tokenizer, ids.items[i], &length) == NULL)
            abort();
        es_decoder_push(&decoder, tokenizer, ids.items[i], &parts, &err);
    }
    es_decoder_finish(&decoder, &parts);
    es_tokenizer_decode(tokenizer, ids.items, ids.count, true, &whole, &err);
    if (strcmp(es_str_text(&parts), es_str_text(&whole)) != 0)
        abort();
    es_str_free(&parts);
    es_str_free(&whole);
    es_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "A ab aaab\r\n  e\xCC\x81 \xED\x95\x9C<a> <b>\t12's \xFF!";
    es_error err = {0};
    es_tokenizer *tokenizer;
    bool json = size > 0 && data[0] == '{';
    es_status status =
        es_tokenizer_parse(&tokenizer, json ? (const char *)data : small, json ? size : sizeof small - 1, "fuzz", &err);
    if ((status == ES_OK) != (tokenizer != NULL) || (status != ES_OK && err.message[0] == '\0') ||
        (!json && status != ES_OK))
        abort();
    if (tokenizer == NULL)
        return 0;
    use(tokenizer, json ? text : (const char *)data, json ? sizeof text - 1 : size, true);
    use(tokenizer, json ? text : (const char *)data, json ? sizeof text - 1 : size, false);
    es_tokenizer_free(tokenizer);
    return 0;
}
