/* Grammars: what they accept, which tokens they let through, and that a walk within its budget always ends well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/grammar.h"

static es_tokenizer *tokenizer;
static es_lexicon *lexicon;
static int32_t vocab;

static int set_up(void **state)
{
    (void)state;
    char path[4096], *text;
    size_t size;
    es_error err;
    const char *root = getenv("ESCRIBA_SOURCE_ROOT");
    assert_non_null(root);
    snprintf(path, sizeof path, "%s/tests/vectors/tokenizer/qwen.json", root);
    if (es_file_read(path, 1 << 26, &text, &size, &err) != ES_OK ||
        es_tokenizer_parse(&tokenizer, text, size, path, &err) != ES_OK)
        fail_msg("%s", err.message);
    free(text);
    vocab = (int32_t)es_tokenizer_size(tokenizer) + 5; /* logits for tokens that do not exist */
    assert_int_equal(es_lexicon_create(&lexicon, tokenizer, vocab, &err), ES_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    es_lexicon_free(lexicon);
    es_tokenizer_free(tokenizer);
    return 0;
}

static es_matcher *match(es_grammar *g, es_node root)
{
    es_error err;
    es_matcher *m;
    if (es_grammar_finish(g, root, &err) != ES_OK || es_matcher_create(&m, g, lexicon, &err) != ES_OK)
        fail_msg("%s", err.message);
    return m;
}

/* The state after a text; counts on no failure. */
static es_match after(es_matcher *m, const char *text)
{
    es_error err;
    es_match at = es_matcher_start(m);
    for (; *text != '\0' && at >= 0; text++)
        assert_int_equal(es_matcher_byte(m, at, (uint8_t)*text, &at, &err), ES_OK);
    return at;
}

static bool accepts(es_matcher *m, const char *text)
{
    return es_matcher_accepts(m, after(m, text));
}

static es_grammar *make(void)
{
    es_grammar *g;
    es_error err;
    assert_int_equal(es_grammar_create(&g, &err), ES_OK);
    return g;
}

static void texts_choices_and_counts(void **state)
{
    (void)state;
    es_grammar *g = make();
    es_node ab[] = {es_grammar_text(g, "a"), es_grammar_text(g, "bc")};
    es_node parts[] = {es_grammar_text(g, "<"), es_grammar_repeat(g, es_grammar_choice(g, ab, 2), 2, 4),
                       es_grammar_text(g, ""), es_grammar_text(g, ">")};
    es_matcher *m = match(g, es_grammar_sequence(g, parts, 4));
    const char *good[] = {"<aa>", "<abc>", "<bcbcbcbc>", "<aaaa>"},
               *bad[] = {"", "<>", "<a>", "<aaaaa>", "<ab>", "<aa>x"};
    for (size_t i = 0; i < 4; i++)
        assert_true(accepts(m, good[i]));
    for (size_t i = 0; i < 6; i++)
        assert_false(accepts(m, bad[i]));
    assert_int_equal(es_matcher_distance(m, after(m, "<")), 3); /* "aa>" */
    assert_int_equal(es_matcher_distance(m, after(m, "<ab")), 2);
    assert_int_equal(after(m, "<x"), ES_MATCH_DEAD);
    es_matcher_free(m);
    es_grammar_free(g);
}

static void rules_may_contain_themselves(void **state)
{
    (void)state;
    es_grammar *g = make();
    es_node pair = es_grammar_rule(g);
    es_node parts[] = {es_grammar_text(g, "("), es_grammar_repeat(g, pair, 0, -1), es_grammar_text(g, ")")};
    es_grammar_define(g, pair, es_grammar_sequence(g, parts, 3));
    es_matcher *m = match(g, pair);
    assert_true(accepts(m, "()") && accepts(m, "(()(()))") && accepts(m, "((((((((()))))))))"));
    assert_false(accepts(m, "(()") || accepts(m, "())") || accepts(m, ")("));
    assert_int_equal(es_matcher_distance(m, after(m, "((()")), 2);
    es_matcher_free(m);
    es_grammar_free(g);
}

static void characters_are_whole_utf8(void **state)
{
    (void)state;
    es_grammar *g = make();
    es_matcher *m = match(g, es_grammar_repeat(g, es_grammar_char(g, "|"), 1, -1));
    assert_true(accepts(m, "plain") && accepts(m, "h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"));
    assert_false(accepts(m, "a|b") || accepts(m, "a\nb") || accepts(m, "\xC3") || accepts(m, "\xE2\x82"));
    assert_int_equal(after(m, "\xC0\x80"), ES_MATCH_DEAD);
    assert_int_equal(after(m, "\xED\xA0\x80"), ES_MATCH_DEAD); /* a surrogate */
    assert_int_equal(after(m, "\xF4\x90\x80\x80"), ES_MATCH_DEAD);
    assert_int_equal(es_matcher_distance(m, after(m, "a\xF0\x9F")), 2);
    es_matcher_free(m);
    es_grammar_free(g);
}

/* A small language with free text, a choice, a list and a nest. */
static es_node sample(es_grammar *g)
{
    es_node kinds[] = {es_grammar_text(g, "coding"), es_grammar_text(g, "code review"), es_grammar_text(g, "other")};
    es_node item = es_grammar_repeat(g, es_grammar_char(g, ",]|"), 1, 6);
    es_node more[] = {es_grammar_text(g, ", "), item};
    es_node list[] = {item, es_grammar_repeat(g, es_grammar_sequence(g, more, 2), 0, 3)};
    es_node nest = es_grammar_rule(g);
    es_node inner[] = {es_grammar_text(g, "["), es_grammar_repeat(g, nest, 0, 2), es_grammar_text(g, "]")};
    es_grammar_define(g, nest, es_grammar_sequence(g, inner, 3));
    es_node parts[] = {es_grammar_text(g, "say: "),
                       es_grammar_repeat(g, es_grammar_char(g, "|"), 1, -1),
                       es_grammar_text(g, " | kind: "),
                       es_grammar_choice(g, kinds, 3),
                       es_grammar_text(g, " | list: "),
                       es_grammar_sequence(g, list, 2),
                       nest};
    return es_grammar_sequence(g, parts, 7);
}

/* The mask lets through exactly the tokens whose bytes lead on and from whose end the text can still be ended. */
static void check_mask(es_matcher *m, es_match at, int32_t left, float *logits)
{
    es_error err;
    bool any;
    for (int32_t i = 0; i < vocab; i++)
        logits[i] = 0.0f;
    assert_int_equal(es_matcher_mask(m, at, left, logits, &any, &err), ES_OK);
    bool some = false;
    for (int32_t id = 0; id < vocab; id++) {
        es_match next;
        assert_int_equal(es_matcher_token(m, at, id, &next, &err), ES_OK);
        bool allowed = next >= 0 && es_matcher_distance(m, next) <= left;
        some = some || allowed;
        if (allowed != !isinf(logits[id]))
            fail_msg("token %d: allowed %d, masked %d", id, allowed, isinf(logits[id]) != 0);
    }
    assert_int_equal(any, some);
}

static void the_mask_is_what_walking_each_token_says(void **state)
{
    (void)state;
    es_grammar *g = make();
    es_matcher *m = match(g, sample(g));
    float *logits = calloc((size_t)vocab, sizeof *logits);
    const char *places[] = {"",
                            "say",
                            "say: ",
                            "say: x",
                            "say: x |",
                            "say: x | kind: co",
                            "say: x | kind: other | list: a",
                            "say: x | kind: other | list: a, b[",
                            "say: \xC3"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        es_match at = after(m, places[i]);
        assert_true(at >= 0);
        check_mask(m, at, 1000, logits);
        check_mask(m, at, es_matcher_distance(m, at), logits);
        check_mask(m, at, es_matcher_distance(m, at) - 1, logits);
    }
    free(logits);
    es_matcher_free(m);
    es_grammar_free(g);
}

static void every_walk_within_its_budget_ends_well(void **state)
{
    (void)state;
    es_grammar *g = make();
    es_matcher *m = match(g, sample(g));
    es_error err;
    float *logits = calloc((size_t)vocab, sizeof *logits);
    srand(3);
    int32_t needed = es_matcher_distance(m, es_matcher_start(m)), longest = 0;
    for (int walk = 0; walk < 300; walk++) {
        int32_t budget = needed + rand() % 60, used = 0;
        es_match at = es_matcher_start(m);
        while (!es_matcher_accepts(m, at)) {
            bool any;
            assert_true(used < budget);
            for (int32_t i = 0; i < vocab; i++)
                logits[i] = (float)rand();
            used++;
            assert_int_equal(es_matcher_mask(m, at, budget - used, logits, &any, &err), ES_OK);
            assert_true(any);
            int32_t best = 0;
            for (int32_t i = 1; i < vocab; i++)
                best = logits[i] > logits[best] ? i : best;
            assert_int_equal(es_matcher_token(m, at, best, &at, &err), ES_OK);
        }
        longest = used > longest ? used : longest;
    }
    assert_true(longest > 20); /* some went on for a while */
    free(logits);
    es_matcher_free(m);
    es_grammar_free(g);
}

static void what_must_come_is_known_without_asking(void **state)
{
    (void)state;
    es_grammar *g = make();
    es_matcher *m = match(g, sample(g));
    es_error err;
    const struct {
        const char *before, *forced;
    } cases[] = {{"", "say: "},
                 {"sa", "y: "},
                 {"say: x", ""},
                 {"say: x | ki", "nd: "},
                 {"say: |", ""},
                 {"say: x | kind: o", "ther | list: "},
                 {"say: x | kind: coding | l", "ist: "}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        es_str bytes = {0};
        assert_int_equal(es_matcher_forced(m, after(m, cases[i].before), &bytes, &err), ES_OK);
        assert_string_equal(es_str_text(&bytes), cases[i].forced);
        es_str_free(&bytes);
    }
    es_matcher_free(m);
    es_grammar_free(g);
}

static void grammars_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    es_error err;
    for (int which = 0; which < 5; which++) {
        es_grammar *g = make();
        es_node root = -1, rule = es_grammar_rule(g), a = es_grammar_text(g, "a"), parts[] = {rule, a};
        if (which == 0) /* nothing repeated */
            root = es_grammar_repeat(g, es_grammar_text(g, ""), 0, -1), es_grammar_define(g, rule, a);
        else if (which == 1) /* endless */
            root = es_grammar_sequence(g, parts, 2), es_grammar_define(g, rule, root);
        else if (which == 2) /* never defined */
            root = rule;
        else if (which == 3)
            root = es_grammar_repeat(g, a, 3, 2), es_grammar_define(g, rule, a);
        else
            root = 999, es_grammar_define(g, rule, es_grammar_sequence(g, &root, 1));
        assert_int_not_equal(es_grammar_finish(g, root, &err), ES_OK);
        assert_true(err.message[0] != '\0');
        es_grammar_free(g);
    }
    /* A rule that begins with itself is found when walked. */
    es_grammar *g = make();
    es_node rule = es_grammar_rule(g), a = es_grammar_text(g, "a"), left[] = {rule, a};
    es_node ways[] = {a, es_grammar_sequence(g, left, 2)};
    es_grammar_define(g, rule, es_grammar_choice(g, ways, 2));
    es_matcher *m;
    assert_int_equal(es_grammar_finish(g, rule, &err), ES_OK);
    assert_int_equal(es_matcher_create(&m, g, lexicon, &err), ES_ERR_ARGUMENT);
    es_grammar_free(g);
    es_grammar_free(NULL);
    es_matcher_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_choices_and_counts),
        cmocka_unit_test(rules_may_contain_themselves),
        cmocka_unit_test(characters_are_whole_utf8),
        cmocka_unit_test(the_mask_is_what_walking_each_token_says),
        cmocka_unit_test(every_walk_within_its_budget_ends_well),
        cmocka_unit_test(what_must_come_is_known_without_asking),
        cmocka_unit_test(grammars_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
