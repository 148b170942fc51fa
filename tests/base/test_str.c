/* test_str.c - the growing string, want of memory included. Linked with --wrap=realloc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/str.h"

static bool refuse; /* the next realloc fails */
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_realloc(void *old, size_t size)
{
    return refuse ? NULL : __real_realloc(old, size);
}

static void appends_grow_the_text(void **state)
{
    (void)state;
    es_str s = {0};
    assert_string_equal(es_str_text(&s), "");
    for (int i = 0; i < 1000; i++)
        es_str_append_format(&s, "%d,", i % 10);
    assert_int_equal(s.length, 2000);
    assert_memory_equal(es_str_text(&s), "0,1,2,", 6);
    es_str_append_n(&s, "a\0b", 3);
    assert_int_equal(s.length, 2003);
    assert_int_equal(s.data[2001], '\0');
    es_str_clear(&s);
    assert_string_equal(es_str_text(&s), "");
    es_str_append(&s, "again");
    assert_string_equal(es_str_text(&s), "again");
    assert_int_equal(es_str_check(&s, NULL), ES_OK);
    es_str_free(&s);
}

static void json_strings_are_read_back_as_they_were(void **state)
{
    (void)state;
    static const char text[] = "q\" b\\ /\b\f\n\r\t\x01\x1F\x7F \xC3\xA9 \xF0\x9F\x98\x80";
    es_str s = {0};
    es_str_append_json(&s, text);
    json_t *back = json_loads(es_str_text(&s), JSON_DECODE_ANY, NULL);
    assert_non_null(back);
    assert_string_equal(json_string_value(back), text);
    json_decref(back);
    es_str_clear(&s);
    es_str_append_json(&s, "\xE2\x82|\xFF\xFF");
    assert_string_equal(es_str_text(&s), "\"\xEF\xBF\xBD|\xEF\xBF\xBD\xEF\xBF\xBD\"");
    es_str_free(&s);
}

static void want_of_memory_shows_at_the_end(void **state)
{
    (void)state;
    es_error err = {0};
    es_str s = {0};
    es_str_append(&s, "kept");
    refuse = true;
    for (int i = 0; i < 100; i++)
        es_str_append(&s, "lost");
    refuse = false;
    es_str_append(&s, "lost too"); /* nothing after a gap */
    assert_int_equal(es_str_check(&s, &err), ES_ERR_MEMORY);
    assert_int_equal(strncmp(es_str_text(&s), "kept", 4), 0);
    assert_null(strstr(es_str_text(&s), "too"));
    err = (es_error){0};
    assert_null(es_str_take(&s, &err));
    assert_int_equal(err.status, ES_ERR_MEMORY);
    assert_null(s.data);
}

static void take_hands_the_buffer_over(void **state)
{
    (void)state;
    es_str s = {0};
    char *empty = es_str_take(&s, NULL);
    assert_string_equal(empty, "");
    free(empty);
    es_str_append(&s, "text");
    char *text = es_str_take(&s, NULL);
    assert_string_equal(text, "text");
    assert_null(s.data);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_grow_the_text),
        cmocka_unit_test(json_strings_are_read_back_as_they_were),
        cmocka_unit_test(want_of_memory_shows_at_the_end),
        cmocka_unit_test(take_hands_the_buffer_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
