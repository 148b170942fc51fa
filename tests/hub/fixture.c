#include "fixture.h"

#include <curl/curl.h>
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "hub/hub.h"

static void clear_environment(void)
{
    static const char *const names[] = {
        "HF_HOME",     "HF_HUB_CACHE",   "HUGGINGFACE_HUB_CACHE", "HF_TOKEN",       "HF_TOKEN_PATH",
        "HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",  "XDG_CACHE_HOME", "ESCRIBA_MODELS",
        "http_proxy",  "HTTP_PROXY",     "https_proxy",           "HTTPS_PROXY",    "ALL_PROXY",
        "all_proxy",   "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE",    "SSL_CERT_FILE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

void fixture_start(fixture *f, const char *certificate, const char *key)
{
    int in[2], out[2];
    char script[512], line[64] = "";
    clear_environment();
    signal(SIGPIPE, SIG_IGN);
    snprintf(script, sizeof script, "%s/tests/hub/hub_server.py", getenv("ESCRIBA_SOURCE_ROOT"));
    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
    f->pid = fork();
    if (f->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        if (certificate != NULL)
            execlp("python3", "python3", script, certificate, key, (char *)NULL);
        else
            execlp("python3", "python3", script, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    f->stdin_fd = in[1];
    size_t n = 0;
    for (ssize_t got; n + 1 < sizeof line && (got = read(out[0], line + n, sizeof line - n - 1)) > 0;
         n += (size_t)got) {
        if (memchr(line, '\n', n + (size_t)got) != NULL)
            break;
    }
    close(out[0]);
    assert_int_equal(sscanf(line, "%d %d", &f->port, &f->cdn_port), 2);
    snprintf(f->endpoint, sizeof f->endpoint, "%s://127.0.0.1:%d", certificate != NULL ? "https" : "http", f->port);
}

void fixture_stop(fixture *f)
{
    close(f->stdin_fd);
    waitpid(f->pid, NULL, 0);
}

int fixture_group_setup(void **state)
{
    static fixture f; /* one server a test program */
    const char *base = getenv("TMPDIR");
    fixture_start(&f, NULL, NULL);
    snprintf(f.scratch, sizeof f.scratch, "%s/escriba-hub-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(f.scratch) == NULL)
        return -1;
    snprintf(f.cache, sizeof f.cache, "%s/hub", f.scratch);
    *state = &f;
    return 0;
}

int fixture_group_teardown(void **state)
{
    fixture *f = *state;
    if (f == NULL)
        return 0; /* it never began */
    fixture_stop(f);
    remove_tree(f->scratch);
    return 0;
}

int fixture_setup(void **state)
{
    const fixture *f = *state;
    clear_environment();
    remove_tree(f->scratch);
    if (mkdir(f->scratch, 0700) != 0)
        return -1;
    setenv("HOME", f->scratch, 1);
    setenv("HF_HUB_CACHE", f->cache, 1);
    fixture_faults(f, "");
    return 0;
}

static size_t keep(char *data, size_t one, size_t size, void *user)
{
    (void)one;
    es_str_append_n(user, data, size);
    return size;
}

/* A request to the server's control side. */
static void control(const fixture *f, const char *path, const char *post, size_t size, es_str *answer)
{
    char url[1024];
    CURL *curl = curl_easy_init();
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", f->port, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (post != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, post);
    }
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_cleanup(curl);
}

void fixture_faults(const fixture *f, const char *settings)
{
    char path[512];
    es_str answer = {0};
    snprintf(path, sizeof path, "/_set?%s", settings);
    control(f, path, NULL, 0, &answer);
    es_str_free(&answer);
}

void fixture_listing(const fixture *f, const char *body, size_t size)
{
    es_str answer = {0};
    control(f, "/_listing", body, size, &answer);
    es_str_free(&answer);
}

json_t *fixture_stats(const fixture *f)
{
    es_str answer = {0};
    control(f, "/_stats", NULL, 0, &answer);
    json_t *stats = json_loads(es_str_text(&answer), 0, NULL);
    es_str_free(&answer);
    assert_non_null(stats);
    return stats;
}

long fixture_count(const fixture *f, const char *key)
{
    json_t *stats = fixture_stats(f);
    const json_t *from = stats;
    if (strncmp(key, "fetches.", 8) == 0) {
        from = json_object_get(stats, "fetches");
        key += 8;
    }
    long n = (long)json_integer_value(json_object_get(from, key));
    json_decref(stats);
    return n;
}

es_pull_options fixture_options(const fixture *f)
{
    es_pull_options options = es_pull_default_options();
    options.endpoint = f->endpoint;
    options.token = "";
    options.connect_seconds = 5;
    options.stall_seconds = 1;
    options.backoff_seconds = 0.02;
    return options;
}

es_status fixture_pull(const fixture *f, const char *name, const es_pull_options *options, char *dir, char *message)
{
    es_pull_options own = fixture_options(f);
    es_error err = {0};
    char *path = NULL;
    es_status status = es_hub_pull(name, options != NULL ? options : &own, &path, &err);
    assert_true((status == ES_OK) == (path != NULL));
    if (dir != NULL)
        snprintf(dir, 600, "%s", path != NULL ? path : "");
    if (message != NULL)
        snprintf(message, sizeof err.message, "%s", err.message);
    assert_null(strchr(err.message, '\n')); /* errors are one line */
    free(path);
    return status;
}

void write_text(const char *path, const char *text)
{
    char dir[1024];
    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';
    assert_int_equal(es_mkdirs(dir, NULL), ES_OK);
    assert_int_equal(es_file_write(path, text, strlen(text), 0644, NULL), ES_OK);
}

long file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

/* SHA-256 of Tiny-VL's model.safetensors, from the server's own listing. */
static void find_tiny(const fixture *f, char sha[65])
{
    es_str answer = {0};
    control(f, "/api/models/test-org/Tiny-VL/tree/" COMMIT, NULL, 0, &answer);
    json_t *list = json_loads(es_str_text(&answer), 0, NULL);
    size_t i;
    json_t *entry;
    sha[0] = '\0';
    json_array_foreach(list, i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "path")), "model.safetensors") == 0)
            snprintf(sha, 65, "%s", json_string_value(json_object_get(json_object_get(entry, "lfs"), "oid")));
    }
    json_decref(list);
    es_str_free(&answer);
}

void tiny_blob(const fixture *f, const char *suffix, char *out, size_t size)
{
    char sha[65];
    find_tiny(f, sha);
    snprintf(out, size, "%s/models--test-org--Tiny-VL/blobs/%s%s", f->cache, sha, suffix);
}
