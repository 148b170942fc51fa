/* tokenizer_scan.h - reads the two big parts of tokenizer.json, vocabulary and merges, straight from its text.
 *
 * A published file has 300,000 strings in these two: a tree of JSON values for them takes half a second and 50 MB. They
 * are cut out, and the few kilobytes that remain go to the JSON library.
 */
#ifndef ES_MODEL_TOKENIZER_SCAN_H
#define ES_MODEL_TOKENIZER_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

/* A part of the file's text; start 0: the file has none. */
typedef struct es_span {
    size_t start;
    size_t end;
} es_span;

/* Finds the object "vocab" and the list "merges" within the top's object "model", and puts the text without their
 * members (but with their line breaks, so that places in errors hold) into rest. What is not JSON stays for the JSON
 * library to refuse. */
es_status es_scan_cut(const char *text, size_t n, es_span *vocab, es_span *merges, es_str *rest, es_error *err);

typedef struct es_scan {
    const char *name; /* of the file, for errors */
    const char *text;
    size_t at;
    size_t end;
    es_str strings[2]; /* where strings with escapes are put, in turn: the last two read stay valid */
    unsigned turn;
} es_scan;

es_scan es_scan_begin(const char *name, const char *text, es_span span);
void es_scan_end(es_scan *scan);

/* Goes over white space and tells whether the given character follows; if so, goes over it too. */
bool es_scan_is(es_scan *scan, char c);
/* The same, or an error that says what should have been there. */
es_status es_scan_expect(es_scan *scan, char c, es_error *err);
/* Reads a string of valid UTF-8 (as JSON demands) or a whole number. */
es_status es_scan_string(es_scan *scan, const char **bytes, size_t *n, es_error *err);
es_status es_scan_number(es_scan *scan, int64_t low, int64_t high, int64_t *value, es_error *err);
/* Between two members of a list or object that ends with `close`: *more is false at its end. `first` before the
 * first one. At the end nothing may follow within the span. */
es_status es_scan_more(es_scan *scan, char close, bool first, bool *more, es_error *err);

#endif
