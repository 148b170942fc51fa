/* record_text.h - what a model wraps around its answer, taken off. Used by the readers of records only. */
#ifndef ES_INTELLIGENCE_RECORD_TEXT_H
#define ES_INTELLIGENCE_RECORD_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* A stretch of text, not terminated. */
typedef struct es_span {
    const char *at;
    size_t n;
} es_span;

/* A copy as clean UTF-8 with Unix line ends and no control characters, without its thinking: <think>...</think> is cut
 * out, as is all before a closing tag that was never opened. *unclosed: a thinking tag was opened and not closed; only
 * the tag is cut then, since the record may follow. The caller frees *clean. */
es_status es_record_clean(const char *text, char **clean, bool *unclosed, es_error *err);

bool es_is_space(char c);
/* Whether the text at `at` (n bytes) begins with the lower-case word, in any case. */
bool es_starts_with(const char *at, size_t n, const char *word);
/* Without white-space, quotes, asterisks, backticks, underscores and bullets around it. */
es_span es_span_trim(es_span span);
/* A label such as "Frame 3 (timestamp: 20s):" or "**Frame 3**:" at `at`; returns its length and fills *number, or 0. */
size_t es_frame_label(const char *at, size_t n, size_t *number);

#endif
