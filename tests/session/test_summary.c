/* A summary by a language model is believed only when it checks. */
#include "session/summary.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const vim[] = {"Vim"}, *const browser[] = {"Browser"}, *const chat[] = {"WhatsApp"};
static const char *const a[] = {"parser"}, *const b[] = {"docs"}, *const c[] = {"family"};
static es_moment moments[90];

static void make(es_outline *outline)
{
    for (size_t i = 0; i < 90; i++) {
        bool first = i < 40, personal = i >= 60 && i < 75;
        moments[i] = (es_moment){.at = (double)i * 10,
                                 .activity = first      ? "coding"
                                             : personal ? "other"
                                                        : "reading",
                                 .description = first      ? "Edits the parser"
                                                : personal ? "Chats with Mum"
                                                           : "Reads docs",
                                 .apps = first      ? vim
                                         : personal ? chat
                                                    : browser,
                                 .app_count = 1,
                                 .topics = first      ? a
                                           : personal ? c
                                                      : b,
                                 .topic_count = 1};
    }
    assert_int_equal(es_outline_make(outline, moments, 90, NULL, NULL), ES_OK);
    assert_int_equal(outline->block_count, 4); /* coding, reading, personal, reading */
}

static void test_the_question_numbers_the_blocks_and_leaves_personal_ones_out(void **state)
{
    es_outline o;
    es_str prompt = {0};
    (void)state;
    make(&o);
    es_report report = {.moments = moments, .count = 90, .outline = &o};
    assert_true(es_summary_prompt(&prompt, &report));
    assert_non_null(strstr(es_str_text(&prompt), "Block 1, 0:00 to 6:40: coding; apps Vim; topics parser\n- Edits"));
    assert_non_null(strstr(es_str_text(&prompt), "Block 4,"));
    assert_null(strstr(es_str_text(&prompt), "Block 3"));
    assert_null(strstr(es_str_text(&prompt), "Mum"));
    es_str_free(&prompt);
    es_outline_free(&o);
}

static void test_an_answer_that_checks_becomes_the_subjects_and_times_add_up(void **state)
{
    es_outline o;
    char **texts, before[17], after[17];
    es_error err = {0};
    (void)state;
    make(&o);
    es_outline_signature(&o, before);
    if (es_summary_apply("Sure! ```json\n{\"subjects\": [{\"name\": \"Parser\\nwork\", \"blocks\": [1], \"summary\": "
                         "\"Wrote it.\"}, {\"name\": \"Docs\", \"blocks\": [4, 2]}]}\n```",
                         &o, &texts, &err) != ES_OK)
        fail_msg("%s", err.message);
    assert_int_equal(o.subject_count, 3);
    assert_string_equal(o.subjects[0].name, "Parser work");
    assert_string_equal(texts[0], "Wrote it.");
    assert_null(texts[1]);
    assert_true(o.subjects[2].personal && texts[2] == NULL);
    assert_int_equal(o.subjects[1].blocks, 2);
    double sum = 0;
    for (size_t s = 0; s < 3; s++)
        sum += o.subjects[s].seconds;
    assert_true(fabs(sum - o.seconds) < 0.001);
    assert_int_equal(o.blocks[3].subject, 1);
    assert_int_equal(o.blocks[2].subject, 2);
    es_outline_signature(&o, after);
    assert_string_equal(before, after);
    es_summary_texts_free(texts, o.subject_count);
    es_outline_free(&o);
}

static void test_anything_else_leaves_the_outline_as_it_was(void **state)
{
    static const char *const bad[] = {
        "",
        "no json",
        "}{",
        "{\"subjects\": []}",
        "{\"subjects\": [{\"name\": \"x\", \"blocks\": [1, 2]}]}",       /* 4 left out */
        "{\"subjects\": [{\"name\": \"x\", \"blocks\": [1, 2, 3, 4]}]}", /* personal */
        "{\"subjects\": [{\"name\": \"x\", \"blocks\": [1, 2, 4, 4]}]}", /* twice */
        "{\"subjects\": [{\"name\": \"x\", \"blocks\": [1, 2]}, {\"name\": \"y\", \"blocks\": [2, 4]}]}", /* twice */
        "{\"subjects\": [{\"name\": \"\", \"blocks\": [1, 2, 4]}]}",                                      /* no name */
        "{\"subjects\": [{\"blocks\": [1, 2, 4]}]}",
        "{\"subjects\": [{\"name\": \"x\", \"blocks\": [1, 2, 4, 99999999999]}]}",
        "{\"subjects\": [{\"name\": \"x\", \"blocks\": [1, 2, 4.0]}]}",
        "{\"subjects\": [{\"name\": \"x\", \"blocks\": [1, 2, 4]}, {\"name\": \"y\", \"blocks\": []}]}",
        "{\"subjects\": {\"name\": \"x\"}}",
        "{\"subjects\": [1, 2]}",
    };
    es_outline o;
    (void)state;
    make(&o);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        es_error err = {0};
        char **texts = (char **)1;
        size_t subjects = o.subject_count, last = o.blocks[3].subject;
        if (es_summary_apply(bad[i], &o, &texts, &err) != ES_ERR_FORMAT || texts != NULL)
            fail_msg("%s", bad[i]);
        assert_true(strchr(err.message, '\n') == NULL && strstr(err.message, "does not check") != NULL);
        assert_true(o.subject_count == subjects && o.blocks[3].subject == last);
    }
    es_outline_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_question_numbers_the_blocks_and_leaves_personal_ones_out),
        cmocka_unit_test(test_an_answer_that_checks_becomes_the_subjects_and_times_add_up),
        cmocka_unit_test(test_anything_else_leaves_the_outline_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
