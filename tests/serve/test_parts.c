/* The parts of serving that need no model: base64, stop texts in pieces, names and pages, sockets' addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve/guard.h"
#include "serve/listen.h"
#include "serve/pictures.h"
#include "serve/ticket.h"

static void base64_of_every_length_comes_back(void **state)
{
    (void)state;
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char bytes[64], *back;
    char text[128] = "";
    size_t size;
    es_error err;
    for (size_t n = 0; n <= sizeof bytes; n++) {
        size_t length = 0;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)(i * 151 + n * 7);
        for (size_t i = 0; i < n; i += 3) {
            unsigned bits = (unsigned)bytes[i] << 16 | (i + 1 < n ? (unsigned)bytes[i + 1] << 8 : 0) |
                            (i + 2 < n ? (unsigned)bytes[i + 2] : 0);
            size_t digits = n - i >= 3 ? 4 : n - i + 1;
            for (size_t k = 0; k < digits; k++)
                text[length++] = alphabet[bits >> (18 - 6 * k) & 63];
        }
        assert_int_equal(es_base64_decode(text, length, &back, &size, &err), ES_OK); /* without padding */
        assert_int_equal(size, n);
        assert_memory_equal(back, bytes, n);
        free(back);
        while (length % 4 != 0)
            text[length++] = '=';
        assert_int_equal(es_base64_decode(text, length, &back, &size, &err), ES_OK);
        assert_int_equal(size, n);
        free(back);
    }
}

static void what_is_not_base64_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"A", "AAAAA", "AA=A", "AA*A", "\xff\xff", "A\tAA"};
    unsigned char *back;
    size_t size;
    es_error err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(es_base64_decode(wrong[i], strlen(wrong[i]), &back, &size, &err), ES_ERR_FORMAT);
        assert_null(back);
    }
    assert_int_equal(es_base64_decode("_-\r\n8= ", 7, &back, &size, &err), ES_OK);
    assert_int_equal(size, 2);
    free(back);
}

/* A text in pieces of `each` bytes; what is ready at each moment is never taken back. */
static char *in_pieces(const char *text, size_t each, const char *const *stops, bool *stopped)
{
    es_ticket *t;
    es_error err;
    size_t ready = 0;
    bool more = true;
    assert_int_equal(es_ticket_create(&t, &err), ES_OK);
    for (; *stops != NULL; stops++)
        assert_int_equal(es_ticket_stop(t, *stops, &err), ES_OK);
    for (size_t at = 0; more && at < strlen(text); at += each) {
        char piece[32] = {0};
        snprintf(piece, sizeof piece, "%.*s", (int)each, text + at);
        char *before = es_str_text(&t->replies[0].text)[0] != '\0' ? strdup(t->replies[0].text.data) : strdup("");
        more = es_reply_add(&t->replies[0], piece);
        assert_true(t->replies[0].ready >= ready);
        assert_memory_equal(es_str_text(&t->replies[0].text), before, ready);
        ready = t->replies[0].ready;
        free(before);
    }
    es_answer answer = {.status = more ? ES_OK : ES_ERR_CANCELLED, .text = text};
    es_reply_finish(&t->replies[0], &answer);
    assert_int_equal(t->replies[0].status, ES_OK);
    *stopped = t->replies[0].stopped;
    char *out = strdup(es_str_text(&t->replies[0].text));
    es_ticket_free(t);
    return out;
}

static void stop_texts_are_found_across_pieces_and_never_shown(void **state)
{
    (void)state;
    static const struct {
        const char *text, *stops[3], *told;
    } cases[] = {{"hello END there", {"END", NULL}, "hello "},
                 {"hello EN there", {"END", NULL}, "hello EN there"},
                 {"aaab", {"aab", NULL}, "a"},
                 {"xyz", {"z", "yz", NULL}, "x"},
                 {"END", {"END", NULL}, ""},
                 {"tail EN", {"END", NULL}, "tail EN"},
                 {"no stops", {NULL}, "no stops"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t each = 1; each < 16; each++) {
            bool stopped;
            char *told = in_pieces(cases[i].text, each, cases[i].stops, &stopped);
            assert_string_equal(told, cases[i].told);
            assert_int_equal(stopped, strcmp(cases[i].text, cases[i].told) != 0);
            free(told);
        }
    }
}

static void only_addresses_localhost_and_given_names_are_hosts(void **state)
{
    (void)state;
    static const char *const names[] = {"screens.example"};
    static const char *const good[] = {"127.0.0.1",       "127.0.0.1:80",       "[::1]",       "[::1]:80",
                                       "localhost",       "Localhost:9",        "a.localhost", "10.0.0.7:11435",
                                       "screens.example", "SCREENS.example:443"};
    static const char *const bad[] = {
        "",     ":80",    "evil.example", "localhost.evil",  "xlocalhost",           "127.0.0.1.evil",
        "[::1", "[evil]", "localhost:8x", "localhost:80:80", "screens.example.evil", "127.0.0.1 "};
    es_guard guard = {.hosts = names, .host_count = 1};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(es_guard_host(&guard, good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(es_guard_host(&guard, bad[i]));
    assert_false(es_guard_host(&guard, NULL));
    guard.any_host = true;
    assert_true(es_guard_host(&guard, NULL));
}

static void pages_of_other_sites_may_not_ask(void **state)
{
    (void)state;
    static const char *const origins[] = {"https://good.example"};
    es_guard guard = {.origins = origins, .origin_count = 1};
    assert_true(es_guard_origin(&guard, &(es_headers){.host = "localhost:1"}));
    assert_true(es_guard_origin(&guard, &(es_headers){.host = "localhost:1", .site = "same-origin"}));
    assert_true(es_guard_origin(&guard, &(es_headers){.host = "localhost:1", .origin = "http://localhost:1"}));
    assert_true(es_guard_origin(&guard, &(es_headers){.host = "localhost:1", .origin = "https://good.example"}));
    assert_false(es_guard_origin(&guard, &(es_headers){.host = "localhost:1", .site = "cross-site"}));
    assert_false(es_guard_origin(&guard, &(es_headers){.host = "localhost:1", .origin = "http://localhost:2"}));
    assert_false(es_guard_origin(&guard, &(es_headers){.host = "localhost:1", .origin = "null"}));
    assert_false(es_guard_origin(&guard, &(es_headers){.origin = "http://"}));
    assert_false(es_guard_origin(&guard, &(es_headers){.host = "localhost:1", .origin = "https://good.example.evil"}));
}

static void addresses_are_read_and_loopback_is_known(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ":80", "[::1", "example.org:80", "1.2.3.4.5", "127.0.0.1:http"};
    char where[80];
    bool loopback;
    es_error err;
    int fd;
    assert_int_equal(es_listen_tcp("127.0.0.1", 0, &fd, &loopback, where, &err), ES_OK);
    assert_true(loopback);
    assert_int_equal(strncmp(where, "http://127.0.0.1:", 17), 0);
    assert_true(atoi(where + 17) > 0);
    close(fd);
    assert_int_equal(es_listen_tcp("0.0.0.0:0", 1, &fd, &loopback, where, &err), ES_OK);
    assert_false(loopback);
    close(fd);
    if (es_listen_tcp("[::1]:0", 1, &fd, &loopback, where, &err) == ES_OK) { /* where IPv6 is on */
        assert_true(loopback);
        close(fd);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(es_listen_tcp(bad[i], 0, &fd, &loopback, where, &err), ES_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_of_every_length_comes_back),
        cmocka_unit_test(what_is_not_base64_is_refused),
        cmocka_unit_test(stop_texts_are_found_across_pieces_and_never_shown),
        cmocka_unit_test(only_addresses_localhost_and_given_names_are_hosts),
        cmocka_unit_test(pages_of_other_sites_may_not_ask),
        cmocka_unit_test(addresses_are_read_and_loopback_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
