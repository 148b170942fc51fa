/* matcher.c - walking a grammar byte by byte and token by token.
 *
 * A place in the grammar is a stack of frames: in which node, how far, and what comes after it. Stacks share their
 * tails: each frame is kept once and known by number (hash consing), so a stack is the number of its top frame. A state
 * is the set of stacks a text may have come to, each with its top at a byte to be matched; number 0 is the empty stack,
 * the end.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/grammar_internal.h"

#define END 0
#define UNKNOWN (-2)
#define MAX_STATES 16384
#define MAX_TOPS 16384        /* of a state: a grammar that is read in so many ways at once is an attack on our time */
#define MAX_KEPT_TOPS 4000000 /* of all states */
#define MAX_FRAMES 4000000
#define LISTED 16                     /* a mask is listed when fewer tokens than one in so many may come */
#define MAX_DEPTH 512                 /* of expansion without a byte: a rule that begins with itself goes deeper */
#define FAR_AFTER UINT16_MAX          /* a distance that 16 bits do not hold */
#define MASK_BYTES ((size_t)32 << 20) /* of token masks kept; they can be made again */

typedef struct frame {
    es_node node;
    int32_t at;     /* of a text: bytes matched; of a sequence: the next child; of a repeat: times done */
    int32_t parent; /* frame number */
    int32_t cost;   /* fewest bytes from here to the end */
    uint32_t round; /* the state being made when it was last a top */
} frame;

/* The tokens that may come next, and the distance after each. Few are listed, many have a place for each id. */
typedef struct token_mask {
    bool known, listed;
    size_t count;    /* that may come */
    uint16_t most;   /* the largest distance among them */
    int32_t *ids;    /* [count], listed */
    uint16_t *after; /* [count] when listed, else [vocab] with distance + 1, 0 for those that may not come */
} token_mask;

typedef struct state {
    int32_t *tops; /* [n], rising */
    size_t n;
    int32_t distance;
    bool accepts;
    int32_t *next; /* [256] or NULL */
    token_mask mask;
} state;

struct es_matcher {
    const es_grammar *grammar;
    const es_lexicon *lexicon;
    es_hash key;
    frame *frames;
    size_t frame_count, frame_capacity;
    int32_t *frame_table; /* [table_size], -1 empty */
    size_t table_size;
    state *states;
    size_t state_count, state_capacity;
    int32_t *state_table; /* [state_slots], -1 empty: states by their tops */
    size_t state_slots;
    size_t mask_bytes; /* of all states' masks */
    /* [longest + 1] while a mask is made: the state after so many bytes of a token, and its `next` */
    es_match *trail;
    const int32_t **ways;
    int32_t unknown[256]; /* `next` of a state that leads nowhere yet */
    float *kept;          /* [vocab / LISTED] while a listed mask is laid on */
    /* while a state is being made */
    int32_t *tops;
    size_t top_count, top_capacity;
    uint32_t round;   /* of states being made: which frames are among the tops already */
    size_t kept_tops; /* of all states */
    es_error error;
};

/* --- frames --- */

static size_t frame_hash(const es_matcher *m, es_node node, int32_t at, int32_t parent)
{
    const int32_t words[3] = {node, at, parent};
    return (size_t)es_hash_bytes((es_hash){1, 2}, words, sizeof words).a & (m->table_size - 1);
}

static bool grow_table(es_matcher *m)
{
    size_t size = m->table_size == 0 ? 256 : m->table_size * 2;
    int32_t *table = es_calloc(size, sizeof *table);
    if (table == NULL)
        return false;
    memset(table, 0xFF, size * sizeof *table);
    free(m->frame_table);
    m->frame_table = table;
    m->table_size = size;
    for (size_t i = 1; i < m->frame_count; i++) {
        size_t slot = frame_hash(m, m->frames[i].node, m->frames[i].at, m->frames[i].parent);
        while (table[slot] >= 0)
            slot = (slot + 1) & (size - 1);
        table[slot] = (int32_t)i;
    }
    return true;
}

static int32_t cost_of(const es_matcher *m, es_node index, int32_t at, int32_t parent)
{
    const es_grammar *g = m->grammar;
    const es_grammar_node *node = &g->nodes[index];
    int64_t cost = m->frames[parent].cost;
    if (node->kind == ES_NODE_TEXT)
        cost += (int64_t)node->n - at;
    else if (node->kind == ES_NODE_SET)
        cost += 1;
    else if (node->kind == ES_NODE_REPEAT)
        cost += at < node->min ? (int64_t)(node->min - at) * g->nodes[g->children[node->first]].shortest : 0;
    else
        for (size_t i = (size_t)at; i < node->n; i++)
            cost += g->nodes[g->children[node->first + i]].shortest;
    return cost < ES_FAR ? (int32_t)cost : ES_FAR;
}

/* The number of a frame, made if need be; -1 when memory is short. */
static int32_t intern(es_matcher *m, es_node node, int32_t at, int32_t parent)
{
    if (m->frame_count >= MAX_FRAMES) {
        es_fail(&m->error, ES_ERR_LIMIT, "the answer's grammar has more than %d places", MAX_FRAMES);
        return -1;
    }
    if (m->frame_count * 2 >= m->table_size && !grow_table(m)) {
        es_fail_memory(&m->error, "a grammar's states", 0);
        return -1;
    }
    size_t slot = frame_hash(m, node, at, parent);
    for (; m->frame_table[slot] >= 0; slot = (slot + 1) & (m->table_size - 1)) {
        const frame *f = &m->frames[m->frame_table[slot]];
        if (f->node == node && f->at == at && f->parent == parent)
            return m->frame_table[slot];
    }
    void *items = m->frames;
    if (es_grow(&items, &m->frame_capacity, m->frame_count + 1, sizeof(frame)) != 0) {
        es_fail_memory(&m->error, "a grammar's states", 0);
        return -1;
    }
    m->frames = items;
    m->frames[m->frame_count] = (frame){node, at, parent, cost_of(m, node, at, parent), 0};
    m->frame_table[slot] = (int32_t)m->frame_count;
    return (int32_t)m->frame_count++;
}

/* --- expansion: from a place to the bytes that may come next --- */

static void enter(es_matcher *m, es_node node, int32_t parent, int depth);

static void add_top(es_matcher *m, int32_t top)
{
    if (top < 0 || m->frames[top].round == m->round)
        return;
    if (m->top_count >= MAX_TOPS) {
        es_fail(&m->error, ES_ERR_LIMIT, "a text of the answer's grammar can be read in more than %d ways", MAX_TOPS);
        return;
    }
    void *items = m->tops;
    if (es_grow(&items, &m->top_capacity, m->top_count + 1, sizeof *m->tops) != 0) {
        es_fail_memory(&m->error, "a grammar's states", 0);
        return;
    }
    m->tops = items;
    m->frames[top].round = m->round;
    m->tops[m->top_count++] = top;
}

/* What a frame says comes after its child. */
static void leave(es_matcher *m, int32_t at, int depth)
{
    if (at == END) {
        add_top(m, END);
        return;
    }
    const frame f = m->frames[at];
    const es_grammar_node node = m->grammar->nodes[f.node];
    const es_node *children = m->grammar->children + node.first;
    if (node.kind == ES_NODE_REPEAT) {
        if (f.at >= node.min)
            leave(m, f.parent, depth + 1);
        if (node.max >= 0 && f.at >= node.max)
            return;
        /* Past the minimum of an endless repetition the count no longer matters. */
        int32_t count = node.max < 0 && f.at >= node.min ? node.min : f.at + 1;
        int32_t again = intern(m, f.node, count, f.parent);
        if (again >= 0)
            enter(m, children[0], again, depth + 1);
        return;
    }
    if ((size_t)f.at == node.n) {
        leave(m, f.parent, depth + 1);
        return;
    }
    /* After the last child nothing of this node is left: its parent comes next. */
    int32_t after = (size_t)f.at + 1 == node.n ? f.parent : intern(m, f.node, f.at + 1, f.parent);
    if (after >= 0)
        enter(m, children[f.at], after, depth + 1);
}

static void enter(es_matcher *m, es_node index, int32_t parent, int depth)
{
    const es_grammar_node node = m->grammar->nodes[index];
    if (m->error.status != ES_OK)
        return;
    if (depth > MAX_DEPTH) {
        es_fail(&m->error, ES_ERR_ARGUMENT, "a grammar rule that begins with itself");
        return;
    }
    if (node.kind == ES_NODE_SET || (node.kind == ES_NODE_TEXT && node.n > 0)) {
        add_top(m, intern(m, index, 0, parent));
    } else if (node.kind == ES_NODE_CHOICE) {
        for (size_t i = 0; i < node.n; i++)
            enter(m, m->grammar->children[node.first + i], parent, depth + 1);
    } else if (node.kind == ES_NODE_TEXT) {
        leave(m, parent, depth + 1);
    } else {
        int32_t at = intern(m, index, 0, parent);
        if (at >= 0)
            leave(m, at, depth + 1);
    }
}

/* --- states --- */

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

static size_t state_hash(const int32_t *tops, size_t n)
{
    return (size_t)es_hash_bytes((es_hash){3, 4}, tops, n * sizeof *tops).a;
}

static bool grow_state_table(es_matcher *m)
{
    size_t slots = m->state_slots == 0 ? 256 : m->state_slots * 2;
    int32_t *table = es_calloc(slots, sizeof *table);
    if (table == NULL)
        return false;
    memset(table, 0xFF, slots * sizeof *table);
    free(m->state_table);
    m->state_table = table;
    m->state_slots = slots;
    for (size_t i = 0; i < m->state_count; i++) {
        size_t slot = state_hash(m->states[i].tops, m->states[i].n) & (slots - 1);
        while (table[slot] >= 0)
            slot = (slot + 1) & (slots - 1);
        table[slot] = (int32_t)i;
    }
    return true;
}

/* The state of the tops gathered: an old one with the same, or a new one. */
static es_status settle(es_matcher *m, es_match *out, es_error *err)
{
    *out = ES_MATCH_DEAD;
    if (m->error.status != ES_OK) {
        if (err != NULL)
            *err = m->error;
        return m->error.status;
    }
    if (m->top_count == 0)
        return ES_OK;
    qsort(m->tops, m->top_count, sizeof *m->tops, by_number);
    if (m->state_count * 2 >= m->state_slots && !grow_state_table(m))
        return es_fail_memory(err, "a grammar's states", 0);
    size_t slot = state_hash(m->tops, m->top_count) & (m->state_slots - 1);
    for (; m->state_table[slot] >= 0; slot = (slot + 1) & (m->state_slots - 1)) {
        const state *s = &m->states[m->state_table[slot]];
        if (s->n == m->top_count && memcmp(s->tops, m->tops, s->n * sizeof *s->tops) == 0) {
            *out = (es_match)m->state_table[slot];
            return ES_OK;
        }
    }
    if (m->state_count >= MAX_STATES || m->kept_tops + m->top_count > MAX_KEPT_TOPS)
        return es_fail(err, ES_ERR_LIMIT, "the answer's grammar has more than %d states", MAX_STATES);
    void *items = m->states;
    if (es_grow(&items, &m->state_capacity, m->state_count + 1, sizeof(state)) != 0)
        return es_fail_memory(err, "a grammar's states", 0);
    m->states = items;
    state s = {.n = m->top_count, .distance = ES_FAR};
    s.tops = es_calloc(s.n, sizeof *s.tops);
    if (s.tops == NULL)
        return es_fail_memory(err, "a grammar's states", 0);
    memcpy(s.tops, m->tops, s.n * sizeof *s.tops);
    for (size_t i = 0; i < s.n; i++) {
        int32_t cost = m->frames[s.tops[i]].cost;
        s.distance = cost < s.distance ? cost : s.distance;
        s.accepts = s.accepts || s.tops[i] == END;
    }
    m->kept_tops += s.n;
    m->states[m->state_count] = s;
    m->state_table[slot] = (int32_t)m->state_count;
    *out = (es_match)m->state_count++;
    return ES_OK;
}

/* Moves one stack over a byte, if its top allows it. */
static void step_over(es_matcher *m, int32_t top, uint8_t byte)
{
    if (top == END)
        return;
    const frame f = m->frames[top];
    const es_grammar_node *node = &m->grammar->nodes[f.node];
    const uint8_t *bytes = m->grammar->bytes + node->first;
    if (node->kind == ES_NODE_SET) {
        if (bytes[byte / 8] & (1 << (byte % 8)))
            leave(m, f.parent, 0);
    } else if (bytes[f.at] == byte) {
        if ((size_t)f.at + 1 == node->n)
            leave(m, f.parent, 0);
        else
            add_top(m, intern(m, f.node, f.at + 1, f.parent));
    }
}

es_status es_matcher_byte(es_matcher *m, es_match at, uint8_t byte, es_match *next, es_error *err)
{
    *next = ES_MATCH_DEAD;
    if (at < 0)
        return ES_OK;
    if (m->states[at].next == NULL) {
        int32_t *table = es_calloc(256, sizeof *table);
        if (table == NULL)
            return es_fail_memory(err, "a grammar's states", 256 * sizeof *table);
        for (int i = 0; i < 256; i++)
            table[i] = UNKNOWN;
        m->states[at].next = table;
    }
    if (m->states[at].next[byte] != UNKNOWN) {
        *next = m->states[at].next[byte];
        return ES_OK;
    }
    m->top_count = 0;
    m->round++;
    for (size_t i = 0; i < m->states[at].n; i++)
        step_over(m, m->states[at].tops[i], byte);
    ES_TRY(settle(m, next, err));
    m->states[at].next[byte] = *next;
    return ES_OK;
}

/* --- token masks --- */

static void forget_mask(es_matcher *m, state *s)
{
    const token_mask *t = &s->mask;
    if (t->known)
        m->mask_bytes -= t->listed ? t->count * 6 : (size_t)m->lexicon->vocab * 2;
    free(t->ids);
    free(t->after);
    s->mask = (token_mask){0};
}

/* A grammar that counts has a state for each count: its masks must not add up for ever. */
static void forget_masks(es_matcher *m)
{
    for (size_t i = 0; i < m->state_count; i++)
        forget_mask(m, &m->states[i]);
}

/* Walks all tokens that may come after `at`, by the tree of their bytes: what the grammar has no way for is skipped
 * with all below it. Fills after [vocab] with their distances + 1. */
static es_status walk_tokens(es_matcher *m, es_match at, uint16_t *after, token_mask *t, es_error *err)
{
    const es_lexicon *l = m->lexicon;
    const int32_t **ways = m->ways; /* where each state of the trail leads */
    m->trail[0] = at;
    ways[0] = m->states[at].next != NULL ? m->states[at].next : m->unknown;
    for (size_t i = 0; i < l->count;) {
        size_t depth = l->depths[i];
        es_match to = ways[depth - 1][l->bytes[i]];
        if (to == UNKNOWN) {
            ES_TRY(es_matcher_byte(m, m->trail[depth - 1], l->bytes[i], &to, err));
            ways[depth - 1] = m->states[m->trail[depth - 1]].next;
        }
        if (to < 0) {
            i = (size_t)l->skip[i];
            continue;
        }
        m->trail[depth] = to;
        const state *s = &m->states[to];
        ways[depth] = s->next != NULL ? s->next : m->unknown;
        for (int32_t k = l->first[i], end = l->first[++i]; k < end; k++) {
            uint16_t stored = (uint16_t)(s->distance < FAR_AFTER - 1 ? s->distance + 1 : FAR_AFTER);
            after[l->tokens[k]] = stored;
            t->most = stored - 1 > t->most ? (uint16_t)(stored - 1) : t->most;
            t->count++;
        }
    }
    return ES_OK;
}

/* Few tokens in `after`: keeps a list of them in its place. */
static es_status list_tokens(const es_matcher *m, token_mask *t, es_error *err)
{
    int32_t *ids = es_calloc(t->count, sizeof *ids);
    uint16_t *distances = es_calloc(t->count, sizeof *distances);
    size_t n = 0;
    if (ids == NULL || distances == NULL) {
        free(ids);
        free(distances);
        return es_fail_memory(err, "a token mask", t->count * 6);
    }
    for (int32_t id = 0; id < m->lexicon->vocab; id++) {
        if (t->after[id] == 0)
            continue;
        ids[n] = id;
        distances[n++] = (uint16_t)(t->after[id] - 1);
    }
    free(t->after);
    t->after = distances;
    t->ids = ids;
    t->listed = true;
    return ES_OK;
}

static es_status find_tokens(es_matcher *m, es_match at, es_error *err)
{
    size_t vocab = (size_t)m->lexicon->vocab;
    token_mask t = {.after = es_calloc(vocab, sizeof *t.after)};
    if (t.after == NULL)
        return es_fail_memory(err, "a token mask", vocab * sizeof *t.after);
    es_status status = walk_tokens(m, at, t.after, &t, err);
    if (status == ES_OK && t.count < vocab / LISTED)
        status = list_tokens(m, &t, err);
    if (status != ES_OK) {
        free(t.after);
        return status;
    }
    size_t bytes = t.listed ? t.count * 6 : vocab * 2;
    if (m->mask_bytes + bytes > MASK_BYTES)
        forget_masks(m);
    t.known = true;
    m->mask_bytes += bytes;
    m->states[at].mask = t;
    return ES_OK;
}

/* Lays a list of tokens on the logits: all others are not to come. */
static bool lay_list(es_matcher *m, const token_mask *t, int32_t most, float *logits)
{
    bool any = false;
    for (size_t i = 0; i < t->count; i++)
        m->kept[i] = logits[t->ids[i]];
    for (int32_t i = 0; i < m->lexicon->vocab; i++)
        logits[i] = -INFINITY;
    for (size_t i = 0; i < t->count; i++) {
        if (t->after[i] > most)
            continue;
        logits[t->ids[i]] = m->kept[i];
        any = true;
    }
    return any;
}

/* --- life and use --- */

es_status es_matcher_create(es_matcher **matcher, const es_grammar *grammar, const es_lexicon *lexicon, es_error *err)
{
    es_matcher *m = es_calloc(1, sizeof *m);
    *matcher = NULL;
    if (m == NULL)
        return es_fail_memory(err, "a grammar's states", sizeof *m);
    m->grammar = grammar;
    m->lexicon = lexicon;
    m->key = es_hash_key();
    for (int i = 0; i < 256; i++)
        m->unknown[i] = UNKNOWN;
    m->trail = es_calloc(lexicon->longest + 1, sizeof *m->trail);
    m->ways = es_calloc(lexicon->longest + 1, sizeof *m->ways);
    m->kept = es_calloc((size_t)lexicon->vocab / LISTED + 1, sizeof *m->kept);
    es_match start = ES_MATCH_DEAD;
    es_status status =
        m->trail != NULL && m->ways != NULL && m->kept != NULL ? ES_OK : es_fail_memory(err, "a grammar's states", 0);
    void *items = NULL;
    if (status == ES_OK && es_grow(&items, &m->frame_capacity, 1, sizeof(frame)) != 0)
        status = es_fail_memory(err, "a grammar's states", 0);
    if (status == ES_OK) {
        m->frames = items;
        m->frames[m->frame_count++] = (frame){-1, 0, -1, 0, 0}; /* END */
        m->round = 1;
        enter(m, grammar->root, END, 0);
        status = settle(m, &start, err); /* state 0 */
    }
    if (status != ES_OK) {
        es_matcher_free(m);
        return status;
    }
    *matcher = m;
    return ES_OK;
}

void es_matcher_free(es_matcher *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->state_count; i++) {
        free(m->states[i].tops);
        free(m->states[i].next);
        forget_mask(m, &m->states[i]);
    }
    free(m->states);
    free(m->frames);
    free(m->frame_table);
    free(m->state_table);
    free(m->trail);
    free(m->ways);
    free(m->kept);
    free(m->tops);
    free(m);
}

es_hash es_matcher_key(const es_matcher *m)
{
    return m->key;
}

bool es_matcher_is_worn(const es_matcher *m)
{
    return m->state_count > MAX_STATES / 2 || m->kept_tops > MAX_KEPT_TOPS / 2 || m->frame_count > MAX_FRAMES / 2;
}

es_match es_matcher_start(const es_matcher *m)
{
    (void)m;
    return 0;
}

bool es_matcher_accepts(const es_matcher *m, es_match at)
{
    return at >= 0 && m->states[at].accepts;
}

bool es_matcher_is_end(const es_matcher *m, es_match at)
{
    return es_matcher_accepts(m, at) && m->states[at].n == 1;
}

int32_t es_matcher_distance(const es_matcher *m, es_match at)
{
    return at >= 0 ? m->states[at].distance : ES_FAR;
}

es_status es_matcher_token(es_matcher *m, es_match at, int32_t id, es_match *next, es_error *err)
{
    size_t n = 0;
    const char *bytes = es_tokenizer_bytes(m->lexicon->tokenizer, id, &n);
    *next = at;
    if (bytes == NULL || n == 0 || es_tokenizer_is_special(m->lexicon->tokenizer, id))
        *next = ES_MATCH_DEAD;
    for (size_t i = 0; i < n && *next >= 0; i++)
        ES_TRY(es_matcher_byte(m, *next, (uint8_t)bytes[i], next, err));
    return ES_OK;
}

es_status es_matcher_mask(es_matcher *m, es_match at, int32_t left, float *logits, bool *any, es_error *err)
{
    static const token_mask none = {.listed = true};
    *any = false;
    if (at >= 0 && !m->states[at].mask.known)
        ES_TRY(find_tokens(m, at, err));
    const token_mask *t = at >= 0 && left >= 0 ? &m->states[at].mask : &none;
    int32_t most = left < t->most ? left : t->most;
    if (t->listed) {
        *any = lay_list(m, t, most, logits);
        return ES_OK;
    }
    /* A step for each token, without a branch: the compiler makes vectors of it. 0 becomes the largest of all. */
    const uint16_t *after = t->after;
    int32_t allowed = 0;
    for (int32_t i = 0; i < m->lexicon->vocab; i++) {
        bool may = (uint16_t)(after[i] - 1) <= (uint16_t)most;
        logits[i] = may ? logits[i] : -INFINITY;
        allowed += may;
    }
    *any = allowed > 0;
    return ES_OK;
}

/* The only byte that may come next, or -1. */
static es_status only_byte(es_matcher *m, es_match at, int *only, es_match *next, es_error *err)
{
    *only = -1;
    if (at < 0 || m->states[at].accepts)
        return ES_OK;
    for (int b = 0; b < 256; b++) {
        es_match to;
        ES_TRY(es_matcher_byte(m, at, (uint8_t)b, &to, err));
        if (to < 0)
            continue;
        if (*only >= 0) {
            *only = -1;
            return ES_OK;
        }
        *only = b;
        *next = to;
    }
    return ES_OK;
}

es_status es_matcher_forced(es_matcher *m, es_match at, es_str *bytes, es_error *err)
{
    for (;;) {
        int only;
        ES_TRY(only_byte(m, at, &only, &at, err));
        if (only < 0)
            return es_str_check(bytes, err);
        char byte = (char)only;
        es_str_append_n(bytes, &byte, 1);
    }
}
