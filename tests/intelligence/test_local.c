/* test_local.c - our own engine as an adapter: idle models go, and come back as they were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/thread.h"
#include "compute/cpu/cpu.h"
#include "fixture.h"
#include "intelligence/local.h"

#define PATIENCE 60.0 /* seconds; a starved machine may need some */

static es_intelligence *open_local(const char *name, double idle, es_status expected)
{
    char path[4096];
    es_error err = {0};
    es_device *device;
    es_intelligence *who;
    snprintf(path, sizeof path, "%s/tests/vectors/model/%s", fixture_root(), name);
    assert_int_equal(es_cpu_device_create(&device, &(es_cpu_options){.threads = 2}, &err), ES_OK);
    es_local_options options = {.model = path, .weight_cache = "", .idle_unload = idle};
    es_status status = es_local_create(&who, device, &options, &err);
    memset(path, 'x', sizeof path); /* it keeps what it needs */
    if (status != expected)
        fail_msg("%s", err.message);
    return who;
}

static char *answer(es_intelligence *who)
{
    es_error err = {0};
    es_str text = {0};
    es_ask ask;
    es_ask_init(&ask);
    ask.max_tokens = 12;
    es_content content = {.text = "what is on the screen?"};
    es_message message = {ES_ROLE_USER, &content, 1};
    if (es_generate_text(who, &message, 1, &ask, NULL, &text, &err) != ES_OK)
        fail_msg("%s", err.message);
    return es_str_take(&text, &err);
}

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){0, 2000000}, NULL);
}

static void an_idle_model_goes_and_comes_back_as_it_was(void **state)
{
    (void)state;
    es_intelligence *who = open_local("sharded-bf16", 0.05, ES_OK);
    char *first = answer(who);
    for (int turn = 0; turn < 3; turn++) {
        double start = es_now();
        while (es_local_is_loaded(who) && es_now() - start < PATIENCE)
            pause_a_little();
        assert_false(es_local_is_loaded(who));
        char *again = answer(who);
        assert_string_equal(first, again);
        free(again);
    }
    es_intelligence_free(who); /* loaded, or just let go: both are fine */
    free(first);
}

static void a_model_in_use_stays(void **state)
{
    (void)state;
    es_intelligence *who = open_local("sharded-bf16", 3600.0, ES_OK);
    for (int i = 0; i < 5; i++) {
        free(answer(who));
        assert_true(es_local_is_loaded(who));
    }
    es_intelligence_free(who);
    who = open_local("sharded-bf16", 0.0, ES_OK); /* never */
    free(answer(who));
    assert_true(es_local_is_loaded(who));
    es_intelligence_free(who);
}

static void unloading_by_hand_works_at_any_time(void **state)
{
    (void)state;
    es_intelligence *who = open_local("sharded-bf16", 0.0, ES_OK);
    es_local_unload(who);
    es_local_unload(who);
    assert_false(es_local_is_loaded(who));
    free(answer(who));
    assert_true(es_local_is_loaded(who));
    es_local_unload(who);
    es_intelligence_free(who);
}

static void a_model_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    assert_null(open_local("no-such-model", 0.05, ES_ERR_IO));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_model_goes_and_comes_back_as_it_was),
        cmocka_unit_test(a_model_in_use_stays),
        cmocka_unit_test(unloading_by_hand_works_at_any_time),
        cmocka_unit_test(a_model_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
