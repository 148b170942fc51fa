/* The transport: where requests and the token may go, and whom it believes over TLS. */
#include "hub/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

static es_http *open_for(const char *endpoint, const char *token)
{
    es_http *http;
    es_error err = {0};
    es_http_options options = {.endpoint = endpoint, .token = token};
    if (es_http_open(&http, &options, &err) != ES_OK)
        fail_msg("%s: %s", endpoint, err.message);
    return http;
}

typedef struct journey {
    const char *endpoint, *url;
    bool allowed, with_token;
} journey;

static void the_token_stays_at_its_origin_and_plain_http_on_loopback(void **state)
{
    (void)state;
    static const journey journeys[] = {
        {"https://hub.test", "https://hub.test/a", true, true},
        {"https://hub.test", "https://HUB.test:443/a", true, true},
        {"https://hub.test", "https://hub.test:8443/a", true, false}, /* another port is another origin */
        {"https://hub.test", "https://cdn.hub.test/a", true, false},
        {"https://hub.test", "https://hub.test.evil/a", true, false},
        {"https://hub.test/prefix", "https://hub.test/prefix/a", true, true},
        {"https://hub.test", "http://hub.test/a", false, false}, /* no way down to plain http */
        {"https://hub.test", "http://127.0.0.1:80/a", true, false},
        {"https://hub.test", "http://127.8.9.1/a", true, false},
        {"https://hub.test", "http://[::1]:1/a", true, false},
        {"https://hub.test", "http://localhost/a", true, false},
        {"https://hub.test", "http://localhost.evil/a", false, false},
        {"https://hub.test", "http://127.0.0.1.evil/a", false, false},
        {"https://hub.test", "ftp://hub.test/a", false, false},
        {"https://hub.test", "file:///etc/passwd", false, false},
        {"https://hub.test", "https://user:word@hub.test/a", false, false},
        {"https://hub.test", "/a", false, false},
        {"http://mirror.test", "http://mirror.test/a", true, false}, /* allowed, but not with the token in clear */
        {"http://mirror.test", "http://cdn.test/a", true, false},
        {"http://127.0.0.1:80", "http://127.0.0.1/a", true, true},
        {"http://localhost:8080", "http://localhost:8080/a", true, true},
        {"http://localhost:8080", "http://localhost:8081/a", true, false},
    };
    for (size_t i = 0; i < sizeof journeys / sizeof *journeys; i++) {
        const journey *j = &journeys[i];
        bool with_token;
        es_http *http = open_for(j->endpoint, "hf_secret");
        es_status status = es_http_check_url(http, j->url, &with_token, NULL);
        if ((status == ES_OK) != j->allowed || with_token != j->with_token)
            fail_msg("%s -> %s: allowed %d, with token %d", j->endpoint, j->url, status == ES_OK, with_token);
        es_http_close(http);
    }
}

static void names_are_escaped_for_urls(void **state)
{
    (void)state;
    char *url = es_http_escape("https://h/", "a b/c?d#e%f+\xc3\xa9-._~", "/");
    assert_string_equal(url, "https://h/a%20b/c%3Fd%23e%25f%2B%C3%A9-._~");
    free(url);
    url = es_http_escape("", "refs/pr/1", "");
    assert_string_equal(url, "refs%2Fpr%2F1");
    free(url);
}

/* A certificate that signs itself, made on the spot; false where there is no openssl command. */
static bool make_certificate(const char *dir, char *certificate, char *key, size_t size)
{
    char command[1024];
    snprintf(certificate, size, "%s/cert.pem", dir);
    snprintf(key, size, "%s/key.pem", dir);
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test "
             "-addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s >/dev/null 2>&1",
             key, certificate);
    return system(command) == 0;
}

static void certificates_are_checked_unless_one_is_named(void **state)
{
    (void)state;
    fixture f = {0};
    char dir[] = "/tmp/escriba-tls-XXXXXX", certificate[300], key[300], message[512];
    assert_non_null(mkdtemp(dir));
    if (!make_certificate(dir, certificate, key, sizeof key)) {
        remove_tree(dir);
        skip();
    }
    snprintf(f.scratch, sizeof f.scratch, "%s", dir);
    snprintf(f.cache, sizeof f.cache, "%s/hub", dir);
    fixture_start(&f, certificate, key);
    setenv("HF_HUB_CACHE", f.cache, 1);
    es_status unknown = fixture_pull(&f, "test-org/Tiny-VL", NULL, NULL, message);
    setenv("CURL_CA_BUNDLE", certificate, 1);
    /* Its storage host speaks plain http, on loopback: allowed. */
    es_status named = fixture_pull(&f, "test-org/Tiny-VL", NULL, NULL, NULL);
    unsetenv("CURL_CA_BUNDLE");
    fixture_stop(&f);
    remove_tree(dir);
    assert_int_equal(unknown, ES_ERR_NETWORK);
    assert_non_null(strstr(message, "certificate"));
    assert_int_equal(named, ES_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_token_stays_at_its_origin_and_plain_http_on_loopback),
        cmocka_unit_test(names_are_escaped_for_urls),
        cmocka_unit_test(certificates_are_checked_unless_one_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
