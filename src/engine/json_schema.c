/* json_schema.c - from a schema's keywords to nodes: types, references, choices, objects, arrays. */
#include "engine/json_schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/json_schema_internal.h"

#define MAX_DEPTH 64     /* of schemas in one another */
#define MAX_MEMBERS 200  /* of an object: each optional one is a level of the matcher's expansion */
#define MAX_VALUES 10000 /* of an enum */
#define MAX_NODES 200000 /* keeps a hostile schema small */

/* Types as bits. */
enum {
    IS_NULL = 1,
    IS_BOOLEAN = 2,
    IS_INTEGER = 4,
    IS_NUMBER = 8,
    IS_STRING = 16,
    IS_ARRAY = 32,
    IS_OBJECT = 64,
    IS_ANY = 127
};

static const struct {
    const char *name;
    unsigned bit;
} types[] = {{"null", IS_NULL},     {"boolean", IS_BOOLEAN}, {"integer", IS_INTEGER}, {"number", IS_NUMBER},
             {"string", IS_STRING}, {"array", IS_ARRAY},     {"object", IS_OBJECT}};
#define TYPES (sizeof types / sizeof *types)

/* Keywords that constrain, and what. `known`: something here holds it. */
static const struct {
    const char *name;
    unsigned of;
    bool known;
} keywords[] = {
    {"properties", IS_OBJECT, true},
    {"required", IS_OBJECT, true},
    {"additionalProperties", IS_OBJECT, true},
    {"minProperties", IS_OBJECT, true},
    {"maxProperties", IS_OBJECT, true},
    {"patternProperties", IS_OBJECT, false},
    {"propertyNames", IS_OBJECT, false},
    {"dependentRequired", IS_OBJECT, false},
    {"dependentSchemas", IS_OBJECT, false},
    {"dependencies", IS_OBJECT, false},
    {"items", IS_ARRAY, true},
    {"prefixItems", IS_ARRAY, true},
    {"additionalItems", IS_ARRAY, true},
    {"minItems", IS_ARRAY, true},
    {"maxItems", IS_ARRAY, true},
    {"contains", IS_ARRAY, false},
    {"unevaluatedItems", IS_ARRAY, false},
    {"uniqueItems", IS_ARRAY, false},
    {"minLength", IS_STRING, true},
    {"maxLength", IS_STRING, true},
    {"pattern", IS_STRING, true},
    {"minimum", IS_INTEGER | IS_NUMBER, true},
    {"maximum", IS_INTEGER | IS_NUMBER, true},
    {"exclusiveMinimum", IS_INTEGER | IS_NUMBER, true},
    {"exclusiveMaximum", IS_INTEGER | IS_NUMBER, true},
    {"multipleOf", IS_INTEGER | IS_NUMBER, false},
    {"not", IS_ANY, false},
    {"if", IS_ANY, false},
    {"$dynamicRef", IS_ANY, false},
    {"$recursiveRef", IS_ANY, false},
    {"type", IS_ANY, true},
    {"enum", IS_ANY, true},
    {"const", IS_ANY, true},
    {"anyOf", IS_ANY, true},
    {"oneOf", IS_ANY, true},
    {"allOf", IS_ANY, true},
    {"$ref", IS_ANY, true},
};
#define KEYWORDS (sizeof keywords / sizeof *keywords)

static es_node value(es_schema_build *b, const json_t *schema);

es_node es_schema_fail(es_schema_build *b, es_status status, const char *format, ...)
{
    char text[300];
    va_list arguments;
    if (b->error.status != ES_OK)
        return -1;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    es_fail(&b->error, status, "the schema at %s: %s", b->where, text);
    return -1;
}

bool es_schema_count(es_schema_build *b, const json_t *schema, const char *key, int32_t standard, int32_t *count)
{
    const json_t *given = json_object_get(schema, key);
    *count = standard;
    if (given == NULL || json_is_null(given))
        return true;
    json_int_t n = json_is_real(given) && json_real_value(given) >= 0 && json_real_value(given) < 1e9
                       ? (json_int_t)json_real_value(given)
                       : json_integer_value(given);
    if (!json_is_number(given) || n < 0 || n > INT32_MAX - 1 || json_number_value(given) != (double)n) {
        es_schema_fail(b, ES_ERR_ARGUMENT, "%s is not a count", key);
        return false;
    }
    *count = (int32_t)n;
    return true;
}

/* The value one step down: remembers the way for errors. */
static es_node below(es_schema_build *b, const json_t *schema, const char *key, const char *step)
{
    size_t end = strlen(b->where);
    snprintf(b->where + end, sizeof b->where - end, step != NULL ? "/%s/%s" : "/%s", key, step);
    es_node node = value(b, schema);
    b->where[end] = '\0';
    return node;
}

/* Refuses what nothing here holds, and constraints that stand beside one which is read alone. */
static bool check_keywords(es_schema_build *b, const json_t *schema, unsigned of, const char *alone)
{
    for (size_t i = 0; i < KEYWORDS; i++) {
        const char *name = keywords[i].name;
        const json_t *given = json_object_get(schema, name);
        if (given == NULL || (keywords[i].of & of) == 0)
            continue;
        if (strcmp(name, "uniqueItems") == 0 && json_is_false(given))
            continue;
        if (strcmp(name, "multipleOf") == 0 && json_number_value(given) == 1 && of == IS_INTEGER)
            continue;
        if (!keywords[i].known) {
            es_schema_fail(b, ES_ERR_UNSUPPORTED, "%s is not supported", name);
            return false;
        }
        if (alone != NULL && strcmp(name, alone) != 0 && strcmp(name, "type") != 0) {
            es_schema_fail(b, ES_ERR_UNSUPPORTED, "%s beside %s is not supported", name, alone);
            return false;
        }
    }
    return true;
}

/* --- anything --- */

static es_node listed(es_grammar *g, const char *open, es_node item, const char *close)
{
    es_node more[] = {es_grammar_text(g, ", "), item};
    es_node some[] = {es_grammar_text(g, open), item, es_grammar_repeat(g, es_grammar_sequence(g, more, 2), 0, -1),
                      es_grammar_text(g, close)};
    char empty[3] = {open[0], close[0], '\0'};
    es_node ways[] = {es_grammar_text(g, empty), es_grammar_sequence(g, some, 4)};
    return es_grammar_choice(g, ways, 2);
}

static es_node any_string(es_schema_build *b)
{
    es_node parts[] = {es_grammar_text(b->g, "\""), es_grammar_repeat(b->g, es_schema_char(b), 0, -1),
                       es_grammar_text(b->g, "\"")};
    return es_grammar_sequence(b->g, parts, 3);
}

/* "name": value */
static es_node any_member(es_schema_build *b, es_node inside)
{
    es_node parts[] = {any_string(b), es_grammar_text(b->g, ": "), inside};
    return es_grammar_sequence(b->g, parts, 3);
}

static es_node any(es_schema_build *b)
{
    if (b->any_made)
        return b->any[ES_ANY_DEPTH];
    json_t *free_number = json_object();
    es_node number = free_number != NULL ? es_schema_number(b, free_number, false) : -1;
    json_decref(free_number);
    es_node scalars[] = {any_string(b), number, es_grammar_text(b->g, "true"), es_grammar_text(b->g, "false"),
                         es_grammar_text(b->g, "null")};
    b->any[0] = es_grammar_choice(b->g, scalars, 5);
    for (int i = 1; i <= ES_ANY_DEPTH; i++) {
        es_node ways[] = {b->any[0], listed(b->g, "[", b->any[i - 1], "]"),
                          listed(b->g, "{", any_member(b, b->any[i - 1]), "}")};
        b->any[i] = es_grammar_choice(b->g, ways, 3);
    }
    b->any_made = true;
    return b->any[ES_ANY_DEPTH];
}

/* --- fixed values --- */

static es_node literal(es_schema_build *b, const json_t *given)
{
    char *text = json_dumps(given, JSON_ENCODE_ANY);
    if (text == NULL)
        return es_schema_fail(b, ES_ERR_MEMORY, "out of memory for a value");
    es_node node = es_grammar_text(b->g, text);
    free(text);
    return node;
}

static unsigned type_of(const json_t *given)
{
    switch (json_typeof(given)) {
    case JSON_NULL:
        return IS_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return IS_BOOLEAN;
    case JSON_INTEGER:
        return IS_INTEGER | IS_NUMBER;
    case JSON_REAL:
        return IS_NUMBER;
    case JSON_STRING:
        return IS_STRING;
    case JSON_ARRAY:
        return IS_ARRAY;
    default:
        return IS_OBJECT;
    }
}

/* The types a schema names; 0 after a failure, IS_ANY when it names none. */
static unsigned named_types(es_schema_build *b, const json_t *schema)
{
    const json_t *given = json_object_get(schema, "type");
    size_t n = json_is_array(given) ? json_array_size(given) : 1;
    unsigned bits = 0;
    if (given == NULL)
        return IS_ANY;
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_is_array(given) ? json_array_get(given, i) : given);
        unsigned bit = 0;
        for (size_t t = 0; name != NULL && t < TYPES; t++)
            if (strcmp(types[t].name, name) == 0)
                bit = types[t].bit;
        if (bit == 0)
            es_schema_fail(b, ES_ERR_ARGUMENT, "type is none of null, boolean, integer, number, string, array, object");
        bits |= bit;
    }
    if (n == 0)
        es_schema_fail(b, ES_ERR_ARGUMENT, "type is an empty list");
    return b->error.status == ES_OK ? bits : 0;
}

static es_node fixed(es_schema_build *b, const json_t *schema, const json_t *list, const char *key)
{
    unsigned of = named_types(b, schema);
    size_t n = list != NULL ? json_array_size(list) : 1, count = 0;
    if (n > MAX_VALUES)
        return es_schema_fail(b, ES_ERR_LIMIT, "more than %d values", MAX_VALUES);
    es_node *ways = of != 0 ? es_calloc(n + 1, sizeof *ways) : NULL;
    if (of == 0 || !check_keywords(b, schema, IS_ANY, key)) {
        free(ways);
        return -1;
    }
    if (ways == NULL)
        return es_schema_fail(b, ES_ERR_MEMORY, "out of memory for its values");
    for (size_t i = 0; i < n && b->error.status == ES_OK; i++) {
        const json_t *item = list != NULL ? json_array_get(list, i) : json_object_get(schema, "const");
        if (type_of(item) & of)
            ways[count++] = literal(b, item);
    }
    es_node node = count > 0 ? es_grammar_choice(b->g, ways, count) : -1;
    free(ways);
    return count > 0 ? node : es_schema_fail(b, ES_ERR_ARGUMENT, "none of its values has its type");
}

/* --- references and choices --- */

/* What "#/a/b" points to; NULL when nothing. */
static const json_t *point(const json_t *root, const char *ref)
{
    const json_t *at = root;
    char step[200];
    if (*ref++ != '#')
        return NULL;
    while (at != NULL && *ref == '/') {
        size_t n = 0;
        for (ref++; *ref != '\0' && *ref != '/'; ref++) {
            char c = *ref;
            if (c == '~' && (ref[1] == '0' || ref[1] == '1')) /* RFC 6901, 3 */
                c = *++ref == '0' ? '~' : '/';
            if (n + 1 >= sizeof step)
                return NULL;
            step[n++] = c;
        }
        step[n] = '\0';
        at = json_is_array(at) ? json_array_get(at, strtoul(step, NULL, 10)) : json_object_get(at, step);
    }
    return *ref == '\0' ? at : NULL;
}

static es_node reference(es_schema_build *b, const json_t *schema)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    const json_t *target = ref != NULL ? point(b->root, ref) : NULL;
    if (!check_keywords(b, schema, IS_ANY, "$ref"))
        return -1;
    if (target == NULL)
        return es_schema_fail(b, ES_ERR_ARGUMENT, "$ref %.60s points to nothing in the schema", ref != NULL ? ref : "");
    for (size_t i = 0; i < b->rule_count; i++)
        if (b->rules[i].schema == target)
            return b->rules[i].rule;
    void *items = b->rules;
    if (es_grow(&items, &b->rule_capacity, b->rule_count + 1, sizeof *b->rules) != 0)
        return es_schema_fail(b, ES_ERR_MEMORY, "out of memory for its references");
    b->rules = items;
    es_node rule = es_grammar_rule(b->g);
    b->rules[b->rule_count++] = (es_schema_rule){target, rule};
    es_node node = below(b, target, "$ref", NULL);
    if (node < 0)
        return -1;
    es_grammar_define(b->g, rule, node);
    return rule;
}

/* The schema itself, references followed. */
static const json_t *follow(const es_schema_build *b, const json_t *schema)
{
    for (int i = 0; i < 16 && schema != NULL && json_object_get(schema, "$ref") != NULL; i++) {
        const char *ref = json_string_value(json_object_get(schema, "$ref"));
        schema = ref != NULL ? point(b->root, ref) : NULL;
    }
    return schema;
}

/* The values a schema fixes: *n of them, or none known. */
static const json_t *fixed_at(const json_t *schema, size_t i, size_t *n)
{
    const json_t *list = json_object_get(schema, "enum"), *one = json_object_get(schema, "const");
    *n = one != NULL ? 1 : json_array_size(list);
    return one != NULL ? one : json_array_get(list, i);
}

/* Which types a schema's values may have, as far as that is easily said. */
static unsigned possible(es_schema_build *b, const json_t *schema)
{
    size_t n;
    unsigned bits = 0;
    fixed_at(schema, 0, &n);
    for (size_t i = 0; i < n; i++)
        bits |= type_of(fixed_at(schema, i, &n));
    unsigned named = named_types(b, schema);
    bits = n > 0 ? bits & named : named;
    return bits & IS_NUMBER ? bits | IS_INTEGER : bits;
}

static bool fixed_apart(const json_t *x, const json_t *y)
{
    size_t n = 0, k = 0;
    fixed_at(x, 0, &n);
    fixed_at(y, 0, &k);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < k; j++) {
            const json_t *p = fixed_at(x, i, &n), *q = fixed_at(y, j, &k);
            if (json_equal(p, q) || (json_is_number(p) && json_is_number(q)))
                return false;
        }
    return n > 0 && k > 0;
}

static bool is_required(const json_t *schema, const char *name)
{
    const json_t *list = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *one = json_string_value(json_array_get(list, i));
        if (one != NULL && strcmp(one, name) == 0)
            return true;
    }
    return false;
}

/* Surely no value validates against both: they differ in type, in fixed values, or in those of a required member. */
static bool apart(es_schema_build *b, const json_t *x, const json_t *y)
{
    x = follow(b, x);
    y = follow(b, y);
    if (!json_is_object(x) || !json_is_object(y))
        return false;
    unsigned p = possible(b, x), q = possible(b, y);
    if ((p & q) == 0 || fixed_apart(x, y))
        return true;
    if ((p | q) != IS_OBJECT)
        return false;
    const char *name;
    json_t *one, *members = json_object_get(x, "properties");
    json_object_foreach(members, name, one)
    {
        const json_t *other = follow(b, json_object_get(json_object_get(y, "properties"), name));
        const json_t *mine = follow(b, one);
        if (mine != NULL && other != NULL && is_required(x, name) && is_required(y, name) && fixed_apart(mine, other))
            return true;
    }
    return false;
}

/* anyOf; with `exactly` oneOf. */
static es_node ways_of(es_schema_build *b, const json_t *schema, const char *key, bool exactly)
{
    const json_t *list = json_object_get(schema, key);
    size_t n = json_array_size(list);
    if (n == 0)
        return es_schema_fail(b, ES_ERR_ARGUMENT, "%s is not a list of schemas", key);
    if (!check_keywords(b, schema, IS_ANY, key))
        return -1;
    if (json_object_get(schema, "type") != NULL && strcmp(key, "allOf") != 0)
        return es_schema_fail(b, ES_ERR_UNSUPPORTED, "type beside %s is not supported", key);
    for (size_t i = 0; exactly && i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (!apart(b, json_array_get(list, i), json_array_get(list, j)))
                return es_schema_fail(b, ES_ERR_UNSUPPORTED,
                                      "oneOf is supported where its ways differ in type or in a required member's "
                                      "const or enum: use anyOf");
    es_node *ways = es_calloc(n, sizeof *ways);
    if (ways == NULL)
        return es_schema_fail(b, ES_ERR_MEMORY, "out of memory for its ways");
    for (size_t i = 0; i < n; i++) {
        char step[24];
        snprintf(step, sizeof step, "%zu", i);
        ways[i] = below(b, json_array_get(list, i), key, step);
    }
    es_node node = b->error.status == ES_OK ? es_grammar_choice(b->g, ways, n) : -1;
    free(ways);
    return node;
}

/* --- arrays --- */

/* The rest of an array after `before` items: from min to max more. */
static es_node more_items(es_schema_build *b, const json_t *rest, size_t before, int32_t min, int32_t max)
{
    es_grammar *g = b->g;
    if (max == 0 || json_is_false(rest))
        return min > 0 ? es_schema_fail(b, ES_ERR_ARGUMENT, "minItems wants more items than are allowed")
                       : es_grammar_text(g, "]");
    es_node item = rest != NULL ? below(b, rest, "items", NULL) : any(b);
    if (item < 0)
        return -1;
    es_node next[] = {es_grammar_text(g, ", "), item};
    es_node again = es_grammar_sequence(g, next, 2), close = es_grammar_text(g, "]");
    if (before > 0) {
        es_node parts[] = {es_grammar_repeat(g, again, min, max), close};
        return es_grammar_sequence(g, parts, 2);
    }
    es_node some[] = {item, es_grammar_repeat(g, again, min > 0 ? min - 1 : 0, max < 0 ? -1 : max - 1), close};
    es_node ways[] = {es_grammar_sequence(g, some, 3), close};
    return es_grammar_choice(g, ways, min > 0 ? 1 : 2);
}

static es_node array(es_schema_build *b, const json_t *schema)
{
    int32_t min, max;
    const json_t *rest = json_object_get(schema, "items"), *first = json_object_get(schema, "prefixItems");
    if (!es_schema_count(b, schema, "minItems", 0, &min) || !es_schema_count(b, schema, "maxItems", -1, &max))
        return -1;
    if (json_is_array(rest)) { /* before 2020-12 */
        first = rest;
        rest = json_object_get(schema, "additionalItems");
    }
    if (max >= 0 && max < min)
        return es_schema_fail(b, ES_ERR_ARGUMENT, "maxItems is less than minItems");
    size_t n = json_array_size(first);
    if (n > MAX_MEMBERS)
        return es_schema_fail(b, ES_ERR_UNSUPPORTED, "more than %d prefixItems", MAX_MEMBERS);
    if (max >= 0 && n > (size_t)max)
        n = (size_t)max;
    es_node *parts = es_calloc(2 * n + 2, sizeof *parts);
    if (parts == NULL)
        return es_schema_fail(b, ES_ERR_MEMORY, "out of memory for its items");
    size_t count = 0;
    parts[count++] = es_grammar_text(b->g, "[");
    for (size_t i = 0; i < n; i++) {
        char step[24];
        snprintf(step, sizeof step, "%zu", i);
        if (i > 0)
            parts[count++] = es_grammar_text(b->g, ", ");
        parts[count++] = below(b, json_array_get(first, i), "prefixItems", step);
    }
    int32_t done = (int32_t)n;
    parts[count++] = more_items(b, rest, n, min > done ? min - done : 0, max < 0 ? -1 : max - done);
    es_node node = b->error.status == ES_OK ? es_grammar_sequence(b->g, parts, count) : -1;
    free(parts);
    return node;
}

/* --- objects --- */

typedef struct member {
    es_node node; /* "name": value */
    bool required;
} member;

static es_node named_member(es_schema_build *b, const char *name, const json_t *schema)
{
    json_t *string = json_string(name);
    es_node text = string != NULL ? literal(b, string) : es_schema_fail(b, ES_ERR_MEMORY, "out of memory for a name");
    json_decref(string);
    es_node inside = schema != NULL ? below(b, schema, "properties", name) : any(b);
    if (text < 0 || inside < 0)
        return -1;
    es_node parts[] = {text, es_grammar_text(b->g, ": "), inside};
    return es_grammar_sequence(b->g, parts, 3);
}

/* Members in their order, optional ones left out at will, commas between those that are there. Built from the last:
 * `after` is the rest when something stands before it, `fresh` when nothing does. */
static es_node chain(es_schema_build *b, const member *members, size_t n)
{
    es_grammar *g = b->g;
    es_node comma = es_grammar_text(g, ", "), after = es_grammar_text(g, "}"), fresh = after;
    for (size_t i = n; i-- > 0;) {
        es_node with[] = {members[i].node, after}, joined[] = {comma, members[i].node, after};
        es_node first = es_grammar_sequence(g, with, 2), next = es_grammar_sequence(g, joined, 3);
        es_node fresh_ways[] = {first, fresh}, after_ways[] = {next, after};
        fresh = members[i].required ? first : es_grammar_choice(g, fresh_ways, 2);
        after = members[i].required ? next : es_grammar_choice(g, after_ways, 2);
    }
    es_node parts[] = {es_grammar_text(g, "{"), fresh};
    return es_grammar_sequence(g, parts, 2);
}

/* An object that names no members. */
static es_node map(es_schema_build *b, const json_t *inside, int32_t min, int32_t max)
{
    es_grammar *g = b->g;
    es_node open = es_grammar_text(g, "{"), close = es_grammar_text(g, "}"), comma = es_grammar_text(g, ", ");
    if (json_is_false(inside) || max == 0) {
        es_node none[] = {open, close};
        return min > 0 ? es_schema_fail(b, ES_ERR_ARGUMENT, "minProperties wants more members than are allowed")
                       : es_grammar_sequence(g, none, 2);
    }
    if (min > 1) /* the same name twice counts once */
        return es_schema_fail(b, ES_ERR_UNSUPPORTED, "minProperties above 1 is not supported");
    es_node item = json_is_object(inside) ? below(b, inside, "additionalProperties", NULL) : any(b);
    if (item < 0)
        return -1;
    es_node one = any_member(b, item), next[] = {comma, one};
    es_node some[] = {one, es_grammar_repeat(g, es_grammar_sequence(g, next, 2), 0, max < 0 ? -1 : max - 1), close};
    es_node ways[] = {es_grammar_sequence(g, some, 3), close};
    es_node parts[] = {open, es_grammar_choice(g, ways, min > 0 ? 1 : 2)};
    return es_grammar_sequence(g, parts, 2);
}

/* Fills members; those that are required but not described come last. */
static bool read_members(es_schema_build *b, const json_t *schema, member *members, size_t *n)
{
    json_t *properties = json_object_get(schema, "properties"), *required = json_object_get(schema, "required"), *one;
    const char *name;
    *n = 0;
    json_object_foreach(properties, name, one)
    {
        if (json_is_false(one) && !is_required(schema, name))
            continue;
        members[(*n)++] = (member){named_member(b, name, one), is_required(schema, name)};
    }
    for (size_t i = 0; i < json_array_size(required); i++) {
        name = json_string_value(json_array_get(required, i));
        if (name == NULL) {
            es_schema_fail(b, ES_ERR_ARGUMENT, "required is not a list of names");
        } else if (json_object_get(properties, name) == NULL) {
            const json_t *rest = json_object_get(schema, "additionalProperties");
            if (json_is_false(rest))
                es_schema_fail(b, ES_ERR_ARGUMENT, "%.60s is required and not allowed", name);
            members[(*n)++] = (member){named_member(b, name, json_is_object(rest) ? rest : NULL), true};
        }
    }
    return b->error.status == ES_OK;
}

static es_node object(es_schema_build *b, const json_t *schema)
{
    const json_t *properties = json_object_get(schema, "properties"), *required = json_object_get(schema, "required");
    int32_t min, max;
    if ((properties != NULL && !json_is_object(properties)) || (required != NULL && !json_is_array(required)))
        return es_schema_fail(b, ES_ERR_ARGUMENT, "properties is not an object, or required not a list");
    if (!es_schema_count(b, schema, "minProperties", 0, &min) || !es_schema_count(b, schema, "maxProperties", -1, &max))
        return -1;
    size_t n = json_object_size(properties) + json_array_size(required), must = 0;
    if (n == 0)
        return map(b, json_object_get(schema, "additionalProperties"), min, max);
    if (n > 2 * MAX_MEMBERS || json_object_size(properties) > MAX_MEMBERS)
        return es_schema_fail(b, ES_ERR_UNSUPPORTED, "more than %d properties", MAX_MEMBERS);
    member *members = es_calloc(n, sizeof *members);
    if (members == NULL)
        return es_schema_fail(b, ES_ERR_MEMORY, "out of memory for its properties");
    bool ok = read_members(b, schema, members, &n);
    for (size_t i = 0; i < n; i++)
        must += members[i].required;
    if (ok && (must < (size_t)min || (max >= 0 && n > (size_t)max)))
        es_schema_fail(b, ES_ERR_UNSUPPORTED, "minProperties or maxProperties beside properties is not supported");
    es_node node = b->error.status == ES_OK ? chain(b, members, n) : -1;
    free(members);
    return node;
}

/* --- values --- */

static es_node of_type(es_schema_build *b, const json_t *schema, unsigned bit)
{
    if (!check_keywords(b, schema, bit, NULL))
        return -1;
    es_node truths[] = {es_grammar_text(b->g, "true"), es_grammar_text(b->g, "false")};
    switch (bit) {
    case IS_NULL:
        return es_grammar_text(b->g, "null");
    case IS_BOOLEAN:
        return es_grammar_choice(b->g, truths, 2);
    case IS_INTEGER:
        return es_schema_number(b, schema, true);
    case IS_NUMBER:
        return es_schema_number(b, schema, false);
    case IS_STRING:
        return es_schema_string(b, schema);
    case IS_ARRAY:
        return array(b, schema);
    default:
        return object(b, schema);
    }
}

/* By type; without one, the type that its keywords are about, or anything when there are none. */
static es_node typed(es_schema_build *b, const json_t *schema)
{
    unsigned bits = named_types(b, schema), about = 0;
    es_node ways[TYPES];
    size_t n = 0;
    if (bits == IS_ANY) {
        for (size_t i = 0; i < KEYWORDS; i++)
            if (json_object_get(schema, keywords[i].name) != NULL && keywords[i].of != IS_ANY)
                about |= keywords[i].of & ~(unsigned)IS_INTEGER;
        if (about == 0)
            return check_keywords(b, schema, IS_ANY, NULL) ? any(b) : -1;
        bits = about;
    }
    if (bits & IS_NUMBER)
        bits &= ~(unsigned)IS_INTEGER;
    for (size_t t = 0; t < TYPES; t++)
        if (types[t].bit & bits)
            ways[n++] = of_type(b, schema, types[t].bit);
    return n > 0 && b->error.status == ES_OK ? es_grammar_choice(b->g, ways, n) : -1;
}

static es_node value_of(es_schema_build *b, const json_t *schema)
{
    const json_t *list = json_object_get(schema, "enum");
    if (json_is_true(schema))
        return any(b);
    if (!json_is_object(schema))
        return es_schema_fail(b, ES_ERR_ARGUMENT,
                              json_is_false(schema) ? "nothing validates against false" : "a schema must be an object");
    if (json_object_get(schema, "$ref") != NULL)
        return reference(b, schema);
    if (json_object_get(schema, "const") != NULL)
        return fixed(b, schema, NULL, "const");
    if (list != NULL)
        return json_array_size(list) > 0 ? fixed(b, schema, list, "enum")
                                         : es_schema_fail(b, ES_ERR_ARGUMENT, "enum is not a list of values");
    if (json_object_get(schema, "anyOf") != NULL)
        return ways_of(b, schema, "anyOf", false);
    if (json_object_get(schema, "oneOf") != NULL)
        return ways_of(b, schema, "oneOf", true);
    if (json_object_get(schema, "allOf") != NULL)
        return json_array_size(json_object_get(schema, "allOf")) == 1 && json_object_get(schema, "type") == NULL
                   ? ways_of(b, schema, "allOf", false)
                   : es_schema_fail(b, ES_ERR_UNSUPPORTED, "allOf of anything but one schema is not supported");
    return typed(b, schema);
}

static es_node value(es_schema_build *b, const json_t *schema)
{
    if (b->error.status != ES_OK)
        return -1;
    if (b->depth >= MAX_DEPTH || es_grammar_size(b->g) > MAX_NODES)
        return es_schema_fail(b, ES_ERR_LIMIT, "schemas deeper than %d in one another, or too large", MAX_DEPTH);
    b->depth++;
    es_node node = value_of(b, schema);
    b->depth--;
    return node;
}

static es_status make(es_grammar **grammar, const json_t *schema, bool any_object, es_error *err)
{
    es_schema_build b = {.root = schema, .where = "#"};
    ES_TRY(es_grammar_create(&b.g, err));
    es_node root;
    if (any_object) {
        any(&b);
        root = b.error.status == ES_OK ? map(&b, NULL, 0, -1) : -1;
    } else {
        root = value(&b, schema);
    }
    free(b.rules);
    es_status status = b.error.status;
    if (status != ES_OK && err != NULL)
        *err = b.error;
    if (status == ES_OK && (status = es_grammar_finish(b.g, root, err)) != ES_OK)
        es_wrap(err, status, "the schema");
    if (status != ES_OK) {
        es_grammar_free(b.g);
        b.g = NULL;
    }
    *grammar = b.g;
    return status;
}

es_status es_json_schema_grammar(es_grammar **grammar, const json_t *schema, es_error *err)
{
    *grammar = NULL;
    return make(grammar, schema, false, err);
}

es_status es_json_object_grammar(es_grammar **grammar, es_error *err)
{
    *grammar = NULL;
    return make(grammar, NULL, true, err);
}
