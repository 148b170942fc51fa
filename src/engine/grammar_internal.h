/* grammar_internal.h - the nodes of a grammar, for the matcher. */
#ifndef ES_ENGINE_GRAMMAR_INTERNAL_H
#define ES_ENGINE_GRAMMAR_INTERNAL_H

#include "engine/grammar.h"

typedef enum es_node_kind {
    ES_NODE_TEXT,
    ES_NODE_SET,
    ES_NODE_SEQUENCE,
    ES_NODE_CHOICE,
    ES_NODE_REPEAT,
    ES_NODE_RULE
} es_node_kind;

typedef struct es_grammar_node {
    es_node_kind kind;
    int32_t min, max; /* of a repeat */
    size_t first, n; /* bytes of a text, set of a set (n unused), children of the others, within the grammar's arrays */
    int32_t shortest; /* fewest bytes it matches; ES_FAR when nothing finite */
} es_grammar_node;

#define ES_FAR (1 << 28) /* more bytes than any budget, small enough to add up a few */

struct es_grammar {
    es_grammar_node *nodes;
    size_t node_count, node_capacity;
    es_node *children;
    size_t child_count, child_capacity;
    uint8_t *bytes; /* of texts, and 32 for each set */
    size_t byte_count, byte_capacity;
    es_node root;
    bool finished;
    es_error error; /* the first failure while building */
};

#endif
