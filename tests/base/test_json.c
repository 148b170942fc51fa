/* test_json.c - JSON nobody vouches for: refused with a place, read with bounds, and never mistaken for want of memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/str.h"

static long countdown; /* of jansson's allocations: the one that fails, and all after it; 0: none does */

static void *short_malloc(size_t size)
{
    if (countdown > 0 && --countdown == 0)
        countdown = -1;
    return countdown < 0 ? NULL : malloc(size);
}

static void bad_text_is_refused_with_its_place(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{",
                                      "[1,]",
                                      "{\"a\":1,}",
                                      "{\"a\" 1}",
                                      "{a:1}",
                                      "[1 2]",
                                      "nul",
                                      "[01]",
                                      "[1.]",
                                      "[+1]",
                                      "\"open",
                                      "[\"\t\"]",
                                      "[\"\\x\"]",
                                      "{\"a\":1}}",
                                      "{\"a\":1,\"a\":2}",
                                      "[\xFF]",
                                      "[\"\xC3\"]",
                                      "[1e999]",
                                      "[\"\\ud800\"]",
                                      "{\"\\u0000\":1}",
                                      "[1],",
                                      "[99999999999999999999]",
                                      "{\"a\\\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        es_error err = {0};
        json_t *root;
        es_status status = es_json_parse(&root, bad[i], strlen(bad[i]), "x.json", &err);
        if (status != ES_ERR_FORMAT || root != NULL)
            fail_msg("%s: %s: %s", bad[i], es_status_name(status), err.message);
        assert_non_null(strstr(err.message, "x.json: not valid JSON: line "));
        assert_null(strchr(err.message, '\n'));
    }
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    es_error err = {0};
    es_str text = {0};
    json_t *root;
    for (int i = 0; i < 100000; i++)
        es_str_append(&text, "[");
    for (int i = 0; i < 100000; i++)
        es_str_append(&text, "]");
    assert_int_equal(es_json_parse(&root, es_str_text(&text), text.length, "deep", &err), ES_ERR_FORMAT);
    es_str_free(&text);
}

static void want_of_memory_is_called_so(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":[1,-2.5e3,true,null,\"long enough to need room: \\u00e9 \\\\\"],\"b\":{\"c\":{},\"d\":[]}}";
    json_set_alloc_funcs(short_malloc, free);
    for (long n = 1;; n++) {
        es_error err = {0};
        json_t *root;
        countdown = n;
        es_status status = es_json_parse(&root, text, sizeof text - 1, "x", &err);
        bool reached = countdown < 0;
        countdown = 0;
        json_decref(root);
        if (!reached) {
            assert_int_equal(status, ES_OK);
            assert_true(n > 10);
            break;
        }
        if (status != ES_ERR_MEMORY)
            fail_msg("allocation %ld: %s", n, err.message);
    }
    json_set_alloc_funcs(malloc, free);
}

static void members_are_typed_and_bounded(void **state)
{
    (void)state;
    static const char text[] = "{\"i\":7,\"f\":1.5,\"b\":true,\"s\":\"t\",\"n\":null,\"z\":\"a\\u0000b\"}";
    es_error err = {0};
    json_t *o;
    int64_t i = -1;
    double f = -1;
    bool b = false;
    const char *s = "default";
    assert_int_equal(es_json_parse(&o, text, sizeof text - 1, "x", &err), ES_OK);
    assert_int_equal(es_json_int(o, "x", "i", true, 7, 7, &i, &err), ES_OK);
    assert_int_equal(i, 7);
    assert_int_equal(es_json_int(o, "x", "i", true, 8, 9, &i, &err), ES_ERR_FORMAT);
    assert_int_equal(es_json_int(o, "x", "f", true, 0, 9, &i, &err), ES_ERR_FORMAT);
    assert_int_equal(es_json_int(o, "x", "n", true, 0, 9, &i, &err), ES_ERR_FORMAT);
    assert_int_equal(es_json_int(o, "x", "n", false, 0, 9, &i, &err), ES_OK);
    assert_int_equal(i, 7);
    assert_int_equal(es_json_number(o, "x", "i", true, 0, 9, &f, &err), ES_OK);
    assert_true(f == 7);
    assert_int_equal(es_json_number(o, "x", "f", true, 2, 9, &f, &err), ES_ERR_FORMAT);
    assert_int_equal(es_json_bool(o, "x", "b", true, &b, &err), ES_OK);
    assert_true(b);
    assert_int_equal(es_json_bool(o, "x", "i", false, &b, &err), ES_ERR_FORMAT);
    assert_int_equal(es_json_string(o, "x", "missing", false, &s, &err), ES_OK);
    assert_string_equal(s, "default");
    assert_int_equal(es_json_string(o, "x", "missing", true, &s, &err), ES_ERR_FORMAT);
    assert_non_null(strstr(err.message, "\"missing\" is missing"));
    assert_int_equal(es_json_string(o, "x", "z", true, &s, &err), ES_ERR_FORMAT);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_text_is_refused_with_its_place),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(want_of_memory_is_called_so),
        cmocka_unit_test(members_are_typed_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
