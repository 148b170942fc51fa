#include "intelligence/record_grammar.h"

#include <stdio.h>

#include "intelligence/record.h"

#define LIST_ITEMS 8

/* Text that begins with something to see and holds none of `except`. */
static es_node words(es_grammar *g, const char *first_except, const char *except)
{
    es_node parts[] = {es_grammar_char(g, first_except), es_grammar_repeat(g, es_grammar_char(g, except), 0, -1)};
    return es_grammar_sequence(g, parts, 2);
}

/* "a, b, c" or nothing. */
static es_node list(es_grammar *g)
{
    es_node item = words(g, " ,[]|", ",[]|");
    es_node more[] = {es_grammar_text(g, ", "), item};
    es_node some[] = {item, es_grammar_repeat(g, es_grammar_sequence(g, more, 2), 0, LIST_ITEMS - 1)};
    es_node ways[] = {es_grammar_text(g, ""), es_grammar_sequence(g, some, 2)};
    return es_grammar_choice(g, ways, 2);
}

static es_node record(es_grammar *g)
{
    es_node activities[16];
    size_t n = 0;
    for (; es_activities[n] != NULL && n < sizeof activities / sizeof *activities; n++)
        activities[n] = es_grammar_text(g, es_activities[n]);
    es_node parts[] = {es_grammar_text(g, "description: "),
                       words(g, " |", "|"),
                       es_grammar_text(g, " | activity: "),
                       es_grammar_choice(g, activities, n),
                       es_grammar_text(g, " | apps: ["),
                       list(g),
                       es_grammar_text(g, "] | topics: ["),
                       list(g),
                       es_grammar_text(g, "]")};
    return es_grammar_sequence(g, parts, sizeof parts / sizeof *parts);
}

/* All lines, each labelled; nested rather than listed, so that any number will do. */
static es_node lines(es_grammar *g, size_t frames)
{
    es_node whole = -1;
    for (size_t i = 0; i < frames; i++) {
        char label[48];
        snprintf(label, sizeof label, "%sFrame %zu: ", i > 0 ? "\n" : "", i + 1);
        es_node parts[] = {whole, es_grammar_text(g, label), record(g)};
        whole = i == 0 ? es_grammar_sequence(g, parts + 1, 2) : es_grammar_sequence(g, parts, 3);
    }
    return whole;
}

es_status es_record_grammar(es_grammar **grammar, size_t frames, es_error *err)
{
    ES_TRY(es_grammar_create(grammar, err));
    es_status status = es_grammar_finish(*grammar, frames > 1 ? lines(*grammar, frames) : record(*grammar), err);
    if (status != ES_OK) {
        es_grammar_free(*grammar);
        *grammar = NULL;
    }
    return status;
}
