/* Redaction: what the rules name is not looked at, and rules that make no sense are refused. */
#include "session/redact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

static es_redaction *make(const char *const *rules)
{
    es_redaction *r;
    es_error err = {0};
    assert_int_equal(es_redaction_create(&r, &err), ES_OK);
    for (; *rules != NULL; rules++)
        if (es_redaction_add(r, *rules, &err) != ES_OK)
            fail_msg("%s", err.message);
    return r;
}

static es_status read_log(es_redaction *r, const char *text, es_error *err)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/escriba-windows-%d.jsonl", (int)getpid());
    assert_int_equal(es_file_write(path, text, strlen(text), 0600, NULL), ES_OK);
    es_status status = es_redaction_read_windows(r, path, err);
    unlink(path);
    return status;
}

static void test_times_are_dropped_from_the_first_second_on_up_to_the_last(void **state)
{
    static const char *const rules[] = {"time:0:10-0:20", "time:1:00:00-1:00:01.5", "time:7200-", NULL};
    static const struct {
        double at;
        bool dropped;
    } cases[] = {{9.99, false}, {10, true},    {19.9, true},  {20, false},  {3600, true},
                 {3601, true},  {3602, false}, {7199, false}, {7200, true}, {1e6, true}};
    (void)state;
    es_redaction *r = make(rules);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (es_redaction_drops(r, cases[i].at, NULL) != cases[i].dropped)
            fail_msg("%g", cases[i].at);
    assert_false(es_redaction_wants_windows(r));
    es_redaction_free(r);
}

static void test_a_log_of_windows_tells_which_moments_apps_and_titles_mean(void **state)
{
    static const char *const rules[] = {"app:signal", "title:*bank*", NULL};
    es_error err = {0};
    (void)state;
    es_redaction *r = make(rules);
    assert_true(es_redaction_wants_windows(r));
    if (read_log(r,
                 "{\"timestamp\": 5, \"app\": \"Signal\", \"title\": \"Mum\"}\n\n"
                 "{\"timestamp\": 10, \"app\": \"Firefox\", \"title\": \"News\"}\n"
                 "{\"timestamp\": 20.5, \"title\": \"My BANK - Firefox\"}\n{\"timestamp\": 30}",
                 &err) != ES_OK)
        fail_msg("%s", err.message);
    assert_false(es_redaction_wants_windows(r));
    static const bool dropped[] = {false, true, false, false, true, true, false};
    for (int i = 0; i < 7; i++)
        if (es_redaction_drops(r, i * 5 + 0.9, NULL) != dropped[i])
            fail_msg("%d", i);
    es_redaction_free(r);
}

static void test_a_screenshot_s_name_is_its_title_and_apps_are_known_by_what_a_model_says(void **state)
{
    static const char *const rules[] = {"app:Whats*", "title:*Online Banking*", NULL};
    static const char *const apps[] = {"VS Code", "whatsapp"};
    (void)state;
    es_redaction *r = make(rules);
    assert_true(es_redaction_drops(r, 0, "/shots/2026-11-23 10.00.00 Online banking.png"));
    assert_false(es_redaction_drops(r, 0, "/Online Banking/2026-11-23 10.00.00.png"));
    assert_true(es_redaction_drops_apps(r, apps, 2));
    assert_false(es_redaction_drops_apps(r, apps, 1));
    assert_false(es_redaction_drops_apps(r, NULL, 0));
    es_redaction_free(r);
}

static void test_rules_and_logs_that_make_no_sense_are_refused_in_one_line(void **state)
{
    static const char *const rules[] = {"",           "app:",     "title:",    "signal",         "time:", "time:5",
                                        "time:20-10", "time:a-b", "time:1-2x", "time:99999999-", "apps:x"};
    static const char *const logs[] = {"{",
                                       "[]",
                                       "{\"app\": \"x\"}",
                                       "{\"timestamp\": \"1\"}",
                                       "{\"timestamp\": -1}",
                                       "{\"timestamp\": 2}\n{\"timestamp\": 1}",
                                       "{\"timestamp\": 1, \"app\": 5}"};
    es_redaction *r;
    (void)state;
    assert_int_equal(es_redaction_create(&r, NULL), ES_OK);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        es_error err = {0};
        if (es_redaction_add(r, rules[i], &err) != ES_ERR_ARGUMENT || strchr(err.message, '\n') != NULL)
            fail_msg("%s", rules[i]);
    }
    assert_int_equal(es_redaction_count(r), 0);
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        es_error err = {0};
        if (read_log(r, logs[i], &err) == ES_OK || strstr(err.message, "jsonl:") == NULL)
            fail_msg("%s: %s", logs[i], err.message);
    }
    es_redaction_free(r);
    es_redaction_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_are_dropped_from_the_first_second_on_up_to_the_last),
        cmocka_unit_test(test_a_log_of_windows_tells_which_moments_apps_and_titles_mean),
        cmocka_unit_test(test_a_screenshot_s_name_is_its_title_and_apps_are_known_by_what_a_model_says),
        cmocka_unit_test(test_rules_and_logs_that_make_no_sense_are_refused_in_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
