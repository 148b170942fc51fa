/* json_schema_pattern.c - regular expressions as grammars over the inside of a JSON string.
 *
 * Known: characters, `.`, classes, \d \w \s and their opposites, escapes, groups, |, * + ? {m,n} (lazy or not, which is
 * the same here), and ^ $ at the ends. Where ECMAScript and Python differ, what both accept is written. Look-around,
 * back references and word boundaries are refused.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "engine/json_schema_internal.h"

#define MAX_RANGES 64 /* in one class */
#define MAX_GROUPS 32 /* one within the other */
#define LAST_CHAR 0x10FFFF

typedef struct range {
    int32_t low, high; /* code points */
} range;

typedef struct class
{
    range ranges[MAX_RANGES];
    size_t n;
} class;

typedef struct pattern {
    es_schema_build *b;
    const char *at;
    int depth;
} pattern;

/* A list of nodes that grows. */
typedef struct nodes {
    es_node *items;
    size_t count, capacity;
} nodes;

static es_node unsupported(pattern *p, const char *what)
{
    return es_schema_fail(p->b, ES_ERR_UNSUPPORTED, "a pattern with %s is not supported", what);
}

static bool push(pattern *p, nodes *list, es_node node)
{
    void *items = list->items;
    if (node < 0)
        return false;
    if (es_grow(&items, &list->capacity, list->count + 1, sizeof node) != 0) {
        es_schema_fail(p->b, ES_ERR_MEMORY, "out of memory for a pattern");
        return false;
    }
    list->items = items;
    list->items[list->count++] = node;
    return true;
}

/* --- classes --- */

static void add_range(pattern *p, class *c, int32_t low, int32_t high)
{
    if (c->n == MAX_RANGES)
        unsupported(p, "so large a class");
    else if (low <= high)
        c->ranges[c->n++] = (range){low, high};
}

static int by_low(const void *a, const void *b)
{
    const range *x = a, *y = b;
    return x->low < y->low ? -1 : x->low > y->low;
}

/* All characters that are not in the class. */
static void complement(pattern *p, class *c)
{
    class out = {.n = 0};
    int32_t next = 0;
    qsort(c->ranges, c->n, sizeof *c->ranges, by_low);
    for (size_t i = 0; i < c->n; i++) {
        add_range(p, &out, next, c->ranges[i].low - 1);
        if (c->ranges[i].high >= next)
            next = c->ranges[i].high + 1;
    }
    add_range(p, &out, next, LAST_CHAR);
    *c = out;
}

/* \d \w \s and their opposites. The opposites are ASCII only: beyond, dialects differ. */
static bool add_shorthand(pattern *p, class *c, char letter)
{
    switch (letter) {
    case 'd':
        add_range(p, c, '0', '9');
        return true;
    case 'D':
        add_range(p, c, 0x20, '0' - 1);
        add_range(p, c, '9' + 1, 0x7E);
        return true;
    case 'w':
        add_range(p, c, '0', '9');
        add_range(p, c, 'A', 'Z');
        add_range(p, c, '_', '_');
        add_range(p, c, 'a', 'z');
        return true;
    case 'W':
        add_range(p, c, 0x20, '0' - 1);
        add_range(p, c, '9' + 1, 'A' - 1);
        add_range(p, c, 'Z' + 1, '_' - 1);
        add_range(p, c, '`', '`');
        add_range(p, c, 'z' + 1, 0x7E);
        return true;
    case 's':
        add_range(p, c, ' ', ' ');
        add_range(p, c, '\t', '\n');
        add_range(p, c, '\f', '\r');
        return true;
    case 'S':
        add_range(p, c, 0x21, 0x7E);
        return true;
    default:
        return false;
    }
}

/* The bytes of [low, high], whose characters have encodings of the same length that differ in whole ranges. */
static es_node encoded(es_grammar *g, int32_t low, int32_t high)
{
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    int n = low < 0x800 ? 2 : low < 0x10000 ? 3 : 4;
    es_node parts[4];
    for (int i = 0; i < n; i++) {
        int shift = 6 * (n - 1 - i);
        int32_t from = low >> shift, to = high >> shift;
        uint8_t mark = i == 0 ? lead[n] : 0x80;
        if (i > 0) {
            from &= 0x3F;
            to &= 0x3F;
        }
        parts[i] = es_grammar_range(g, (uint8_t)(mark | from), (uint8_t)(mark | to));
    }
    return es_grammar_sequence(g, parts, (size_t)n);
}

/* Splits [low, high], beyond ASCII, into ranges that `encoded` can take. */
static bool add_wide(pattern *p, nodes *ways, int32_t low, int32_t high)
{
    static const int32_t breaks[] = {0x7FF, 0xD7FF, 0xDFFF, 0xFFFF};
    for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++)
        if (low <= breaks[i] && breaks[i] < high)
            return add_wide(p, ways, low, breaks[i]) && add_wide(p, ways, breaks[i] + 1, high);
    if (low >= 0xD800 && high <= 0xDFFF) /* halves of pairs are no characters */
        return true;
    for (int i = 1; i < 4; i++) {
        int32_t mask = (1 << (6 * i)) - 1;
        if ((low & ~mask) == (high & ~mask))
            break;
        if ((low & mask) != 0)
            return add_wide(p, ways, low, low | mask) && add_wide(p, ways, (low | mask) + 1, high);
        if ((high & mask) != mask)
            return add_wide(p, ways, low, (high & ~mask) - 1) && add_wide(p, ways, high & ~mask, high);
    }
    return push(p, ways, encoded(p->b->g, low, high));
}

static const char *const escapes[] = {"\"\\\"", "\\\\\\", "\b\\b", "\f\\f", "\n\\n", "\r\\r", "\t\\t"};

/* One character of the class as a JSON string holds it; control characters without a short escape are left out. */
static es_node class_node(pattern *p, const class *c)
{
    nodes ways = {0};
    uint8_t ascii[32] = {0}, seen[32] = {0};
    bool plain = false, ok = p->b->error.status == ES_OK;
    for (size_t i = 0; ok && i < c->n; i++) {
        for (int32_t b = c->ranges[i].low; b <= c->ranges[i].high && b < 0x7F; b++) {
            seen[b / 8] = (uint8_t)(seen[b / 8] | 1 << (b % 8));
            if (b >= 0x20 && b != '"' && b != '\\') {
                ascii[b / 8] = (uint8_t)(ascii[b / 8] | 1 << (b % 8));
                plain = true;
            }
        }
        if (c->ranges[i].high >= 0xA0) /* U+0080 to U+009F are controls */
            ok = add_wide(p, &ways, c->ranges[i].low > 0xA0 ? c->ranges[i].low : 0xA0, c->ranges[i].high);
    }
    if (ok && plain)
        ok = push(p, &ways, es_grammar_bytes(p->b->g, ascii));
    for (size_t i = 0; ok && i < sizeof escapes / sizeof *escapes; i++) {
        int b = escapes[i][0];
        if (seen[b / 8] & (1 << (b % 8)))
            ok = push(p, &ways, es_grammar_text(p->b->g, escapes[i] + 1));
    }
    es_node node = -1;
    if (ok && ways.count == 0)
        es_schema_fail(p->b, ES_ERR_ARGUMENT, "a class of the pattern matches no character that can be written");
    else if (ok)
        node = es_grammar_choice(p->b->g, ways.items, ways.count);
    free(ways.items);
    return node;
}

/* --- reading --- */

/* The character at p->at, decoded. */
static int32_t take_char(pattern *p)
{
    const unsigned char *s = (const unsigned char *)p->at;
    size_t n = es_utf8_length(p->at, strlen(p->at));
    int32_t c = n < 2 ? s[0] : n == 2 ? s[0] & 0x1F : n == 3 ? s[0] & 0x0F : s[0] & 0x07;
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3F);
    p->at += n > 0 ? n : 1;
    return c;
}

static bool take_hex(pattern *p, int digits, int32_t *c)
{
    *c = 0;
    for (int i = 0; i < digits; i++) {
        char d = *p->at;
        int v = d >= '0' && d <= '9' ? d - '0' : (d | 32) >= 'a' && (d | 32) <= 'f' ? (d | 32) - 'a' + 10 : -1;
        if (v < 0) {
            es_schema_fail(p->b, ES_ERR_ARGUMENT, "a pattern's \\x or \\u wants %d hexadecimal digits", digits);
            return false;
        }
        *c = *c * 16 + v;
        p->at++;
    }
    return true;
}

/* What follows a backslash, when it is a single character. */
static bool take_escape(pattern *p, int32_t *c)
{
    static const char letters[] = "tnrfv0", meant[] = "\t\n\r\f\v";
    const char *known = *p->at != '\0' ? strchr(letters, *p->at) : NULL;
    if (known != NULL) {
        *c = meant[known - letters];
        p->at++;
        return true;
    }
    if (*p->at == 'x' || *p->at == 'u') {
        int digits = *p->at == 'x' ? 2 : 4;
        p->at++;
        return take_hex(p, digits, c);
    }
    bool letter = (*p->at | 32) >= 'a' && (*p->at | 32) <= 'z';
    if (*p->at == '\0' || letter || (*p->at >= '1' && *p->at <= '9')) {
        unsupported(p, "this escape (back reference, word boundary, property)");
        return false;
    }
    *c = take_char(p);
    return true;
}

/* A class, after its bracket. */
static es_node take_class(pattern *p)
{
    class c = {.n = 0};
    bool negated = *p->at == '^', first = true;
    p->at += negated;
    for (; *p->at != '\0' && (*p->at != ']' || first); first = false) {
        int32_t low, high;
        if (*p->at == '\\') {
            p->at++;
            if (add_shorthand(p, &c, *p->at)) {
                p->at++;
                continue;
            }
            if (*p->at == 'b') {
                low = '\b';
                p->at++;
            } else if (!take_escape(p, &low)) {
                return -1;
            }
        } else {
            if (*p->at == ']' && first)
                return unsupported(p, "an empty class, or ] unescaped at its beginning");
            low = take_char(p);
        }
        high = low;
        if (p->at[0] == '-' && p->at[1] != ']' && p->at[1] != '\0') {
            p->at++;
            if (*p->at == '\\') {
                p->at++;
                if (!take_escape(p, &high))
                    return -1;
            } else {
                high = take_char(p);
            }
            if (high < low)
                return es_schema_fail(p->b, ES_ERR_ARGUMENT, "a pattern's class has a range that goes backwards");
        }
        add_range(p, &c, low, high);
    }
    if (*p->at != ']')
        return es_schema_fail(p->b, ES_ERR_ARGUMENT, "a pattern's class is not closed");
    p->at++;
    if (negated)
        complement(p, &c);
    return class_node(p, &c);
}

static es_node take_alternatives(pattern *p, bool top);

static es_node take_group(pattern *p)
{
    if (p->at[0] == '?') {
        const char *close = p->at[1] == '<' || p->at[1] == 'P' ? strchr(p->at, '>') : NULL;
        if (p->at[1] == ':')
            p->at += 2;
        else if (close != NULL && p->at[2] != '=' && p->at[2] != '!')
            p->at = close + 1; /* a name */
        else
            return unsupported(p, "look-around");
    }
    if (++p->depth > MAX_GROUPS)
        return unsupported(p, "so many groups in one another");
    es_node node = take_alternatives(p, false);
    p->depth--;
    if (node >= 0 && *p->at != ')')
        return es_schema_fail(p->b, ES_ERR_ARGUMENT, "a pattern's group is not closed");
    p->at++;
    return node;
}

static es_node take_atom(pattern *p)
{
    class c = {.n = 0};
    int32_t one;
    switch (*p->at) {
    case '(':
        p->at++;
        return take_group(p);
    case '[':
        p->at++;
        return take_class(p);
    case '.':
        p->at++;
        add_range(p, &c, 0x20, LAST_CHAR);
        /* No line ends: U+2028 and U+2029 are ones in ECMAScript. */
        c.ranges[0].high = 0x2027;
        add_range(p, &c, 0x202A, LAST_CHAR);
        return class_node(p, &c);
    case '\\':
        p->at++;
        if (add_shorthand(p, &c, *p->at)) {
            p->at++;
            return class_node(p, &c);
        }
        if (!take_escape(p, &one))
            return -1;
        break;
    case '^':
    case '$':
        return unsupported(p, "^ or $ elsewhere than at its ends");
    case '*':
    case '+':
    case '?':
        return es_schema_fail(p->b, ES_ERR_ARGUMENT, "a pattern repeats nothing");
    default:
        one = take_char(p);
    }
    add_range(p, &c, one, one);
    return class_node(p, &c);
}

static bool take_number(const char **at, int32_t *value)
{
    const char *s = *at;
    *value = 0;
    while (*s >= '0' && *s <= '9' && *value < 100000)
        *value = *value * 10 + (*s++ - '0');
    bool any = s != *at;
    *at = s;
    return any;
}

/* How often the atom before may come. */
static es_node take_quantifier(pattern *p, es_node atom)
{
    int32_t min = 1, max = 1;
    const char *s = p->at;
    if (*s == '*' || *s == '+' || *s == '?') {
        min = *s == '+';
        max = *s == '?' ? 1 : -1;
        s++;
    } else if (*s == '{') {
        s++;
        if (!take_number(&s, &min))
            return unsupported(p, "{ unescaped");
        max = min;
        if (*s == ',') {
            s++;
            if (!take_number(&s, &max))
                max = -1;
        }
        if (*s++ != '}' || min > 10000 || max > 10000)
            return unsupported(p, "this {count}");
    } else {
        return atom;
    }
    p->at = *s == '?' ? s + 1 : s;
    if (min == 0 && max == 1) {
        es_node ways[] = {es_grammar_text(p->b->g, ""), atom};
        return es_grammar_choice(p->b->g, ways, 2);
    }
    return es_grammar_repeat(p->b->g, atom, min, max);
}

/* Anything, any number of times. */
static es_node anything(pattern *p)
{
    return es_grammar_repeat(p->b->g, es_schema_char(p->b), 0, -1);
}

/* Up to | or the end. A top one may match within the text, unless it is anchored. */
static es_node take_one(pattern *p, bool top)
{
    nodes parts = {0};
    bool ok = true, ended = false;
    if (top && *p->at == '^')
        p->at++;
    else if (top)
        ok = push(p, &parts, anything(p));
    while (ok && *p->at != '\0' && *p->at != '|' && *p->at != ')') {
        if (top && *p->at == '$' && (p->at[1] == '\0' || p->at[1] == '|')) {
            ended = true;
            p->at++;
            break;
        }
        es_node atom = take_atom(p);
        ok = push(p, &parts, atom < 0 ? atom : take_quantifier(p, atom));
    }
    if (ok && top && !ended)
        ok = push(p, &parts, anything(p));
    es_node node = ok ? es_grammar_sequence(p->b->g, parts.items, parts.count) : -1;
    free(parts.items);
    return node;
}

static es_node take_alternatives(pattern *p, bool top)
{
    nodes ways = {0};
    bool ok = push(p, &ways, take_one(p, top));
    while (ok && *p->at == '|') {
        p->at++;
        ok = push(p, &ways, take_one(p, top));
    }
    es_node node = ok ? es_grammar_choice(p->b->g, ways.items, ways.count) : -1;
    free(ways.items);
    return node;
}

es_node es_schema_pattern(es_schema_build *b, const char *text)
{
    pattern p = {.b = b, .at = text};
    es_node node = take_alternatives(&p, true);
    if (node >= 0 && *p.at != '\0')
        return es_schema_fail(b, ES_ERR_ARGUMENT, "a pattern's group is closed that was not opened");
    return node;
}
