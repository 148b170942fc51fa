/* subjects.h - blocks to subjects; see segments.h. */
#ifndef ES_SESSION_SUBJECTS_H
#define ES_SESSION_SUBJECTS_H

#include "session/segments.h"
#include "session/words.h"

/* True when most of the block's time shows personal things and its activity is no work. */
bool es_block_is_personal(const es_block *block, const es_words *words, const double *spans);

/* Fills outline->subjects and each block's subject. Blocks are labelled already. */
es_status es_subjects_make(es_outline *outline, es_error *err);

#endif
