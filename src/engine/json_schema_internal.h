/* json_schema_internal.h - what the files that turn a schema into a grammar share. */
#ifndef ES_ENGINE_JSON_SCHEMA_INTERNAL_H
#define ES_ENGINE_JSON_SCHEMA_INTERNAL_H

#include "engine/json_schema.h"

#define ES_ANY_DEPTH 10 /* of values about which a schema says nothing */

/* A place in the schema that something refers to: it becomes a rule, so that it may contain itself. */
typedef struct es_schema_rule {
    const json_t *schema;
    es_node rule;
} es_schema_rule;

typedef struct es_schema_build {
    es_grammar *g;
    const json_t *root;
    es_error error;  /* the first failure; nodes are -1 from then on */
    char where[200]; /* the place being read, "#/properties/x" */
    int depth;
    es_schema_rule *rules;
    size_t rule_count, rule_capacity;
    es_node any[ES_ANY_DEPTH + 1]; /* any value, nested at most so deep */
    bool any_made;
} es_schema_build;

/* Keeps the first failure, with the place; gives -1. */
es_node es_schema_fail(es_schema_build *b, es_status status, const char *format, ...) ES_PRINTF(3, 4);
/* A keyword that must be a whole number not below 0, or `standard` when it is not there. False after a failure. */
bool es_schema_count(es_schema_build *b, const json_t *schema, const char *key, int32_t standard, int32_t *value);

/* One character of a JSON string, escaped where it must be. */
es_node es_schema_char(es_schema_build *b);
/* The strings, with their quotes, that a schema of type string allows (json_schema_string.c). */
es_node es_schema_string(es_schema_build *b, const json_t *schema);
/* The inside of the strings that a regular expression finds (json_schema_pattern.c). */
es_node es_schema_pattern(es_schema_build *b, const char *pattern);
/* Numbers, whole ones only with `whole` (json_schema_number.c). */
es_node es_schema_number(es_schema_build *b, const json_t *schema, bool whole);

#endif
