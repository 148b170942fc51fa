/* JSON schemas as grammars: what they write validates, what they cannot hold they refuse. Ten thousand answers are
 * walked at random over random schemas, always the same ones, and each is checked by a small validator of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fuzz/fuzz_json_schema.c"
#include "../fuzz/replay.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/json_schema.h"
#include "fixture.h"

#define SCHEMAS 1000
#define ANSWERS 10 /* of each */

static es_tokenizer *tokenizer;
static es_lexicon *lexicon; /* of nothing: bytes are walked here */

static int set_up(void **state)
{
    (void)state;
    char path[4096], *text;
    size_t size;
    es_error err;
    snprintf(path, sizeof path, "%s/tests/vectors/tokenizer/qwen.json", getenv("ESCRIBA_SOURCE_ROOT"));
    if (es_file_read(path, 1 << 26, &text, &size, &err) != ES_OK ||
        es_tokenizer_parse(&tokenizer, text, size, path, &err) != ES_OK ||
        es_lexicon_create(&lexicon, tokenizer, 1, &err) != ES_OK)
        fail_msg("%s", err.message);
    free(text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    es_lexicon_free(lexicon);
    es_tokenizer_free(tokenizer);
    return 0;
}

/* --- chance, always the same --- */

static uint64_t chance = 1;

static uint32_t below(uint32_t n)
{
    chance = chance * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
    return (uint32_t)((chance >> 33) % n);
}

/* --- a validator: only what the generator below uses, written without a look at the grammar --- */

static const json_t *root_schema;

static bool valid(const json_t *v, const json_t *s);

static bool matches(const char *pattern, const char *text)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX, &code, &at, NULL);
    assert_non_null(re);
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(re, NULL);
    int found = pcre2_match(re, (PCRE2_SPTR)text, strlen(text), 0, 0, data, NULL);
    pcre2_match_data_free(data);
    pcre2_code_free(re);
    return found >= 0;
}

static size_t characters(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static bool is_type(const json_t *v, const char *name)
{
    if (strcmp(name, "integer") == 0)
        return json_is_integer(v);
    if (strcmp(name, "number") == 0)
        return json_is_number(v);
    if (strcmp(name, "string") == 0)
        return json_is_string(v);
    if (strcmp(name, "boolean") == 0)
        return json_is_boolean(v);
    if (strcmp(name, "null") == 0)
        return json_is_null(v);
    return strcmp(name, "array") == 0 ? json_is_array(v) : json_is_object(v);
}

static bool number_fits(const json_t *v, const json_t *s)
{
    static const char *const keys[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"};
    double x = json_number_value(v);
    for (int i = 0; i < 4; i++) {
        const json_t *bound = json_object_get(s, keys[i]);
        double b = json_number_value(bound);
        if (bound != NULL && !(i == 0 ? x >= b : i == 1 ? x <= b : i == 2 ? x > b : x < b))
            return false;
    }
    return true;
}

static bool count_fits(size_t n, const json_t *s, const char *min, const char *max)
{
    const json_t *low = json_object_get(s, min), *high = json_object_get(s, max);
    return (low == NULL || (json_int_t)n >= json_integer_value(low)) &&
           (high == NULL || (json_int_t)n <= json_integer_value(high));
}

static bool array_fits(const json_t *v, const json_t *s)
{
    const json_t *first = json_object_get(s, "prefixItems"), *rest = json_object_get(s, "items");
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *one = i < json_array_size(first) ? json_array_get(first, i) : rest;
        if (one != NULL && !valid(json_array_get(v, i), one))
            return false;
    }
    return count_fits(json_array_size(v), s, "minItems", "maxItems");
}

static bool object_fits(const json_t *v, const json_t *s)
{
    const json_t *required = json_object_get(s, "required"), *more = json_object_get(s, "additionalProperties");
    const char *name;
    json_t *one;
    for (size_t i = 0; i < json_array_size(required); i++)
        if (json_object_get(v, json_string_value(json_array_get(required, i))) == NULL)
            return false;
    json_object_foreach((json_t *)v, name, one)
    {
        const json_t *known = json_object_get(json_object_get(s, "properties"), name);
        const json_t *of = known != NULL ? known : more;
        if (of != NULL && !valid(one, of))
            return false;
    }
    return true;
}

static int ways_that_fit(const json_t *v, const json_t *list)
{
    int n = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        n += valid(v, json_array_get(list, i));
    return n;
}

static bool valid(const json_t *v, const json_t *s)
{
    if (json_is_boolean(s))
        return json_is_true(s);
    const char *ref = json_string_value(json_object_get(s, "$ref"));
    if (ref != NULL)
        return valid(v, json_object_get(json_object_get(root_schema, "$defs"), strrchr(ref, '/') + 1));
    const json_t *type = json_object_get(s, "type"), *list = json_object_get(s, "enum");
    bool ok = type == NULL || (json_is_string(type) && is_type(v, json_string_value(type)));
    for (size_t i = 0; i < json_array_size(type); i++)
        ok = ok || is_type(v, json_string_value(json_array_get(type, i)));
    bool listed = list == NULL;
    for (size_t i = 0; i < json_array_size(list); i++)
        listed = listed || json_equal(v, json_array_get(list, i));
    const json_t *fixed = json_object_get(s, "const");
    ok = ok && listed && (fixed == NULL || json_equal(v, fixed));
    if (json_object_get(s, "anyOf") != NULL)
        ok = ok && ways_that_fit(v, json_object_get(s, "anyOf")) > 0;
    if (json_object_get(s, "oneOf") != NULL)
        ok = ok && ways_that_fit(v, json_object_get(s, "oneOf")) == 1;
    if (json_is_number(v))
        ok = ok && number_fits(v, s);
    const char *pattern = json_string_value(json_object_get(s, "pattern"));
    if (json_is_string(v))
        ok = ok && count_fits(characters(json_string_value(v)), s, "minLength", "maxLength") &&
             (pattern == NULL || matches(pattern, json_string_value(v)));
    if (json_is_array(v))
        ok = ok && array_fits(v, s);
    return ok && (!json_is_object(v) || object_fits(v, s));
}

/* --- random schemas --- */

static const char *const patterns[] = {"^[a-z]+$",
                                       "^\\d{3}-\\d{4}$",
                                       "^(foo|ba[rz])*!?$",
                                       "error",
                                       "^v[0-9]+(\\.[0-9]+){0,2}$",
                                       "^[^\"\\\\,]{2,5}$",
                                       "^[A-Z][a-z]*( [A-Z][a-z]*)?$",
                                       "\\.(c|h)$",
                                       "^\\s*\\w+\\s*$",
                                       "^[\\u00e0-\\u04ff]{1,3}$",
                                       "^$",
                                       "^.{0,4}$",
                                       "a|^b$|c$",
                                       "^[\\]\\-x]+$",
                                       "^(?:\\S{1,3};){1,3}$"};

static double random_bound(void)
{
    double whole = (double)below(2001) - 1000;
    switch (below(4)) {
    case 0:
        return whole;
    case 1:
        return whole / 10;
    case 2:
        return whole / 8192;
    default:
        return whole * 98765.4321;
    }
}

static json_t *random_number(bool whole)
{
    json_t *s = json_pack("{s:s}", "type", whole ? "integer" : "number");
    double a = random_bound(), b = random_bound();
    if (whole) {
        a = floor(a);
        b = floor(b);
    }
    if (a > b) {
        double swap = a;
        a = b;
        b = swap;
    }
    b += whole ? 2 : 0.25;
    if (below(3))
        json_object_set_new(s, below(2) ? "minimum" : "exclusiveMinimum",
                            whole ? json_integer((json_int_t)a) : json_real(a));
    if (below(3))
        json_object_set_new(s, below(2) ? "maximum" : "exclusiveMaximum",
                            whole ? json_integer((json_int_t)b) : json_real(b));
    return s;
}

static json_t *random_string(void)
{
    json_t *s = json_pack("{s:s}", "type", "string");
    json_int_t min = below(6);
    if (below(3) == 0)
        json_object_set_new(s, "pattern", json_string(patterns[below(sizeof patterns / sizeof *patterns)]));
    else if (below(2))
        json_object_set_new(s, "minLength", json_integer(min));
    if (json_object_get(s, "pattern") == NULL && below(2))
        json_object_set_new(s, "maxLength", json_integer(min + below(5)));
    return s;
}

static json_t *random_schema(int depth);

static json_t *random_object(int depth)
{
    static const char *const names[] = {"a", "b \"quoted\"", "c\\d", "\xC3\xA9t\xC3\xA9", "e", "f"};
    json_t *properties = json_object(), *required = json_array();
    uint32_t n = below(7);
    for (uint32_t i = 0; i < n && i < 6; i++) {
        json_object_set_new(properties, names[i], random_schema(depth + 1));
        if (below(2))
            json_array_append_new(required, json_string(names[i]));
    }
    if (below(8) == 0)
        json_array_append_new(required, json_string("not described"));
    json_t *s = json_pack("{s:s, s:o, s:o}", "type", "object", "properties", properties, "required", required);
    if (n == 0 || below(4) == 0)
        json_object_set_new(s, "additionalProperties", random_schema(depth + 1));
    else if (below(2) && json_array_size(required) <= n)
        json_object_set_new(s, "additionalProperties", json_true());
    return s;
}

static json_t *random_array(int depth)
{
    json_t *s = json_pack("{s:s}", "type", "array");
    json_int_t min = below(4);
    if (below(4))
        json_object_set_new(s, "items", random_schema(depth + 1));
    if (below(4) == 0)
        json_object_set_new(s, "prefixItems", json_pack("[o, o]", random_schema(depth + 1), random_schema(depth + 1)));
    if (below(2))
        json_object_set_new(s, "minItems", json_integer(min));
    if (below(2))
        json_object_set_new(s, "maxItems", json_integer(min + below(4)));
    return s;
}

static json_t *random_schema(int depth)
{
    switch (below(depth > 3 ? 8 : 12)) {
    case 0:
        return random_number(true);
    case 1:
        return random_number(false);
    case 2:
    case 3:
        return random_string();
    case 4:
        return json_pack("{s:[s, i, n, b, {s:[f, i]}]}", "enum", "one", 2, true, "x", 1.5, 3);
    case 5:
        return json_pack("{s:{s:s}}", "const", "k", "v\n\"\\");
    case 6:
        return json_pack("{s:[s, s, s]}", "type", "boolean", "null", "integer");
    case 7:
        return depth > 0 ? json_pack("{s:s}", "$ref", "#/$defs/node") : json_true();
    case 8:
        return json_pack("{s:[o, o]}", "anyOf", random_schema(depth + 1), random_schema(depth + 1));
    case 9:
        return json_pack("{s:[{s:s, s:{s:{s:s}, s:o}, s:[s, s]}, {s:s, s:{s:{s:[s, s]}}, s:[s]}]}", "oneOf", "type",
                         "object", "properties", "kind", "const", "p", "x", random_schema(depth + 1), "required",
                         "kind", "x", "type", "object", "properties", "kind", "enum", "q", "r", "required", "kind");
    case 10:
        return random_array(depth);
    default:
        return random_object(depth);
    }
}

/* With a definition that contains itself. */
static json_t *random_root(void)
{
    json_t *s = random_object(0);
    json_object_set_new(s, "$defs",
                        json_pack("{s:{s:s, s:{s:o, s:{s:[{s:s}, {s:s}]}}, s:[s, s]}}", "node", "type", "object",
                                  "properties", "v", random_number(false), "next", "anyOf", "$ref", "#/$defs/node",
                                  "type", "null", "required", "v", "next"));
    return s;
}

/* --- random answers --- */

/* The next state: at random while there is time, then by the shortest way to the end. */
static es_match wander(es_matcher *m, es_match at, bool hurry, es_str *text)
{
    es_error err;
    es_match next = ES_MATCH_DEAD, best = ES_MATCH_DEAD;
    int chosen = -1;
    for (int i = 0; i < 12 && !hurry; i++) {
        char byte = (char)(0x20 + below(0x5F));
        assert_int_equal(es_matcher_byte(m, at, (uint8_t)byte, &next, &err), ES_OK);
        if (next >= 0) {
            es_str_append_n(text, &byte, 1);
            return next;
        }
    }
    int start = (int)below(256);
    for (int i = 0; i < 256; i++) {
        int byte = (start + i) & 255;
        assert_int_equal(es_matcher_byte(m, at, (uint8_t)byte, &next, &err), ES_OK);
        if (next >= 0 && (best < 0 || es_matcher_distance(m, next) < es_matcher_distance(m, best))) {
            best = next;
            chosen = byte;
            if (!hurry)
                break;
        }
    }
    if (best >= 0) {
        char byte = (char)chosen;
        es_str_append_n(text, &byte, 1);
    }
    return best;
}

static void answer(es_matcher *m, es_str *text)
{
    es_match at = es_matcher_start(m);
    es_str_clear(text);
    for (size_t n = 0; !es_matcher_is_end(m, at); n++) {
        if (es_matcher_accepts(m, at) && (n > 120 || below(3) == 0))
            return;
        at = wander(m, at, n > 120, text);
        assert_true(at >= 0);
        assert_true(n < 5000);
    }
}

static void ten_thousand_random_answers_validate(void **state)
{
    (void)state;
    es_str text = {0};
    size_t longest = 0;
    for (int i = 0; i < SCHEMAS; i++) {
        es_grammar *g;
        es_matcher *m;
        es_error err;
        json_t *schema = random_root();
        char *shown = json_dumps(schema, 0);
        assert_non_null(schema);
        root_schema = schema;
        if (es_json_schema_grammar(&g, schema, &err) != ES_OK)
            fail_msg("%s\n%s", err.message, shown);
        if (es_matcher_create(&m, g, lexicon, &err) != ES_OK)
            fail_msg("%s\n%s", err.message, shown);
        for (int k = 0; k < ANSWERS; k++) {
            answer(m, &text);
            json_t *v = json_loads(es_str_text(&text), JSON_DECODE_ANY, NULL);
            if (v == NULL || !valid(v, schema))
                fail_msg("schema %d\n%s\nwrote\n%s", i, shown, es_str_text(&text));
            longest = text.length > longest ? text.length : longest;
            json_decref(v);
        }
        free(shown);
        json_decref(schema);
        es_matcher_free(m);
        es_grammar_free(g);
    }
    es_str_free(&text);
    assert_true(longest > 200);
}

/* --- the same through a model: random weights, drawn at random --- */

#define PAIRS 1000 /* of schema and seed; ESCRIBA_PAIRS changes it */
#define AT_ONCE 8

typedef struct pair {
    json_t *schema;
    es_grammar *g;
    es_matcher *m;
    int32_t budget;
    bool finished, cut;
} pair;

static void check_pair(void *context, const es_answer *answer)
{
    pair *p = context;
    p->finished = true;
    p->cut = answer->truncated;
    char *shown = json_dumps(p->schema, 0);
    if (answer->status != ES_OK)
        fail_msg("%s\n%s", answer->error.message, shown);
    if ((int32_t)answer->id_count > p->budget)
        fail_msg("%zu tokens of %d", answer->id_count, p->budget);
    /* What could be ended within the budget is; only what could not be is cut, and says so. */
    if (p->cut && es_matcher_distance(p->m, es_matcher_start(p->m)) <= p->budget)
        fail_msg("cut at %d tokens\n%s\nwrote\n%s", p->budget, shown, answer->text);
    root_schema = p->schema;
    json_t *v = p->cut ? NULL : json_loads(answer->text, JSON_DECODE_ANY, NULL);
    if (!p->cut && (v == NULL || !valid(v, p->schema)))
        fail_msg("%s\nwrote\n%s", shown, answer->text);
    json_decref(v);
    free(shown);
}

static void ask_pair(es_engine *e, const es_lexicon *words, const fixture_prompt *prompt, uint64_t seed, pair *p)
{
    es_error err;
    *p = (pair){.schema = random_root(), .budget = (int32_t)(below(8) == 0 ? 1 + below(20) : 20 + below(180))};
    if (es_json_schema_grammar(&p->g, p->schema, &err) != ES_OK || es_matcher_create(&p->m, p->g, words, &err) != ES_OK)
        fail_msg("%s", err.message);
    es_request request = {.prompt = {prompt->messages, prompt->message_count, prompt->pictures, prompt->picture_count},
                          .generation = {.max_tokens = p->budget, .matcher = p->m},
                          .context = p,
                          .finished = check_pair};
    es_sampling_init(&request.generation.sampling);
    request.generation.sampling.temperature = 1.0f;
    request.generation.sampling.seed = seed;
    if (es_engine_add(e, &request, NULL, &err) != ES_OK)
        fail_msg("%s", err.message);
}

static void answers_of_a_model_validate_for_all_schemas_and_seeds(void **state)
{
    (void)state;
    static fixture f;
    static fixture_prompt prompt;
    es_error err;
    es_engine *e;
    es_lexicon *words;
    const char *wanted = getenv("ESCRIBA_PAIRS");
    int pairs = wanted != NULL ? atoi(wanted) : PAIRS, cut = 0;
    fixture_open(&f, "sharded-bf16", es_cpu_best_isa());
    fixture_prompt_get(&prompt, &f, 0);
    es_engine_options options = {.batch = AT_ONCE};
    assert_int_equal(es_engine_create(&e, f.model, &options, &err), ES_OK);
    assert_int_equal(es_lexicon_create(&words, f.model->tokenizer, f.model->config.text.vocab, &err), ES_OK);
    for (int i = 0; i < pairs; i += AT_ONCE) {
        pair now[AT_ONCE];
        bool idle = false;
        for (int k = 0; k < AT_ONCE; k++)
            ask_pair(e, words, &prompt, (uint64_t)(i + k), &now[k]);
        while (!idle)
            assert_int_equal(es_engine_step(e, NULL, &idle, &err), ES_OK);
        for (int k = 0; k < AT_ONCE; k++) {
            assert_true(now[k].finished);
            cut += now[k].cut;
            es_matcher_free(now[k].m);
            es_grammar_free(now[k].g);
            json_decref(now[k].schema);
        }
    }
    print_message("%d pairs, %d cut and said so\n", pairs, cut);
    assert_true(cut > 0 && cut < pairs / 2);
    es_lexicon_free(words);
    es_engine_free(e);
    fixture_close(&f);
}

/* --- particular schemas --- */

static es_status build(const char *text, es_grammar **g, es_error *err)
{
    json_error_t where;
    json_t *schema = json_loads(text, JSON_DECODE_ANY, &where);
    if (schema == NULL)
        fail_msg("%s: %s", text, where.text);
    es_status status = es_json_schema_grammar(g, schema, err);
    json_decref(schema);
    return status;
}

static bool takes(const char *schema, const char *text)
{
    es_grammar *g;
    es_matcher *m;
    es_error err;
    if (build(schema, &g, &err) != ES_OK || es_matcher_create(&m, g, lexicon, &err) != ES_OK)
        fail_msg("%s: %s", schema, err.message);
    es_match at = es_matcher_start(m);
    for (; *text != '\0' && at >= 0; text++)
        assert_int_equal(es_matcher_byte(m, at, (uint8_t)*text, &at, &err), ES_OK);
    bool accepted = es_matcher_accepts(m, at);
    es_matcher_free(m);
    es_grammar_free(g);
    return accepted;
}

static void what_a_schema_allows_can_be_written(void **state)
{
    (void)state;
    const char *person = "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
                         "\"integer\",\"minimum\":0,\"maximum\":150},\"tags\":{\"type\":\"array\",\"items\":{\"enum\":["
                         "\"a\",\"b\"]},\"maxItems\":2}},\"required\":[\"name\"]}";
    assert_true(takes(person, "{\"name\": \"Ada \\\"L\\\" \xC3\xA9\", \"age\": 36, \"tags\": [\"a\", \"b\"]}"));
    assert_true(takes(person, "{\"name\": \"\", \"tags\": []}"));
    assert_true(takes(person, "{\"name\": \"x\"}"));
    assert_false(takes(person, "{\"age\": 36}"));
    assert_false(takes(person, "{\"name\": \"x\", \"age\": 151}"));
    assert_false(takes(person, "{\"name\": \"x\", \"age\": 036}"));
    assert_false(takes(person, "{\"name\": \"x\", \"tags\": [\"c\"]}"));
    assert_false(takes(person, "{\"name\": \"x\", \"tags\": [\"a\", \"a\", \"a\"]}"));
    assert_false(takes(person, "{\"name\": \"a\nb\"}"));
    assert_true(takes("{}", "{\"any\": [1, {\"deep\": null}, -2.5, \"x\"]}"));
    assert_true(takes("{\"type\":\"number\"}", "-12345.678"));
    assert_true(takes("{\"type\":\"number\",\"minimum\":0.25,\"maximum\":1}", "0.25"));
    assert_true(takes("{\"type\":\"number\",\"minimum\":0.25,\"maximum\":1}", "0.3"));
    assert_true(takes("{\"type\":\"number\",\"minimum\":0.25,\"maximum\":1}", "1"));
    assert_false(takes("{\"type\":\"number\",\"minimum\":0.25,\"maximum\":1}", "0.2"));
    assert_false(takes("{\"type\":\"number\",\"exclusiveMinimum\":0.3}", "0.3"));
    assert_false(takes("{\"type\":\"number\",\"exclusiveMaximum\":0.1,\"minimum\":0}", "0.100000000"));
    assert_true(takes("{\"type\":\"string\",\"format\":\"date\"}", "\"2026-11-30\""));
    assert_false(takes("{\"type\":\"string\",\"format\":\"date\"}", "\"2026-11-31\""));
    assert_true(takes("{\"allOf\":[{\"$ref\":\"#/definitions/n\"}],\"definitions\":{\"n\":{\"const\":1}}}", "1"));
}

/* Every whole number near the ends of a range, in or out. */
static void whole_ranges_are_exact(void **state)
{
    (void)state;
    static const int ends[][2] = {{0, 0}, {-1, 1}, {7, 12}, {-105, -98}, {99, 1001}, {-10, 10}, {1, 100}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char schema[120], text[24];
        snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"minimum\":%d,\"maximum\":%d}", ends[i][0], ends[i][1]);
        for (int n = ends[i][0] - 15; n <= ends[i][1] + 15; n++) {
            snprintf(text, sizeof text, "%d", n);
            assert_int_equal(takes(schema, text), n >= ends[i][0] && n <= ends[i][1]);
        }
    }
}

static void what_cannot_be_held_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *says;
    } cases[] = {
        {"{\"type\":\"object\",\"patternProperties\":{}}", "patternProperties is not supported"},
        {"{\"not\":{}}", "not is not supported"},
        {"{\"type\":\"number\",\"multipleOf\":0.5}", "multipleOf is not supported"},
        {"{\"type\":\"array\",\"uniqueItems\":true}", "uniqueItems is not supported"},
        {"{\"oneOf\":[{\"type\":\"string\"},{\"enum\":[\"a\"]}]}", "oneOf is supported where"},
        {"{\"$ref\":\"#/nowhere\"}", "points to nothing"},
        {"{\"$ref\":\"http://elsewhere/x\"}", "points to nothing"},
        {"{\"type\":\"strin\"}", "type is none of"},
        {"{\"enum\":[]}", "enum is not a list"},
        {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", "no number lies between"},
        {"{\"type\":\"integer\",\"exclusiveMinimum\":3,\"exclusiveMaximum\":4}", "no number lies between"},
        {"{\"type\":\"string\",\"pattern\":\"(?=x)\"}", "look-around"},
        {"{\"type\":\"string\",\"pattern\":\"(a\"}", "not closed"},
        {"{\"type\":\"string\",\"pattern\":\"[z-a]\"}", "backwards"},
        {"{\"type\":\"string\",\"pattern\":\"(a*)*\"}", "repetition of what may be nothing"},
        {"{\"type\":\"string\",\"pattern\":\"\\\\bx\"}", "word boundary"},
        {"{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}", "less than minLength"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", "no finite text"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"contains\":{}}}}", "#/properties/a"},
        {"[]", "must be an object"},
        {"false", "nothing validates"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        es_grammar *g;
        es_error err = {0};
        assert_int_not_equal(build(cases[i].schema, &g, &err), ES_OK);
        assert_null(g);
        if (strstr(err.message, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].schema, err.message);
    }
}

static void a_rule_that_begins_with_itself_is_an_error_not_a_hang(void **state)
{
    (void)state;
    es_grammar *g;
    es_matcher *m;
    es_error err;
    assert_int_equal(build("{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}", &g, &err), ES_OK);
    assert_int_equal(es_matcher_create(&m, g, lexicon, &err), ES_ERR_ARGUMENT);
    es_grammar_free(g);
}

static void hostile_schemas_stay_small(void **state)
{
    (void)state;
    es_str text = {0};
    es_grammar *g;
    es_error err;
    for (int i = 0; i < 500; i++)
        es_str_append(&text, "{\"type\":\"array\",\"items\":");
    es_str_append(&text, "{}");
    for (int i = 0; i < 500; i++)
        es_str_append(&text, "}");
    assert_int_equal(build(es_str_text(&text), &g, &err), ES_ERR_LIMIT);
    es_str_clear(&text);
    es_str_append(&text, "{\"type\":\"string\",\"pattern\":\"");
    for (int i = 0; i < 10000; i++)
        es_str_append(&text, "(");
    es_str_append(&text, "\"}");
    assert_int_equal(build(es_str_text(&text), &g, &err), ES_ERR_UNSUPPORTED);
    es_str_clear(&text);
    es_str_append(&text, "{\"enum\":[0");
    for (int i = 0; i < 10000; i++)
        es_str_append(&text, ",0");
    es_str_append(&text, "]}");
    assert_int_equal(build(es_str_text(&text), &g, &err), ES_ERR_LIMIT);
    es_str_free(&text);
}

/* A hundred thousand ways to read each beginning: refused as soon as it is met, before it costs memory or time. */
static void what_can_be_read_in_too_many_ways_is_refused(void **state)
{
    (void)state;
    es_grammar *g;
    es_matcher *m;
    es_error err;
    es_match at;
    assert_int_equal(build("{\"type\":\"string\",\"pattern\":\"^((a{0,900}b?){1,900}c?){1,900}$\"}", &g, &err),
                     ES_ERR_ARGUMENT);
    assert_int_equal(build("{\"type\":\"string\",\"pattern\":\"^((a{1,900}){1,900}){1,900}$\"}", &g, &err), ES_OK);
    assert_int_equal(es_matcher_create(&m, g, lexicon, &err), ES_OK);
    es_status status = es_matcher_byte(m, es_matcher_start(m), '"', &at, &err);
    for (int i = 0; i < 5000 && status == ES_OK && at >= 0; i++)
        status = es_matcher_byte(m, at, 'a', &at, &err);
    assert_int_equal(status, ES_ERR_LIMIT);
    es_matcher_free(m);
    es_grammar_free(g);
}

static void any_object_is_an_object(void **state)
{
    (void)state;
    es_grammar *g;
    es_matcher *m;
    es_error err;
    es_str text = {0};
    assert_int_equal(es_json_object_grammar(&g, &err), ES_OK);
    assert_int_equal(es_matcher_create(&m, g, lexicon, &err), ES_OK);
    for (int i = 0; i < 200; i++) {
        answer(m, &text);
        json_t *v = json_loads(es_str_text(&text), 0, NULL);
        assert_true(json_is_object(v));
        json_decref(v);
    }
    es_str_free(&text);
    es_matcher_free(m);
    es_grammar_free(g);
}

static void saved_fuzz_cases_hold(void **state)
{
    (void)state;
    replay_saved_cases("corpus-json-schema", 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_schema_allows_can_be_written),
        cmocka_unit_test(whole_ranges_are_exact),
        cmocka_unit_test(what_cannot_be_held_is_refused),
        cmocka_unit_test(a_rule_that_begins_with_itself_is_an_error_not_a_hang),
        cmocka_unit_test(hostile_schemas_stay_small),
        cmocka_unit_test(what_can_be_read_in_too_many_ways_is_refused),
        cmocka_unit_test(any_object_is_an_object),
        cmocka_unit_test(saved_fuzz_cases_hold),
        cmocka_unit_test(ten_thousand_random_answers_validate),
        cmocka_unit_test(answers_of_a_model_validate_for_all_schemas_and_seeds),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
