/* record_grammar.h - the record line as a grammar, so that no model can write it wrong. */
#ifndef ES_INTELLIGENCE_RECORD_GRAMMAR_H
#define ES_INTELLIGENCE_RECORD_GRAMMAR_H

#include "engine/grammar.h"

/* The record of one frame; with frames > 1 that many lines, each with its "Frame N: " before it. Lists hold at most
 * eight items. */
es_status es_record_grammar(es_grammar **grammar, size_t frames, es_error *err);

#endif
