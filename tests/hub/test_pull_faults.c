/* Pulling over a bad network, from a broken or hostile hub, onto a full disk, interrupted, and by two at once: what
 * arrives is whole and right, or one line says what is wrong and the next attempt goes on from there. */
#include "fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/sha.h"
#include "base/thread.h"
#include "hub/hub.h"

#define TINY "test-org/Tiny-VL"

/* The weights are whole and right, and nothing is left growing. */
static void expect_whole(const fixture *f)
{
    char blob[700], *data, hex[ES_SHA256_HEX + 1];
    size_t size;
    es_sha sha;
    tiny_blob(f, "", blob, sizeof blob);
    assert_int_equal(es_file_read(blob, 1 << 24, &data, &size, NULL), ES_OK);
    es_sha256_begin(&sha);
    es_sha_update(&sha, data, size);
    es_sha_finish(&sha, hex);
    free(data);
    assert_string_equal(hex, strrchr(blob, '/') + 1);
    tiny_blob(f, ".incomplete", blob, sizeof blob);
    assert_int_equal(file_size(blob), -1);
}

static long growing_size(const fixture *f)
{
    char blob[700];
    tiny_blob(f, ".incomplete", blob, sizeof blob);
    return file_size(blob);
}

static void expect_failure(const fixture *f, es_status status, const char *words)
{
    char message[512], blob[700];
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, message), status);
    if (strstr(message, words) == NULL)
        fail_msg("\"%s\" should say \"%s\"", message, words);
    tiny_blob(f, "", blob, sizeof blob);
    assert_int_equal(file_size(blob), -1); /* nothing unchecked has the name */
}

/* --- the network --- */

static void cut_connections_are_gone_on_with(void **state)
{
    const fixture *f = *state;
    fixture_faults(f, "file=model.safetensors&cut=700000&cut_times=4");
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    expect_whole(f);
    assert_int_equal(fixture_count(f, "ranges"), 4);
    long body = fixture_count(f, "body_bytes");
    assert_in_range(body, TINY_SIZE, TINY_SIZE + 90000); /* every byte once: the other files are 80 kB */
}

static void cuts_anywhere_do_no_harm(void **state)
{
    const fixture *f = *state;
    for (int i = 0; i < 4; i++) {
        remove_tree(f->cache);
        fixture_faults(f, "cut=-1&cut_times=4");
        assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
        expect_whole(f);
    }
}

static void a_server_that_always_cuts_ends_in_an_error_and_keeps_the_bytes(void **state)
{
    const fixture *f = *state;
    fixture_faults(f, "file=model.safetensors&cut=1000&cut_times=99");
    expect_failure(f, ES_ERR_NETWORK, "127.0.0.1");
    assert_int_equal(fixture_count(f, "fetches.model.safetensors"), 7); /* the first and 6 more */
    assert_int_equal(growing_size(f), 7000);
    fixture_faults(f, "");
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    expect_whole(f);
    assert_int_equal(fixture_count(f, "body_bytes"), TINY_SIZE - 7000);
}

static void a_transfer_that_stands_still_is_cut_and_gone_on_with(void **state)
{
    const fixture *f = *state;
    fixture_faults(f, "file=model.safetensors&stall=1&stall_times=1");
    double began = es_now();
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    assert_true(es_now() - began < 20);
    expect_whole(f);
    assert_int_equal(fixture_count(f, "ranges"), 1);
}

static void busy_servers_are_asked_again(void **state)
{
    const fixture *f = *state;
    static const char *const faults[] = {"status=500&status_times=2&status_api=1", "status=503&status_times=2",
                                         "status=504&status_times=2&status_cdn=1", "status=429&status_times=1",
                                         "status=403&status_times=1&status_cdn=1"}; /* a link that ran out */
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        remove_tree(f->cache);
        fixture_faults(f, faults[i]);
        assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
        expect_whole(f);
    }
}

static void retry_after_is_waited_for(void **state)
{
    const fixture *f = *state;
    fixture_faults(f, "status=429&status_times=1&retry_after=1&status_api=1");
    double began = es_now();
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    assert_true(es_now() - began >= 1);
    /* But not for an hour. */
    remove_tree(f->cache);
    fixture_faults(f, "status=503&status_times=9&retry_after=3600&file=model.safetensors");
    began = es_now();
    expect_failure(f, ES_ERR_NETWORK, "asks to come back in 3600 s");
    assert_true(es_now() - began < 2);
}

static void a_server_that_stays_busy_ends_in_an_error(void **state)
{
    const fixture *f = *state;
    fixture_faults(f, "status=503&status_times=99&file=model.safetensors");
    expect_failure(f, ES_ERR_NETWORK, "HTTP status 503");
}

static void nobody_there_is_one_line(void **state)
{
    const fixture *f = *state;
    char message[512];
    es_pull_options options = fixture_options(f);
    options.endpoint = "http://127.0.0.1:1";
    options.retries = 2;
    assert_int_equal(fixture_pull(f, TINY, &options, NULL, message), ES_ERR_NETWORK);
    assert_non_null(strstr(message, "http://127.0.0.1:1"));
}

static void redirects_without_end_are_given_up(void **state)
{
    const fixture *f = *state;
    fixture_faults(f, "file=model.safetensors&loop=1");
    expect_failure(f, ES_ERR_NETWORK, "redirects");
    assert_in_range(fixture_count(f, "requests"), 10, 40);
}

static void redirects_to_other_protocols_are_refused(void **state)
{
    const fixture *f = *state;
    static const char *const places[] = {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:1/",
                                         "http://user:pass@127.0.0.1:1/x"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char settings[128];
        snprintf(settings, sizeof settings, "file=model.safetensors&location=%s", places[i]);
        remove_tree(f->cache);
        fixture_faults(f, settings);
        char message[512];
        assert_int_not_equal(fixture_pull(f, TINY, NULL, NULL, message), ES_OK);
        assert_true(growing_size(f) <= 0);
    }
}

/* --- what a server says against what it sends --- */

static void a_wrong_checksum_is_fetched_again_once(void **state)
{
    const fixture *f = *state;
    fixture_faults(f, "file=model.safetensors&corrupt_times=1");
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    expect_whole(f);
    assert_int_equal(fixture_count(f, "fetches.model.safetensors"), 2);

    remove_tree(f->cache);
    fixture_faults(f, "file=model.safetensors&corrupt_times=99");
    expect_failure(f, ES_ERR_NETWORK, "checksum is wrong");
    assert_int_equal(fixture_count(f, "fetches.model.safetensors"), 2);

    remove_tree(f->cache);
    fixture_faults(f, "file=config.json&corrupt_times=99"); /* git's SHA-1 guards the small ones */
    expect_failure(f, ES_ERR_NETWORK, "config.json: the checksum is wrong");
}

static void leftovers_of_another_file_are_noticed(void **state)
{
    const fixture *f = *state;
    char growing[700];
    tiny_blob(f, ".incomplete", growing, sizeof growing);
    write_text(growing, "this is not how the weights begin");
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    expect_whole(f);
    /* Longer than the file: begun again at once. */
    remove_tree(f->cache);
    write_text(growing, "");
    assert_int_equal(truncate(growing, TINY_SIZE + 5), 0);
    fixture_faults(f, "");
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    expect_whole(f);
    assert_int_equal(fixture_count(f, "fetches.model.safetensors"), 1);
}

static void an_answer_of_the_whole_to_a_range_begins_again(void **state)
{
    const fixture *f = *state;
    fixture_faults(f, "file=model.safetensors&cut=1000000&cut_times=1&ignore_range=1");
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    expect_whole(f);
    remove_tree(f->cache);
    fixture_faults(f, "file=model.safetensors&cut=1000000&cut_times=1&wrong_range=1"); /* 206, but from byte 0 */
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    expect_whole(f);
}

static void lies_about_sizes_are_caught(void **state)
{
    const fixture *f = *state;
    fixture_faults(f, "file=model.safetensors&size_delta=1000"); /* the listing lies */
    expect_failure(f, ES_ERR_NETWORK, "the hub's listing says");
    fixture_faults(f, "file=model.safetensors&size_delta=-1000");
    expect_failure(f, ES_ERR_NETWORK, "the hub's listing says");
    fixture_faults(f, "file=model.safetensors&extra=5000"); /* more than announced, without a length */
    expect_failure(f, ES_ERR_NETWORK, "sends more than");
    fixture_faults(f, "file=model.safetensors&short=5000");
    expect_failure(f, ES_ERR_NETWORK, "the hub's listing says");
    fixture_faults(f, "file=model.safetensors&other_size=5000");
    expect_failure(f, ES_ERR_NETWORK, "the hub's listing says");
}

static void a_login_page_in_place_of_a_file_spoils_nothing(void **state)
{
    const fixture *f = *state;
    fixture_faults(f, "file=model.safetensors&cut=2000000&cut_times=9");
    es_pull_options options = fixture_options(f);
    options.retries = 0;
    assert_int_equal(fixture_pull(f, TINY, &options, NULL, NULL), ES_ERR_NETWORK);
    assert_int_equal(growing_size(f), 2000000);
    fixture_faults(f, "gate_page=1");
    expect_failure(f, ES_ERR_NETWORK, "the server offers");
    assert_int_equal(growing_size(f), 2000000); /* kept for a better network */
    fixture_faults(f, "");
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    expect_whole(f);
    assert_int_equal(fixture_count(f, "body_bytes"), TINY_SIZE - 2000000);
}

static void hostile_listings_write_nothing(void **state)
{
    const fixture *f = *state;
#define ENTRY(path) "{\"type\":\"file\",\"path\":\"" path "\",\"size\":5,\"oid\":\"" COMMIT "\"}"
    static const char *const listings[] = {
        "[" ENTRY("../../../evil.safetensors") "]",
        "[" ENTRY("/tmp/evil.safetensors") "]",
        "[" ENTRY("a/../../evil.safetensors") "]",
        "[" ENTRY("config.json\\u0000.safetensors") "]",
        "[" ENTRY("..\\\\evil.safetensors") "]",
        "[" ENTRY("config.json") "," ENTRY("config.json") "]",
        "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":-1,\"oid\":\"" COMMIT "\"}]",
        "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":1e400,\"oid\":\"" COMMIT "\"}]",
        "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":9223372036854775807,\"oid\":\"" COMMIT "\"}]",
        "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":5,\"oid\":\"../../../../../../../../../../../../../"
        "x\"}]",
        "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":5}]",
        "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":5,\"oid\":\"x\",\"lfs\":{\"oid\":\"" COMMIT
        "\",\"size\":5}}]",
        "[1]",
        "{}",
        "[",
        "",
        "null",
        "[{\"path\":[]}]",
    };
    for (size_t i = 0; i < sizeof listings / sizeof *listings; i++) {
        char message[512];
        fixture_listing(f, listings[i], strlen(listings[i]));
        es_status status = fixture_pull(f, TINY, NULL, NULL, message);
        if (status != ES_ERR_FORMAT)
            fail_msg("listing %zu: status %d, %s", i, (int)status, message);
    }
    assert_int_equal(file_size(f->cache), -1); /* not even the cache was made */
}

static void listings_without_end_are_bounded(void **state)
{
    const fixture *f = *state;
    char message[512];
    size_t size = 40u << 20;
    char *big = malloc(size);
    assert_non_null(big);
    memset(big, ' ', size);
    fixture_listing(f, big, size);
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, message), ES_ERR_LIMIT);
    size_t n = 0;
    big[n++] = '[';
    for (int i = 0; i < 200000; i++) {
        memcpy(big + n, "{\"path\":\"a\"},", 13);
        n += 13;
    }
    memcpy(big + n - 1, "]", 1);
    fixture_listing(f, big, n);
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, message), ES_ERR_LIMIT);
    free(big);
}

/* --- the disk --- */

/* A pull in a process of its own, so that limits and signals stay there: its exit code is the status, or 100 when the
 * message lacks the words (NULL: any). */
static pid_t start_child(const fixture *f, void (*prepare)(void), const char *words)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    es_error err = {0};
    char *dir = NULL;
    es_pull_options options = fixture_options(f);
    if (prepare != NULL)
        prepare();
    es_status status = es_hub_pull(TINY, &options, &dir, &err);
    free(dir);
    _exit(words == NULL || strstr(err.message, words) != NULL ? (int)status : 100);
}

static int end_child(pid_t pid)
{
    int code = 0;
    waitpid(pid, &code, 0);
    return WIFEXITED(code) ? WEXITSTATUS(code) : 1000 + code;
}

static void limit_files_to_a_megabyte(void)
{
    struct rlimit limit = {.rlim_cur = 1000000, .rlim_max = 1000000};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void a_disk_that_fills_up_is_one_line_and_can_be_gone_on_with(void **state)
{
    const fixture *f = *state;
    assert_int_equal(end_child(start_child(f, limit_files_to_a_megabyte, "disk full while writing model.safetensors")),
                     ES_ERR_IO);
    long kept = growing_size(f);
    assert_int_equal(kept, 1000000);
    fixture_faults(f, "");
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    expect_whole(f);
    assert_int_equal(fixture_count(f, "body_bytes"), TINY_SIZE - kept);
}

static void folders_that_cannot_be_written_are_one_line(void **state)
{
    const fixture *f = *state;
    char message[512];
    es_pull_options options = fixture_options(f);
    write_text(f->cache, "a file where the cache should be");
    assert_int_equal(fixture_pull(f, TINY, &options, NULL, message), ES_ERR_IO);
    assert_non_null(strstr(message, "cannot make directory"));
}

/* --- interrupted, and two at once --- */

typedef struct stopper {
    uint64_t at; /* bytes of the weights after which to stop */
    bool stop;
} stopper;

static void stop_later(void *user, const es_pull_progress *p)
{
    stopper *s = user;
    s->stop |= strcmp(p->file, "model.safetensors") == 0 && p->phase == ES_PULL_LOADING && p->file_done >= s->at;
}

static bool is_stopped(void *user)
{
    const stopper *s = user;
    return s->stop;
}

static void a_cancelled_pull_is_gone_on_with_byte_for_byte(void **state)
{
    const fixture *f = *state;
    char message[512];
    stopper s = {.at = 1500000};
    es_pull_options options = fixture_options(f);
    options.progress = stop_later;
    options.cancelled = is_stopped;
    options.user = &s;
    fixture_faults(f, "file=model.safetensors&rate=4000000");
    assert_int_equal(fixture_pull(f, TINY, &options, NULL, message), ES_ERR_CANCELLED);
    assert_non_null(strstr(message, "the same command goes on from there"));
    long kept = growing_size(f);
    assert_in_range(kept, 1500000, TINY_SIZE - 1);
    fixture_faults(f, "");
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    expect_whole(f);
    assert_int_equal(fixture_count(f, "body_bytes"), TINY_SIZE - kept);
}

static bool always(void *user)
{
    (void)user;
    return true;
}

static void cancelling_ends_a_pause_too(void **state)
{
    const fixture *f = *state;
    es_pull_options options = fixture_options(f);
    options.cancelled = always;
    options.backoff_seconds = 60;
    options.endpoint = "http://127.0.0.1:1";
    double began = es_now();
    assert_int_equal(fixture_pull(f, TINY, &options, NULL, NULL), ES_ERR_CANCELLED);
    assert_true(es_now() - began < 2);
}

static void a_killed_pull_leaves_nothing_unchecked(void **state)
{
    const fixture *f = *state;
    fixture_faults(f, "file=model.safetensors&rate=2000000");
    pid_t pid = start_child(f, NULL, NULL);
    for (int i = 0; i < 500 && growing_size(f) < 300000; i++)
        usleep(10000);
    kill(pid, SIGKILL);
    assert_int_equal(end_child(pid), 1000 + SIGKILL);
    fixture_faults(f, "");
    assert_int_equal(fixture_pull(f, TINY, NULL, NULL, NULL), ES_OK);
    expect_whole(f);
}

static void two_at_once_fetch_every_byte_once(void **state)
{
    const fixture *f = *state;
    pid_t pids[3];
    fixture_faults(f, "file=model.safetensors&rate=4000000");
    for (int i = 0; i < 3; i++)
        pids[i] = start_child(f, NULL, NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(end_child(pids[i]), ES_OK);
    expect_whole(f);
    assert_int_equal(fixture_count(f, "fetches.model.safetensors"), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, fixture_setup)
    const struct CMUnitTest tests[] = {
        T(cut_connections_are_gone_on_with),
        T(cuts_anywhere_do_no_harm),
        T(a_server_that_always_cuts_ends_in_an_error_and_keeps_the_bytes),
        T(a_transfer_that_stands_still_is_cut_and_gone_on_with),
        T(busy_servers_are_asked_again),
        T(retry_after_is_waited_for),
        T(a_server_that_stays_busy_ends_in_an_error),
        T(nobody_there_is_one_line),
        T(redirects_without_end_are_given_up),
        T(redirects_to_other_protocols_are_refused),
        T(a_wrong_checksum_is_fetched_again_once),
        T(leftovers_of_another_file_are_noticed),
        T(an_answer_of_the_whole_to_a_range_begins_again),
        T(lies_about_sizes_are_caught),
        T(a_login_page_in_place_of_a_file_spoils_nothing),
        T(hostile_listings_write_nothing),
        T(listings_without_end_are_bounded),
        T(a_disk_that_fills_up_is_one_line_and_can_be_gone_on_with),
        T(folders_that_cannot_be_written_are_one_line),
        T(a_cancelled_pull_is_gone_on_with_byte_for_byte),
        T(cancelling_ends_a_pause_too),
        T(a_killed_pull_leaves_nothing_unchecked),
        T(two_at_once_fetch_every_byte_once),
    };
    return cmocka_run_group_tests(tests, fixture_group_setup, fixture_group_teardown);
}
