/* record.h - the record line of a frame and its tolerant reader.
 *
 *     description: ... | activity: ... | apps: [a, b] | topics: [x, y]
 */
#ifndef ES_INTELLIGENCE_RECORD_H
#define ES_INTELLIGENCE_RECORD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* debugging coding review meeting research reading terminal other; NULL after the last. */
extern const char *const es_activities[];

typedef struct es_record {
    bool parsed;       /* at least a description and a known activity were found */
    char *description; /* all owned, never NULL after es_record_parse succeeded; es_record_free */
    char *activity;
    char **apps;
    size_t app_count;
    char **topics;
    size_t topic_count;
} es_record;

/* Reads a record from a model's answer: skips <think>...</think> (closed or not), code fences, markdown emphasis,
 * quotes, bullets, a "Frame N:" label and stray text; fields in any order and case, missing ones left empty, JSON
 * objects with the same keys accepted, unknown activities mapped (synonyms) or "other". Fails only for lack of memory;
 * a text that holds no record gives parsed = false and empty fields. */
es_status es_record_parse(es_record *record, const char *text, es_error *err);
void es_record_free(es_record *record);

/* Splits an interleaved answer by its "Frame N:" labels: pieces[i] (i < frames) is the text of frame i + 1, owned, or
 * NULL when missing; the caller frees each and nothing else. Labels out of range or repeated: the first wins. */
es_status es_record_split(const char *text, size_t frames, char **pieces, es_error *err);

#endif
