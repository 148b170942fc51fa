/* grammar.c - building grammars. */
#include "engine/grammar.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/grammar_internal.h"

es_status es_grammar_create(es_grammar **grammar, es_error *err)
{
    *grammar = es_calloc(1, sizeof **grammar);
    return *grammar != NULL ? ES_OK : es_fail_memory(err, "a grammar", sizeof **grammar);
}

void es_grammar_free(es_grammar *g)
{
    if (g == NULL)
        return;
    free(g->nodes);
    free(g->children);
    free(g->bytes);
    free(g);
}

size_t es_grammar_size(const es_grammar *g)
{
    return g->node_count;
}

/* Notes the first failure. */
static es_node fail(es_grammar *g, es_status status, const char *what)
{
    if (g->error.status == ES_OK)
        es_fail(&g->error, status, "%s", what);
    return -1;
}

static es_node add_node(es_grammar *g, es_grammar_node node)
{
    void *nodes = g->nodes;
    if (g->error.status != ES_OK)
        return -1;
    if (g->finished)
        return fail(g, ES_ERR_INTERNAL, "a finished grammar cannot grow");
    if (g->node_count >= INT32_MAX / 2 || es_grow(&nodes, &g->node_capacity, g->node_count + 1, sizeof node) != 0)
        return fail(g, ES_ERR_MEMORY, "out of memory for a grammar");
    g->nodes = nodes;
    g->nodes[g->node_count] = node;
    return (es_node)g->node_count++;
}

static bool add_bytes(es_grammar *g, const void *bytes, size_t n)
{
    void *items = g->bytes;
    if (es_grow(&items, &g->byte_capacity, g->byte_count + n + 1, 1) != 0) {
        fail(g, ES_ERR_MEMORY, "out of memory for a grammar");
        return false;
    }
    g->bytes = items;
    if (n > 0)
        memcpy(g->bytes + g->byte_count, bytes, n);
    g->byte_count += n;
    return true;
}

es_node es_grammar_text(es_grammar *g, const char *text)
{
    size_t first = g->byte_count, n = strlen(text);
    if (!add_bytes(g, text, n))
        return -1;
    return add_node(g, (es_grammar_node){.kind = ES_NODE_TEXT, .first = first, .n = n});
}

es_node es_grammar_bytes(es_grammar *g, const uint8_t set[32])
{
    size_t first = g->byte_count;
    if (!add_bytes(g, set, 32))
        return -1;
    return add_node(g, (es_grammar_node){.kind = ES_NODE_SET, .first = first});
}

es_node es_grammar_range(es_grammar *g, uint8_t low, uint8_t high)
{
    uint8_t set[32] = {0};
    for (int b = low; b <= high; b++)
        set[b / 8] = (uint8_t)(set[b / 8] | 1 << (b % 8));
    return es_grammar_bytes(g, set);
}

static es_node add_parent(es_grammar *g, es_node_kind kind, const es_node *nodes, size_t n)
{
    void *items = g->children;
    for (size_t i = 0; i < n; i++)
        if (nodes[i] < 0 || (size_t)nodes[i] >= g->node_count)
            return fail(g, ES_ERR_INTERNAL, "a grammar node that does not exist");
    if (es_grow(&items, &g->child_capacity, g->child_count + n + 1, sizeof *nodes) != 0)
        return fail(g, ES_ERR_MEMORY, "out of memory for a grammar");
    g->children = items;
    if (n > 0)
        memcpy(g->children + g->child_count, nodes, n * sizeof *nodes);
    size_t first = g->child_count;
    g->child_count += n;
    return add_node(g, (es_grammar_node){.kind = kind, .first = first, .n = n});
}

es_node es_grammar_sequence(es_grammar *g, const es_node *nodes, size_t n)
{
    return add_parent(g, ES_NODE_SEQUENCE, nodes, n);
}

es_node es_grammar_choice(es_grammar *g, const es_node *nodes, size_t n)
{
    return add_parent(g, ES_NODE_CHOICE, nodes, n);
}

es_node es_grammar_repeat(es_grammar *g, es_node node, int32_t min, int32_t max)
{
    if (min < 0 || (max >= 0 && max < min))
        return fail(g, ES_ERR_ARGUMENT, "a repetition's bounds make no sense");
    es_node repeat = add_parent(g, ES_NODE_REPEAT, &node, 1);
    if (repeat >= 0) {
        g->nodes[repeat].min = min;
        g->nodes[repeat].max = max;
    }
    return repeat;
}

es_node es_grammar_rule(es_grammar *g)
{
    return add_parent(g, ES_NODE_RULE, NULL, 0);
}

void es_grammar_define(es_grammar *g, es_node rule, es_node node)
{
    es_node wrapped = add_parent(g, ES_NODE_SEQUENCE, &node, 1);
    if (wrapped < 0 || rule < 0 || g->nodes[rule].kind != ES_NODE_RULE || g->nodes[rule].n != 0) {
        fail(g, ES_ERR_INTERNAL, "a grammar rule defined twice, or never declared");
        return;
    }
    g->nodes[rule].first = g->nodes[wrapped].first;
    g->nodes[rule].n = 1;
}

/* One UTF-8 character of `n` bytes: the second from low to high, the others continuation bytes (RFC 3629, 4). */
static es_node wide(es_grammar *g, uint8_t lead_low, uint8_t lead_high, uint8_t low, uint8_t high, int more)
{
    es_node parts[4] = {es_grammar_range(g, lead_low, lead_high), es_grammar_range(g, low, high), -1, -1};
    for (int i = 0; i < more; i++)
        parts[2 + i] = es_grammar_range(g, 0x80, 0xBF);
    return es_grammar_sequence(g, parts, (size_t)(2 + more));
}

es_node es_grammar_char(es_grammar *g, const char *except)
{
    uint8_t ascii[32] = {0};
    for (int b = 0x20; b < 0x7F; b++)
        if (strchr(except, b) == NULL)
            ascii[b / 8] = (uint8_t)(ascii[b / 8] | 1 << (b % 8));
    es_node ways[] = {es_grammar_bytes(g, ascii),         wide(g, 0xC3, 0xDF, 0x80, 0xBF, 0),
                      wide(g, 0xC2, 0xC2, 0xA0, 0xBF, 0), /* U+0080 to U+009F are controls */
                      wide(g, 0xE0, 0xE0, 0xA0, 0xBF, 1), wide(g, 0xE1, 0xEC, 0x80, 0xBF, 1),
                      wide(g, 0xED, 0xED, 0x80, 0x9F, 1), wide(g, 0xEE, 0xEF, 0x80, 0xBF, 1),
                      wide(g, 0xF0, 0xF0, 0x90, 0xBF, 2), wide(g, 0xF1, 0xF3, 0x80, 0xBF, 2),
                      wide(g, 0xF4, 0xF4, 0x80, 0x8F, 2)};
    return es_grammar_choice(g, ways, sizeof ways / sizeof *ways);
}

/* What a node's shortest text is, as far as its children's are known. */
static int32_t shortest(const es_grammar *g, const es_grammar_node *node)
{
    int64_t sum = 0, best = ES_FAR;
    switch (node->kind) {
    case ES_NODE_TEXT:
        return node->n < ES_FAR ? (int32_t)node->n : ES_FAR;
    case ES_NODE_SET:
        return 1;
    case ES_NODE_CHOICE:
        for (size_t i = 0; i < node->n; i++) {
            int32_t one = g->nodes[g->children[node->first + i]].shortest;
            best = one < best ? one : best;
        }
        return (int32_t)best;
    case ES_NODE_REPEAT:
        sum = (int64_t)node->min * g->nodes[g->children[node->first]].shortest;
        break;
    case ES_NODE_SEQUENCE:
    case ES_NODE_RULE:
        for (size_t i = 0; i < node->n; i++)
            sum += g->nodes[g->children[node->first + i]].shortest;
        break;
    }
    return sum < ES_FAR ? (int32_t)sum : ES_FAR;
}

es_status es_grammar_finish(es_grammar *g, es_node root, es_error *err)
{
    if (g->error.status == ES_OK && root < 0)
        fail(g, ES_ERR_INTERNAL, "a grammar without a root");
    for (size_t i = 0; i < g->node_count; i++) {
        g->nodes[i].shortest = ES_FAR;
        if (g->nodes[i].kind == ES_NODE_RULE && g->nodes[i].n == 0)
            fail(g, ES_ERR_INTERNAL, "a grammar rule that was never defined");
    }
    /* Children come before parents but for rules, so a few rounds settle it. */
    for (bool changed = g->error.status == ES_OK; changed;) {
        changed = false;
        for (size_t i = 0; i < g->node_count; i++) {
            int32_t now = shortest(g, &g->nodes[i]);
            changed = changed || now != g->nodes[i].shortest;
            g->nodes[i].shortest = now;
        }
    }
    for (size_t i = 0; g->error.status == ES_OK && i < g->node_count; i++)
        if (g->nodes[i].kind == ES_NODE_REPEAT && g->nodes[g->children[g->nodes[i].first]].shortest == 0)
            fail(g, ES_ERR_ARGUMENT, "a repetition of what may be nothing");
    if (g->error.status == ES_OK && g->nodes[root].shortest >= ES_FAR)
        fail(g, ES_ERR_ARGUMENT, "a grammar that no finite text matches");
    if (g->error.status != ES_OK) {
        if (err != NULL)
            *err = g->error;
        return g->error.status;
    }
    g->root = root;
    g->finished = true;
    return ES_OK;
}
