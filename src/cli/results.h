/* results.h - where observations are written: lines of JSON, a JSON array, or lines for people. */
#ifndef ES_CLI_RESULTS_H
#define ES_CLI_RESULTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "cli/inputs.h"
#include "escriba.h"

typedef enum es_result_form { ES_RESULT_LINES, ES_RESULT_ARRAY, ES_RESULT_TEXT } es_result_form;

typedef struct es_results {
    int fd;
    const char *name; /* of the file, or "stdout" */
    es_result_form form;
    bool raw;       /* raw_text in every record */
    bool began;     /* something was written: an array's bracket */
    char **waiting; /* [total] finished records that wait for earlier ones; NULL: written as they come */
    size_t total, next;
    int failed_errno; /* writing failed; nothing more is written */
} es_results;

/* The record of one frame, without a newline. */
void es_result_append(es_str *out, const es_input *input, const escriba_observation *seen, es_result_form form,
                      bool raw);

/* Writes one observation at once with a single write. `place` counts among the frames of this run. False: stop. */
bool es_results_put(es_results *results, size_t place, const es_input *input, const escriba_observation *seen);
/* Writes what still waits and closes an array. False when anything could not be written. */
bool es_results_finish(es_results *results);
/* One line on stderr about why writing failed; nothing for a pipe that was closed on purpose. */
void es_results_complain(const es_results *results);

#endif
