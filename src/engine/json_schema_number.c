/* json_schema_number.c - numbers within bounds, digit by digit. No exponents; 15 digits at most. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json_schema_internal.h"

#define DIGITS 15              /* that a double keeps apart (DBL_DIG): bounds compared by digits hold for doubles too */
#define MOST 999999999999999LL /* of so many digits */
#define USUAL 999999999.0      /* where a decimal has no bound */
#define DECIMALS 9             /* places after the point at most; fewer where more digits stand before it */
#define MAX_WAYS 96

typedef struct ways {
    es_schema_build *b;
    es_node items[MAX_WAYS];
    size_t n;
} ways;

static void add(ways *w, es_node node)
{
    if (w->n == MAX_WAYS)
        es_schema_fail(w->b, ES_ERR_UNSUPPORTED, "bounds with so many digits are not supported");
    else
        w->items[w->n++] = node;
}

static es_node digits(es_grammar *g, int32_t min, int32_t max)
{
    return es_grammar_repeat(g, es_grammar_range(g, '0', '9'), min, max);
}

/* prefix, then a digit from low to high, then `more` digits of any kind. */
static void add_digits(ways *w, const char *prefix, size_t n, int low, int high, int32_t more)
{
    char text[32] = {0};
    es_grammar *g = w->b->g;
    if (low > high)
        return;
    memcpy(text, prefix, n);
    es_node parts[] = {es_grammar_text(g, text), es_grammar_range(g, (uint8_t)low, (uint8_t)high),
                       digits(g, more, more)};
    add(w, es_grammar_sequence(g, parts, more > 0 ? 3 : 2));
}

/* Numbers of as many digits as both bounds have, between them. */
static void add_same_length(ways *w, const char *low, const char *high)
{
    size_t n = strlen(low), same = 0;
    while (same < n && low[same] == high[same])
        same++;
    if (same == n) {
        add(w, es_grammar_text(w->b->g, low));
        return;
    }
    if (same + 1 == n) {
        add_digits(w, low, same, low[same], high[same], 0);
        return;
    }
    add_digits(w, low, same, low[same] + 1, high[same] - 1, (int32_t)(n - same - 1));
    for (size_t i = same + 1; i < n; i++) {
        bool last = i + 1 == n;
        add_digits(w, low, i, low[i] + !last, '9', (int32_t)(n - i - 1));
        add_digits(w, high, i, '0', high[i] - !last, (int32_t)(n - i - 1));
    }
}

/* The whole numbers from low to high, neither negative. */
static es_node between(es_schema_build *b, int64_t low, int64_t high)
{
    ways w = {.b = b};
    if (low == 0 && high >= 0) {
        add(&w, es_grammar_text(b->g, "0"));
        low = 1;
    }
    while (low <= high) {
        char from[24], to[24];
        int64_t end = 9, power = 1; /* the last number of as many digits as `low`, and the first */
        int32_t more = 0;
        for (; end < low; end = end * 10 + 9, power *= 10)
            more++;
        if (low == power && end <= high) { /* whole lengths at once */
            int32_t least = more;
            for (; end * 10 + 9 <= high; end = end * 10 + 9)
                more++;
            es_node parts[] = {es_grammar_range(b->g, '1', '9'), digits(b->g, least, more)};
            add(&w, es_grammar_sequence(b->g, parts, 2));
        } else {
            end = end < high ? end : high;
            snprintf(from, sizeof from, "%lld", (long long)low);
            snprintf(to, sizeof to, "%lld", (long long)end);
            add_same_length(&w, from, to);
        }
        low = end + 1;
    }
    return es_grammar_choice(b->g, w.items, w.n);
}

/* --- decimals --- */

typedef struct bound {
    double value;
    bool open; /* the value itself does not belong */
} bound;

/* The digits after the point of a number that is not negative, and whether they are all: a double that is the nearest
 * to such a decimal counts as that decimal. */
static bool decimals(double value, int places, char out[DECIMALS + 1])
{
    char text[64];
    snprintf(text, sizeof text, "%.*f", places, value);
    bool exact = strtod(text, NULL) == value;
    if (exact)
        memmove(text, strchr(text, '.') - 1, (size_t)places + 3);
    else
        snprintf(text, sizeof text, "%.17f", value - floor(value));
    memcpy(out, text + 2, (size_t)places);
    out[places] = '\0';
    return exact;
}

/* A digit from low to high after the first `n` digits of `prefix`, then at most `more` of any kind. */
static void add_fraction(ways *w, const char *prefix, size_t n, int low, int high, int32_t more)
{
    char text[DECIMALS + 1] = {0};
    es_grammar *g = w->b->g;
    if (low > high)
        return;
    memcpy(text, prefix, n);
    es_node parts[] = {es_grammar_text(g, text), es_grammar_range(g, (uint8_t)low, (uint8_t)high), digits(g, 0, more)};
    add(w, es_grammar_sequence(g, parts, 3));
}

/* The digits without zeros at their end, but for one. */
static void add_exactly(ways *w, const char *fraction)
{
    char text[DECIMALS + 1] = {0};
    size_t n = strlen(fraction);
    while (n > 1 && fraction[n - 1] == '0')
        n--;
    memcpy(text, fraction, n);
    add(w, es_grammar_text(w->b->g, text));
}

/* Fractions from one to the other, digits after the point. For each place: the digits of a bound before it, one that
 * decides, then any. */
static void add_fractions(ways *w, const char *from, bool from_open, const char *to, bool to_open)
{
    size_t n = strlen(from), same = 0;
    while (same < n && from[same] == to[same])
        same++;
    if (same == n || strcmp(from, to) > 0) {
        if (same == n && !from_open && !to_open)
            add_exactly(w, from);
        return;
    }
    add_fraction(w, from, same, from[same] + 1, to[same] - 1, (int32_t)(n - same - 1));
    for (size_t i = same + 1; i < n; i++) {
        add_fraction(w, from, i, from[i] + 1, '9', (int32_t)(n - i - 1));
        add_fraction(w, to, i, '0', to[i] - 1, (int32_t)(n - i - 1));
    }
    if (!from_open)
        add_exactly(w, from);
    if (!to_open)
        add_exactly(w, to);
}

/* n.fraction, between bounds of which either may be NULL; -1 when there is none. */
static es_node with_fractions(es_schema_build *b, int64_t n, int places, const bound *low, const bound *high)
{
    char from[DECIMALS + 1] = "000000000", to[DECIMALS + 1] = "999999999", text[32];
    bool from_open = false, to_open = false;
    ways w = {.b = b};
    from[places] = to[places] = '\0';
    if (low != NULL)
        from_open = !decimals(low->value, places, from) || low->open;
    if (high != NULL)
        to_open = decimals(high->value, places, to) && high->open;
    add_fractions(&w, from, from_open, to, to_open);
    if (w.n == 0)
        return -1;
    snprintf(text, sizeof text, "%lld.", (long long)n);
    es_node parts[] = {es_grammar_text(b->g, text), es_grammar_choice(b->g, w.items, w.n)};
    return es_grammar_sequence(b->g, parts, 2);
}

static void add_if(ways *w, es_node node)
{
    if (node >= 0)
        add(w, node);
}

/* Those with a point: between whole numbers that both belong, and at the edges. */
static void add_decimals(ways *w, bound low, bound high, int places)
{
    es_schema_build *b = w->b;
    int64_t first = (int64_t)floor(low.value), last = (int64_t)floor(high.value);
    bool edge_low = (double)first != low.value || low.open, edge_high = (double)last != high.value;
    if (first == last) {
        if (edge_high)
            add_if(w, with_fractions(b, first, places, &low, &high));
        return;
    }
    if (edge_low)
        add_if(w, with_fractions(b, first, places, &low, NULL));
    if (edge_high)
        add_if(w, with_fractions(b, last, places, NULL, &high));
    if (first + edge_low <= last - 1) {
        es_node parts[] = {between(b, first + edge_low, last - 1), es_grammar_text(b->g, "."), digits(b->g, 1, places)};
        add(w, es_grammar_sequence(b->g, parts, 3));
    }
}

/* Numbers from low to high, neither negative, with at most so many places after the point. */
static void add_positive(ways *out, const char *sign, bound low, bound high, int places)
{
    es_grammar *g = out->b->g;
    ways w = {.b = out->b};
    int64_t first = (int64_t)ceil(low.value), last = (int64_t)floor(high.value);
    first += low.open && (double)first == low.value;
    last -= high.open && (double)last == high.value;
    if (first <= last)
        add(&w, between(out->b, first, last));
    if (places > 0)
        add_decimals(&w, low, high, places);
    if (w.n == 0)
        return;
    es_node parts[] = {es_grammar_text(g, sign), es_grammar_choice(g, w.items, w.n)};
    add(out, es_grammar_sequence(g, parts, 2));
}

/* Narrows a bound by a keyword; inclusive or not. `side`: 1 for a lower bound. */
static bool read_bound(es_schema_build *b, const json_t *schema, const char *key, const char *open_key, int side,
                       bound *out)
{
    for (int open = 0; open < 2; open++) {
        const json_t *given = json_object_get(schema, open ? open_key : key);
        if (given == NULL || json_is_null(given))
            continue;
        if (!json_is_number(given)) {
            es_schema_fail(b, open ? ES_ERR_UNSUPPORTED : ES_ERR_ARGUMENT, "%s is not a number", open ? open_key : key);
            return false;
        }
        double value = json_number_value(given);
        double gain = (value - out->value) * side;
        if (gain > 0 || (gain == 0 && open))
            *out = (bound){value, open};
    }
    return true;
}

es_node es_schema_number(es_schema_build *b, const json_t *schema, bool whole)
{
    bound low = {-(double)MOST, false}, high = {(double)MOST, false};
    ways w = {.b = b};
    int places = 0;
    if (!read_bound(b, schema, "minimum", "exclusiveMinimum", 1, &low) ||
        !read_bound(b, schema, "maximum", "exclusiveMaximum", -1, &high))
        return -1;
    if (!whole) {
        if (low.value == -(double)MOST && high.value >= -USUAL)
            low.value = -USUAL;
        if (high.value == (double)MOST && low.value <= USUAL)
            high.value = USUAL;
        places = DIGITS;
        for (double most = fmax(fabs(low.value), fabs(high.value)); most >= 1 && places > 0; most /= 10)
            places--;
        places = places < DECIMALS ? places : DECIMALS;
    }
    if (low.value < high.value || (low.value == high.value && !low.open && !high.open)) {
        bound zero = {0, false}, above_zero = {0, true};
        /* Below zero: the same with the bounds exchanged. "-0" and "-0.0" are never written. */
        if (low.value < 0) {
            bound from = high.value < 0 ? (bound){-high.value, high.open} : above_zero;
            add_positive(&w, "-", from, (bound){-low.value, low.open}, places);
        }
        if (high.value >= 0)
            add_positive(&w, "", low.value >= 0 ? low : zero, high, places);
    }
    if (b->error.status != ES_OK)
        return -1;
    if (w.n == 0)
        return es_schema_fail(b, ES_ERR_ARGUMENT, "no number lies between its bounds (15 digits at most)");
    return es_grammar_choice(b->g, w.items, w.n);
}
