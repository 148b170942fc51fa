/* summary.h - subjects named and told by a language model, checked before anything of it is believed.
 *
 * The model is given the work blocks by number and answers with JSON. It is taken only when every block is in exactly
 * one of one to six subjects; times are then added up by us, never by the model. Personal blocks are not shown to it.
 */
#ifndef ES_SESSION_SUMMARY_H
#define ES_SESSION_SUMMARY_H

#include "base/str.h"
#include "session/report.h"
#include "session/segments.h"

/* The question, appended to out. False: there is no work block to ask about. */
bool es_summary_prompt(es_str *out, const es_report *report);

/* Puts the model's subjects in the place of the outline's, the personal one left as it is. *texts: [subjects] what it
 * said of each, NULL of the personal one; free with es_summary_texts_free. ES_ERR_FORMAT: the answer does not check,
 * and the outline is as it was. */
es_status es_summary_apply(const char *answer, es_outline *outline, char ***texts, es_error *err);
void es_summary_texts_free(char **texts, size_t count);

/* Sixteen digits that tell whether an outline is the one an answer was about. */
void es_outline_signature(const es_outline *outline, char hex[17]);

#endif
