/* test_utf8.c - what is a character, what could become one, and how broken runs are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"

/* Writes any number up to 21 bits in `length` bytes, whether that is allowed or not. */
static void put(char *out, uint32_t c, size_t length)
{
    static const unsigned char heads[] = {0, 0x00, 0xC0, 0xE0, 0xF0};
    for (size_t i = length; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(heads[length] | c);
}

static void every_character_in_its_shortest_form_and_no_other(void **state)
{
    (void)state;
    static const uint32_t low[] = {0, 0, 0x80, 0x800, 0x10000}, high[] = {0, 0x7F, 0x7FF, 0xFFFF, 0x1FFFFF};
    for (size_t length = 1; length <= 4; length++) {
        for (uint32_t c = 0; c <= high[length]; c++) {
            char bytes[4];
            put(bytes, c, length);
            bool valid = c >= low[length] && c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF);
            if (es_utf8_length(bytes, length) != (valid ? length : 0))
                fail_msg("U+%04X in %zu bytes", (unsigned)c, length);
            for (size_t n = 1; valid && n < length; n++) {
                if (es_utf8_length(bytes, n) != 0 || !es_utf8_is_prefix(bytes, n))
                    fail_msg("the first %zu bytes of U+%04X", n, (unsigned)c);
            }
            if (es_utf8_is_prefix(bytes, length))
                fail_msg("U+%04X in %zu bytes cannot go on", (unsigned)c, length);
        }
    }
}

static void what_cannot_become_a_character_is_no_prefix(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",     "\xC0",     "\xC1",     "\xF5",     "\xFF",
                                      "\xE0\x9F", "\xED\xA0", "\xF0\x8F", "\xF4\x90", "\xE2\x82\x28"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(es_utf8_is_prefix(bad[i], strlen(bad[i])));
    assert_false(es_utf8_is_prefix("", 0));
    assert_int_equal(es_utf8_length("", 0), 0);
}

static void broken_runs_are_the_maximal_subparts_of_unicode(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t run;
    } cases[] = {{"\x80", 1},         {"\xC0\x80", 1},     {"\xE2\x82", 2},
                 {"\xE2\x82x", 2},    {"\xF0\x9F\x98", 3}, {"\xF0\x9F\x98\xC3", 3},
                 {"\xED\xA0\x80", 1}, {"\xE0\x80\x80", 1}, {"\xF4\x90\x80\x80", 1},
                 {"\xF0\x80", 1},     {"\xC3\xC3", 1},     {"\xFFzz", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(es_utf8_broken(cases[i].bytes, strlen(cases[i].bytes)), cases[i].run);
}

static void valid_counts_up_to_the_first_broken_byte(void **state)
{
    (void)state;
    assert_int_equal(es_utf8_valid(NULL, 0), 0);
    assert_int_equal(es_utf8_valid("a\0b", 3), 3);
    assert_int_equal(es_utf8_valid("h\xC3\xA9\xF0\x9F\x98\x80", 7), 7);
    assert_int_equal(es_utf8_valid("h\xC3\xA9\xF0\x9F\x98\x80", 6), 3);
    assert_int_equal(es_utf8_valid("\xFFok", 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_in_its_shortest_form_and_no_other),
        cmocka_unit_test(what_cannot_become_a_character_is_no_prefix),
        cmocka_unit_test(broken_runs_are_the_maximal_subparts_of_unicode),
        cmocka_unit_test(valid_counts_up_to_the_first_broken_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
