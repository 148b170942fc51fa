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

#include "base/mem.h"
#include "serve/choice.h"
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

/* --- whose turn it is --- */

typedef struct line {
    es_line l;
    es_turns turns;
    es_ticket *running; /* the newest first */
    size_t begun;
} line;

static es_ticket *queue_ticket(line *q, const char *client, es_tier tier, bool streamed)
{
    es_ticket *t;
    es_error err;
    assert_int_equal(es_ticket_create(&t, &err), ES_OK);
    t->client = es_strdup(client);
    t->model = es_strdup("m");
    t->tier = tier;
    t->interactive = streamed && !es_client_in(q->l.queue, client) && !es_client_in(q->running, client);
    es_ticket **at = &q->l.queue;
    while (*at != NULL)
        at = &(*at)->next;
    *at = t;
    return t;
}

static void take_out(es_ticket **list, es_ticket *t)
{
    while (*list != t)
        list = &(*list)->next;
    *list = t->next;
    t->next = NULL;
}

/* Begins what may begin now, one ticket; NULL: none. */
static es_ticket *begin(line *q)
{
    q->l.running = q->running;
    q->l.turns = &q->turns;
    q->l.model = "m";
    es_ticket *t = es_choose_ticket(&q->l);
    if (t == NULL)
        return NULL;
    take_out(&q->l.queue, t);
    es_turns_note(&q->turns, t->client);
    t->next = q->running;
    q->running = t;
    q->begun++;
    return t;
}

static void end_oldest(line *q)
{
    es_ticket *t = q->running;
    while (t->next != NULL)
        t = t->next;
    take_out(&q->running, t);
    es_ticket_free(t);
}

static void end_line(line *q)
{
    while (q->running != NULL)
        end_oldest(q);
    while (q->l.queue != NULL) {
        es_ticket *t = q->l.queue;
        take_out(&q->l.queue, t);
        es_ticket_free(t);
    }
    es_turns_free(&q->turns);
}

static void a_question_passes_queued_work(void **state)
{
    (void)state;
    const struct {
        es_tier bulk, question;
        bool streamed;
        bool passes;
    } ways[] = {{ES_TIER_AUTO, ES_TIER_PRIORITY, false, true}, {ES_TIER_DEFAULT, ES_TIER_AUTO, true, true},
                {ES_TIER_FLEX, ES_TIER_AUTO, true, true},      {ES_TIER_AUTO, ES_TIER_AUTO, false, false},
                {ES_TIER_AUTO, ES_TIER_DEFAULT, true, false},  {ES_TIER_AUTO, ES_TIER_FLEX, true, false}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        line q = {.l = {.batch = 8}};
        for (int k = 0; k < 32; k++)
            queue_ticket(&q, "bulk", ways[i].bulk, false);
        size_t seats = ways[i].bulk == ES_TIER_FLEX ? 7 : 8; /* flex leaves one free */
        for (size_t k = 0; k < seats; k++)
            assert_non_null(begin(&q));
        assert_null(begin(&q));
        es_ticket *question = queue_ticket(&q, "somebody", ways[i].question, ways[i].streamed);
        assert_true((begin(&q) == question) == ways[i].passes);
        assert_int_equal(question->priority, ways[i].passes);
        assert_null(begin(&q)); /* the seat is taken */
        end_line(&q);
    }
}

/* Of one client's, one goes first at a time: to mark everything gains nothing. */
static void one_request_of_a_client_goes_first(void **state)
{
    (void)state;
    line q = {.l = {.batch = 4}};
    for (int k = 0; k < 8; k++)
        queue_ticket(&q, "loud", ES_TIER_PRIORITY, true);
    for (int k = 0; k < 8; k++)
        queue_ticket(&q, "quiet", ES_TIER_AUTO, false);
    size_t loud = 0, first = 0, n = 0;
    for (es_ticket *t; (t = begin(&q)) != NULL; n++) {
        loud += strcmp(t->client, "loud") == 0;
        first += t->priority > 0;
    }
    assert_int_equal(n, 4);
    assert_int_equal(first, 1);
    assert_int_equal(loud, 2); /* its share */
    end_line(&q);
}

/* A new client's question each time one is begun, and many more waiting: the others' turn comes. */
static void no_flow_of_questions_starves_anybody(void **state)
{
    (void)state;
    for (size_t batch = 1; batch <= 8; batch += 7) {
        line q = {.l = {.batch = batch}};
        char name[32];
        size_t clients = 0, waited = 0, begun = 0;
        bool ordinary_done = false, flex_done = false;
        while (clients < 20) {
            snprintf(name, sizeof name, "client %zu", clients++);
            queue_ticket(&q, name, ES_TIER_PRIORITY, true);
        }
        while (begin(&q) != NULL)
            continue;
        es_ticket *ordinary = queue_ticket(&q, "ordinary", ES_TIER_DEFAULT, false);
        es_ticket *flex = queue_ticket(&q, "flex", ES_TIER_FLEX, false);
        for (begun = q.begun; !ordinary_done || !flex_done; end_oldest(&q)) {
            for (es_ticket *t; (t = begin(&q)) != NULL;) {
                ordinary_done = ordinary_done || t == ordinary;
                flex_done = flex_done || t == flex;
                snprintf(name, sizeof name, "client %zu", clients++);
                queue_ticket(&q, name, ES_TIER_PRIORITY, true);
                if (waited == 0 && ordinary_done && flex_done)
                    waited = q.begun - begun;
            }
        }
        assert_true(waited <= 8); /* three questions, one of the others, and again */
        end_line(&q);
    }
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
        cmocka_unit_test(a_question_passes_queued_work),
        cmocka_unit_test(one_request_of_a_client_goes_first),
        cmocka_unit_test(no_flow_of_questions_starves_anybody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
