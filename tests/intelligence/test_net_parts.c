/* The parts of the network adapters that need no network: how many at once, streams, addresses, pictures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "intelligence/net/dialect.h"
#include "intelligence/net/endpoint.h"
#include "intelligence/net/flow.h"
#include "intelligence/net/picture.h"
#include "intelligence/net/stream.h"

/* --- how many at once: a server in numbers, without a clock --- */

#define MOST 64

typedef struct sim {
    size_t workers;   /* requests that are served side by side; the others wait their turn */
    double service;   /* seconds each */
    double ends[256]; /* of the requests in flight */
    size_t flying;
    double worker_free[256];
} sim;

static void sim_send(sim *s, double now)
{
    size_t first = 0;
    for (size_t i = 1; i < s->workers; i++)
        if (s->worker_free[i] < s->worker_free[first])
            first = i;
    double start = s->worker_free[first] > now ? s->worker_free[first] : now;
    s->worker_free[first] = start + s->service;
    s->ends[s->flying++] = start + s->service;
}

static double sim_next(sim *s)
{
    size_t first = 0;
    for (size_t i = 1; i < s->flying; i++)
        if (s->ends[i] < s->ends[first])
            first = i;
    double end = s->ends[first];
    s->ends[first] = s->ends[--s->flying];
    return end;
}

/* The mean limit over the second half of so many answers, and how long they took. */
static double run_sim(size_t workers, size_t answers, size_t most, double *seconds, size_t *peak)
{
    sim s = {.workers = workers, .service = 1};
    es_flow flow;
    double now = 0, sum = 0;
    es_flow_begin(&flow, most);
    *peak = 0;
    for (size_t i = 0; i < answers; i++) {
        while (s.flying < flow.limit)
            sim_send(&s, now);
        *peak = s.flying > *peak ? s.flying : *peak;
        now = sim_next(&s);
        es_flow_answered(&flow, 1, now);
        assert_in_range(flow.limit, 1, most);
        sum += i >= answers / 2 ? (double)flow.limit : 0;
    }
    *seconds = now;
    return sum / (double)(answers - answers / 2);
}

static void a_server_that_serves_one_by_one_is_asked_one_by_one(void **state)
{
    (void)state;
    double seconds;
    size_t peak;
    double mean = run_sim(1, 400, MOST, &seconds, &peak);
    assert_true(peak <= 2);
    assert_true(mean < 1.2);
    assert_true(seconds <= 402);
}

static void a_server_that_batches_gets_as_many_as_pay(void **state)
{
    (void)state;
    double seconds;
    size_t peak;
    double mean = run_sim(8, 800, MOST, &seconds, &peak);
    if (mean < 6 || mean > 14 || seconds > 800.0 / 8 * 1.6)
        fail_msg("%.1f at once, %.0f s", mean, seconds);
    mean = run_sim(64, 4000, 16, &seconds, &peak);
    assert_true(peak <= 16);
    assert_true(mean > 12);
}

static void a_server_that_refuses_gets_half(void **state)
{
    (void)state;
    es_flow flow;
    es_flow_begin(&flow, MOST);
    flow.limit = flow.proven = 12;
    es_flow_refused(&flow);
    assert_int_equal(flow.limit, 6);
    for (size_t i = 0; i < 20; i++)
        es_flow_refused(&flow);
    assert_int_equal(flow.limit, 1);
    for (size_t i = 0; i < 1000; i++)
        es_flow_answered(&flow, 1, 5); /* a clock that stands still */
    assert_in_range(flow.limit, 1, MOST);
}

/* --- streams --- */

typedef struct seen {
    es_str all;
    size_t values;
} seen;

static es_status on_value(void *context, const json_t *value, es_error *err)
{
    seen *s = context;
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    (void)err;
    assert_non_null(text);
    es_str_append_format(&s->all, "%s;", text);
    free(text);
    s->values++;
    return ES_OK;
}

/* Feeds the text in pieces of `step` bytes. */
static es_status feed(const char *text, size_t step, seen *out, es_error *err)
{
    es_stream stream = {.context = out, .value = on_value};
    es_status status = ES_OK;
    size_t n = strlen(text);
    for (size_t i = 0; i < n && status == ES_OK; i += step)
        status = es_stream_feed(&stream, text + i, n - i < step ? n - i : step, err);
    if (status == ES_OK)
        status = es_stream_end(&stream, err);
    es_stream_free(&stream);
    return status;
}

static void values_are_the_same_however_the_bytes_are_cut(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"{\"a\":1}\n{\"a\":2}\r\n\n{\"a\":3}", "{\"a\":1};{\"a\":2};{\"a\":3};"},
        {"{\n  \"a\": [\n  1 ]\n}\n", "{\"a\":[1]};"},
        {"data: {\"a\":1}\n\ndata:{\"a\":2}\r\n\r\n: ping\n\ndata: [DONE]\n\n", "{\"a\":1};{\"a\":2};"},
        {": a comment first\n\nevent: x\nid: 7\ndata: {\"a\":\ndata: 1}\n\n", "{\"a\":1};"},
        {"data: {\"a\":1}", "{\"a\":1};"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t step = 1; step < 12; step++) {
            seen s = {0};
            es_error err = {0};
            if (feed(texts[i][0], step, &s, &err) != ES_OK || strcmp(es_str_text(&s.all), texts[i][1]) != 0)
                fail_msg("%zu by %zu: %s, %s", i, step, es_str_text(&s.all), err.message);
            es_str_free(&s.all);
        }
    }
}

static void what_is_no_json_is_told_in_one_line(void **state)
{
    (void)state;
    static const char *const texts[] = {"<!DOCTYPE html>\n<html>",
                                        "{\"a\":1}\nInternal Server Error\n",
                                        "data: {\"a\":\n\n",
                                        "{\"a\": \"\xFF\xFE\"}\n",
                                        "{\"a\":1",
                                        "\x1b[31m{}\n",
                                        "{\"a\":\n\"b\"\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t step = 1; step < 9; step += 7) {
            seen s = {0};
            es_error err = {0};
            assert_int_equal(feed(texts[i], step, &s, &err), ES_ERR_FORMAT);
            assert_non_null(strstr(err.message, "not JSON"));
            for (const char *at = err.message; *at != '\0'; at++)
                assert_in_range((unsigned char)*at, 0x20, 0x7E);
            es_str_free(&s.all);
        }
    }
}

static void lines_and_events_without_end_are_cut(void **state)
{
    (void)state;
    char *block = malloc(65537);
    assert_non_null(block);
    memset(block, ' ', 65536);
    block[65536] = '\0';
    for (size_t form = 0; form < 3; form++) {
        seen s = {0};
        es_stream stream = {.context = &s, .value = on_value};
        es_error err = {0};
        size_t fed = 0;
        es_status status = es_stream_feed(&stream, form == 0 ? "{" : "data: {", form == 0 ? 1 : 7, &err);
        while (status == ES_OK && fed < 100 * ES_STREAM_LINE) {
            status = es_stream_feed(&stream, block, 65536, &err);
            if (status == ES_OK && form == 2) /* an event of many lines */
                status = es_stream_feed(&stream, "\ndata:", 6, &err);
            fed += 65536;
        }
        assert_int_equal(status, ES_ERR_LIMIT);
        assert_true(fed <= ES_STREAM_LINE + 65536 * 2);
        es_stream_free(&stream);
        es_str_free(&s.all);
    }
    free(block);
}

/* --- addresses --- */

static void addresses_are_what_their_owners_mean(void **state)
{
    (void)state;
    static const char *const ollama[][2] = {
        {"", "http://127.0.0.1:11434"},
        {":1234", "http://127.0.0.1:1234"},
        {"0.0.0.0", "http://127.0.0.1:11434"},
        {"box.local", "http://box.local:11434"},
        {"box.local:80/ollama/", "http://box.local:80/ollama"},
        {"[::1]", "http://[::1]:11434"},
        {"[::1]:99", "http://[::1]:99"},
        {"https://example.com", "https://example.com"},
        {" http://0.0.0.0:7/", "http://127.0.0.1:7"},
    };
    static const char *const openai[][2] = {
        {"http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"},
        {"127.0.0.1:8080/", "http://127.0.0.1:8080/v1"},
        {"https://example.com/api/v3/", "https://example.com/api/v3"},
        {"localhost:8000/v1", "http://localhost:8000/v1"},
    };
    for (size_t i = 0; i < sizeof ollama / sizeof *ollama; i++) {
        char *base = NULL;
        assert_int_equal(es_endpoint_ollama(ollama[i][0], &base, NULL), ES_OK);
        assert_string_equal(base, ollama[i][1]);
        free(base);
    }
    for (size_t i = 0; i < sizeof openai / sizeof *openai; i++) {
        char *base = NULL;
        assert_int_equal(es_endpoint_openai(openai[i][0], &base, NULL), ES_OK);
        assert_string_equal(base, openai[i][1]);
        free(base);
    }
}

static void addresses_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"ftp://example.com",
                                        "file:///etc/passwd",
                                        "http://a b/",
                                        "http://me:secret@example.com",
                                        "http://example.com/v1?key=secret",
                                        "http://",
                                        "http://example.com:99999999",
                                        "http://example.com/#x"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *base = NULL;
        es_error err = {0};
        assert_int_equal(es_endpoint_openai(texts[i], &base, &err), ES_ERR_ARGUMENT);
        assert_null(base);
        if (strchr(texts[i], '@') != NULL)
            assert_null(strstr(err.message, "secret"));
        assert_int_equal(es_endpoint_ollama(texts[i], &base, &err), ES_ERR_ARGUMENT);
    }
    char *base = NULL;
    es_error err = {0};
    assert_int_equal(es_endpoint_openai("", &base, &err), ES_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "OPENAI_BASE_URL"));
}

/* --- pictures --- */

static void base64_is_rfc_4648s(void **state)
{
    (void)state;
    static const char *const wanted[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t n = 0; n <= 6; n++) {
        es_str out = {0};
        es_base64(&out, "foobar", n);
        assert_string_equal(es_str_text(&out), wanted[n]);
        es_str_free(&out);
    }
    es_str out = {0};
    uint8_t zeros[3001] = {0};
    es_base64(&out, zeros, sizeof zeros);
    assert_int_equal(out.length, 4004);
    assert_int_equal(strspn(es_str_text(&out), "A"), 4002);
    es_str_free(&out);
}

static void pictures_are_sized_as_the_native_engine_would(void **state)
{
    (void)state;
    uint8_t *rgb = calloc(1000 * 500, 3);
    assert_non_null(rgb);
    es_image image = {1000, 500, rgb};
    es_str out = {0};
    int32_t tokens = 0;
    assert_int_equal(es_picture_base64(&image, 0, &out, &tokens, NULL), ES_OK);
    assert_int_equal(tokens, 31 * 16); /* 992 x 512, a token each 32 x 32 */
    es_str_clear(&out);
    assert_int_equal(es_picture_base64(&image, 131072, &out, &tokens, NULL), ES_OK);
    assert_int_equal(tokens, 16 * 8); /* 512 x 256 */
    es_str_clear(&out);
    image.width = 1000;
    image.height = 1; /* an aspect ratio beyond what the model takes */
    assert_int_not_equal(es_picture_base64(&image, 0, &out, &tokens, NULL), ES_OK);
    es_str_free(&out);
    free(rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_serves_one_by_one_is_asked_one_by_one),
        cmocka_unit_test(a_server_that_batches_gets_as_many_as_pay),
        cmocka_unit_test(a_server_that_refuses_gets_half),
        cmocka_unit_test(values_are_the_same_however_the_bytes_are_cut),
        cmocka_unit_test(what_is_no_json_is_told_in_one_line),
        cmocka_unit_test(lines_and_events_without_end_are_cut),
        cmocka_unit_test(addresses_are_what_their_owners_mean),
        cmocka_unit_test(addresses_that_make_no_sense_are_refused),
        cmocka_unit_test(base64_is_rfc_4648s),
        cmocka_unit_test(pictures_are_sized_as_the_native_engine_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
