#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "model/tokenizer_parts.h"

/* Longer expressions than this are nobody's (the published ones have some 100 bytes). */
#define EXPRESSION_MAX 16384
/* A match that needs more steps than this is tried again with more, which the text's budget pays for: */
#define STEPS_FREE 256U
/* the budget is this, and this much for each byte of text. */
#define STEPS_BASE 4000000U
#define STEPS_PER_BYTE 64U
/* Memory one match may take for backtracking, in KiB. */
#define MATCH_HEAP_KIB 65536U

const char es_gpt2_expression[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static void *pcre_malloc(size_t size, void *data)
{
    (void)data;
    return malloc(size == 0 ? 1 : size);
}

static void pcre_free(void *block, void *data)
{
    (void)data;
    free(block);
}

es_status es_splits_create(es_splits *splits, es_error *err)
{
    *splits = (es_splits){0};
    splits->memory = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
    return splits->memory != NULL ? ES_OK : es_fail_memory(err, "the split expression", 0);
}

void es_splits_free(es_splits *splits)
{
    for (size_t i = 0; i < splits->count; i++)
        pcre2_code_free(splits->codes[i]);
    if (splits->memory != NULL)
        pcre2_general_context_free(splits->memory);
    *splits = (es_splits){0};
}

/* Where the two dialects name different sets of characters, the members as Oniguruma has them: \s is White_Space
 * (PCRE2 adds U+180E), \w is alphabetic characters, marks, decimal digits and connectors (PCRE2: letters, numbers, _).
 */
static const char *members(char escape)
{
    switch (escape) {
    case 's':
    case 'S':
        return "\\t-\\r\\x{85}\\p{Z}";
    case 'w':
    case 'W':
        return "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}";
    default:
        return NULL;
    }
}

/* Copies the escape at text (a backslash), translated; returns how many bytes of it were read. */
static size_t translate_escape(const char *text, size_t n, bool in_class, es_str *out)
{
    size_t length = n < 2 ? n : 2;
    const char *set = n < 2 ? NULL : members(text[1]);
    bool negated = set != NULL && (text[1] == 'S' || text[1] == 'W');
    if (set == NULL || (negated && in_class))
        es_str_append_n(out, text, length);
    else if (in_class)
        es_str_append(out, set);
    else
        es_str_append_format(out, negated ? "[^%s]" : "[%s]", set);
    return length;
}

/* Rewrites Oniguruma's dialect in PCRE2's, as far as split expressions need it. */
static es_status translate(const char *text, size_t n, const char *name, es_str *out, es_error *err)
{
    bool in_class = false;
    for (size_t i = 0; i < n;) {
        if (text[i] == '\\') {
            i += translate_escape(text + i, n - i, in_class, out);
            continue;
        }
        if (in_class && (text[i] == '[' || (text[i] == '&' && i + 1 < n && text[i + 1] == '&')) &&
            !(i + 1 < n && text[i + 1] == ':'))
            return es_fail(err, ES_ERR_UNSUPPORTED, "%s: the split expression uses sets of sets", name);
        size_t from = i;
        if (in_class && text[i] == '[') { /* a named class: [:alpha:] */
            const char *close = memchr(text + i, ']', n - i);
            i = close == NULL ? n : (size_t)(close - text) + 1;
        } else if (!in_class && text[i] == '[') {
            in_class = true;
            i++;
            if (i < n && text[i] == '^')
                i++;
            if (i < n && text[i] == ']')
                i++;
        } else {
            in_class = in_class && text[i] != ']';
            i++;
        }
        es_str_append_n(out, text + from, i - from);
    }
    return es_str_check(out, err);
}

static es_status compile(es_splits *splits, const char *text, size_t n, const char *name, es_error *err)
{
    pcre2_compile_context *context = pcre2_compile_context_create(splits->memory);
    if (context == NULL)
        return es_fail_memory(err, "the split expression", 0);
    int code = 0;
    PCRE2_SIZE offset = 0;
    /* Anchored, because every match is tried at one place at a time: a search would hide how many steps it takes. */
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)text, n, options, &code, &offset, context);
    pcre2_compile_context_free(context);
    if (compiled == NULL && code == PCRE2_ERROR_HEAP_FAILED)
        return es_fail_memory(err, "the split expression", 0);
    if (compiled == NULL) {
        char message[160] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
        return es_fail(err, ES_ERR_FORMAT, "%s: the split expression does not compile: %s (at byte %zu)", name, message,
                       (size_t)offset);
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* where it fails, matching is interpreted */
    splits->codes[splits->count++] = compiled;
    return ES_OK;
}

es_status es_splits_add(es_splits *splits, const char *expression, size_t n, const char *name, es_error *err)
{
    if (splits->count == ES_SPLITS_MAX)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: more than %d split expressions", name, ES_SPLITS_MAX);
    if (n > EXPRESSION_MAX)
        return es_fail(err, ES_ERR_LIMIT, "%s: the split expression has %zu bytes, more than %d", name, n,
                       EXPRESSION_MAX);
    es_str text = {0};
    es_status status = translate(expression, n, name, &text, err);
    if (status == ES_OK)
        status = compile(splits, es_str_text(&text), text.length, name, err);
    es_str_free(&text);
    return status;
}

/* One text being split. */
typedef struct run {
    const es_splits *splits;
    pcre2_match_context *limits;
    pcre2_match_data *match;
    uint64_t budget; /* steps left for matches that need many */
    es_word_fn word;
    void *context;
} run;

/* Tries a match at `at`, with more steps each time they do not suffice, while the budget lasts. Returns PCRE2's code.
 */
static int try_match(run *r, const pcre2_code *code, const char *text, size_t n, size_t at)
{
    uint32_t options = PCRE2_NO_UTF_CHECK;
    for (uint32_t steps = STEPS_FREE;;) {
        pcre2_set_match_limit(r->limits, steps);
        int got = pcre2_match(code, (PCRE2_SPTR)text, n, at, options, r->match, r->limits);
        if (got == PCRE2_ERROR_JIT_STACKLIMIT && options == PCRE2_NO_UTF_CHECK) {
            options |= PCRE2_NO_JIT; /* the interpreter keeps its stack on the heap */
            continue;
        }
        if (got != PCRE2_ERROR_MATCHLIMIT || r->budget == 0)
            return got;
        steps = steps > UINT32_MAX / 8 ? UINT32_MAX : steps * 8;
        if (steps > r->budget)
            steps = (uint32_t)r->budget;
        r->budget -= steps;
    }
}

static es_status match_failed(int code, es_error *err)
{
    char message[160] = "";
    if (code == PCRE2_ERROR_NOMEMORY)
        return es_fail_memory(err, "matching the split expression", 0);
    pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
    return es_fail(err, ES_ERR_LIMIT, "the tokenizer's split expression cannot cope with this text: %s", message);
}

/* The match at `at`: whether there is one, and its span, not empty and not before `at`. */
static es_status match_at(run *r, const pcre2_code *code, const char *text, size_t n, size_t at, bool *found,
                          size_t *start, size_t *end, es_error *err)
{
    int got = try_match(r, code, text, n, at);
    *found = false;
    if (got == PCRE2_ERROR_NOMATCH)
        return ES_OK;
    if (got < 0)
        return match_failed(got, err);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(r->match);
    *start = span[0];
    *end = span[1];
    *found = span[0] >= at && span[1] > span[0] && span[1] <= n;
    return ES_OK;
}

static es_status split(run *r, size_t stage, const char *text, size_t n, es_error *err);

static es_status piece(run *r, size_t stage, const char *text, size_t n, es_error *err)
{
    return n == 0 ? ES_OK : split(r, stage + 1, text, n, err);
}

/* Cuts text at every match of expression `stage`; matches and what lies between them go on to the next one. */
static es_status split(run *r, size_t stage, const char *text, size_t n, es_error *err)
{
    if (stage == r->splits->count)
        return r->word(r->context, text, n, err);
    size_t done = 0;
    for (size_t at = 0; at < n;) {
        bool found;
        size_t start = 0, end = 0;
        ES_TRY(match_at(r, r->splits->codes[stage], text, n, at, &found, &start, &end, err));
        if (!found) {
            size_t length = es_utf8_length(text + at, n - at);
            at += length == 0 ? 1 : length;
            continue;
        }
        ES_TRY(piece(r, stage, text + done, start - done, err));
        ES_TRY(piece(r, stage, text + start, end - start, err));
        at = done = end;
    }
    return piece(r, stage, text + done, n - done, err);
}

es_status es_splits_run(const es_splits *splits, const char *text, size_t n, es_word_fn word, void *context,
                        es_error *err)
{
    run r = {.splits = splits, .word = word, .context = context};
    r.budget = STEPS_BASE + (uint64_t)n * STEPS_PER_BYTE;
    r.limits = pcre2_match_context_create(splits->memory);
    r.match = pcre2_match_data_create(1, splits->memory);
    es_status status = ES_OK;
    if (r.limits == NULL || r.match == NULL)
        status = es_fail_memory(err, "matching the split expression", 0);
    if (status == ES_OK) {
        pcre2_set_heap_limit(r.limits, MATCH_HEAP_KIB);
        status = split(&r, 0, text, n, err);
    }
    pcre2_match_data_free(r.match);
    pcre2_match_context_free(r.limits);
    return status;
}
