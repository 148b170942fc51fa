/* fuzz_record.c - any bytes as a model's answer: the record that comes out keeps its promises.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Isrc tests/fuzz/fuzz_record.c
 *         src/intelligence/record*.c src/base/{mem,status,str,utf8}.c -ljansson
 *
 * Saved cases are in corpus-record; tests/intelligence/test_record_corpus.c replays them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "intelligence/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static void check_text(const char *text, size_t most)
{
    size_t n = strlen(text);
    must(n <= most);
    for (size_t i = 0; i < n;) {
        size_t len = es_utf8_length(text + i, n - i);
        must(len > 0 && (unsigned char)text[i] >= 0x20);
        i += len;
    }
}

static void check_record(const char *text)
{
    es_record record;
    must(es_record_parse(&record, text, NULL) == ES_OK);
    check_text(record.description, 2000);
    must(record.app_count <= 32 && record.topic_count <= 32);
    for (size_t i = 0; i < record.app_count; i++)
        check_text(record.apps[i], 120);
    for (size_t i = 0; i < record.topic_count; i++)
        check_text(record.topics[i], 120);
    int known = 0;
    for (size_t i = 0; es_activities[i] != NULL; i++)
        known |= strcmp(es_activities[i], record.activity) == 0;
    if (record.parsed)
        must(known && record.description[0] != '\0');
    else
        must(record.description[0] == '\0' && record.activity[0] == '\0' && record.app_count + record.topic_count == 0);
    es_record_free(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = es_strndup((const char *)data, size);
    char *pieces[5] = {0};
    if (text == NULL)
        return 0;
    check_record(text);
    size_t frames = 1 + size % 5;
    must(es_record_split(text, frames, pieces, NULL) == ES_OK);
    for (size_t i = 0; i < frames; i++) {
        if (pieces[i] != NULL)
            check_record(pieces[i]);
        free(pieces[i]);
    }
    free(text);
    return 0;
}
