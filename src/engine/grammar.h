/* grammar.h - which texts an answer may be: rules over bytes, and the walk through them token by token.
 *
 * A grammar is built from nodes, then finished and never changed. A matcher joins it to one vocabulary: it turns the
 * grammar into a deterministic automaton as far as it is walked, and keeps for each state which tokens may come next.
 */
#ifndef ES_ENGINE_GRAMMAR_H
#define ES_ENGINE_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "engine/lexicon.h"

typedef struct es_grammar es_grammar;
typedef int32_t es_node; /* a node of a grammar; -1 after a failure, which es_grammar_finish reports */

es_status es_grammar_create(es_grammar **grammar, es_error *err);
void es_grammar_free(es_grammar *grammar); /* NULL is fine */

es_node es_grammar_text(es_grammar *g, const char *text);           /* exactly this */
es_node es_grammar_bytes(es_grammar *g, const uint8_t set[32]);     /* one byte; bit b of the set allows it */
es_node es_grammar_range(es_grammar *g, uint8_t low, uint8_t high); /* one byte from low to high */
es_node es_grammar_char(es_grammar *g, const char *except);         /* one UTF-8 character, no control, none of these */
es_node es_grammar_sequence(es_grammar *g, const es_node *nodes, size_t n); /* one after the other */
es_node es_grammar_choice(es_grammar *g, const es_node *nodes, size_t n);   /* one of them */
/* From min to max times (max -1: any number). The node must not match nothing. Every count is a state of its own: bound
 * what is short, leave long text to the token budget. */
es_node es_grammar_repeat(es_grammar *g, es_node node, int32_t min, int32_t max);
/* A node to be defined later, for rules that contain themselves (not at their own beginning). */
es_node es_grammar_rule(es_grammar *g);
void es_grammar_define(es_grammar *g, es_node rule, es_node node);
size_t es_grammar_size(const es_grammar *g); /* nodes so far */
/* Everything matches root from now on. Reports what failed before. */
es_status es_grammar_finish(es_grammar *g, es_node root, es_error *err);

/* --- walking --- */

typedef struct es_matcher es_matcher;
typedef int32_t es_match; /* a state: where in the grammar a text has come to */
#define ES_MATCH_DEAD (-1)

/* Both must outlive the matcher. One thread at a time. */
es_status es_matcher_create(es_matcher **matcher, const es_grammar *grammar, const es_lexicon *lexicon, es_error *err);
void es_matcher_free(es_matcher *matcher); /* NULL is fine */
/* No other matcher of this process has the same, nor had it. */
es_hash es_matcher_key(const es_matcher *m);
/* It has come across so many places that it had better be made anew for the next answer. */
bool es_matcher_is_worn(const es_matcher *m);

es_match es_matcher_start(const es_matcher *m);
/* The state after one more byte, or ES_MATCH_DEAD. */
es_status es_matcher_byte(es_matcher *m, es_match at, uint8_t byte, es_match *next, es_error *err);
/* The state after a token's bytes; ES_MATCH_DEAD for special tokens too. */
es_status es_matcher_token(es_matcher *m, es_match at, int32_t id, es_match *next, es_error *err);
/* The text so far is one of the grammar's. */
bool es_matcher_accepts(const es_matcher *m, es_match at);
/* It is, and nothing may follow. */
bool es_matcher_is_end(const es_matcher *m, es_match at);
/* The fewest bytes that make the text one of the grammar's. */
int32_t es_matcher_distance(const es_matcher *m, es_match at);
/* Sets to minus infinity every logit [the lexicon's vocab] of a token that may not come next, or after which the text
 * could no longer be ended within `left` further tokens (a token ends at least a byte). End tokens are the caller's
 * business. *any: one is left. */
es_status es_matcher_mask(es_matcher *m, es_match at, int32_t left, float *logits, bool *any, es_error *err);
/* Appends the bytes that must come next whatever the model would say: as long as there is only one way on. */
es_status es_matcher_forced(es_matcher *m, es_match at, es_str *bytes, es_error *err);

#endif
