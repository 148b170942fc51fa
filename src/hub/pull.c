#include "hub/pull.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "hub/blob.h"
#include "hub/cache.h"
#include "hub/http.h"
#include "hub/listing.h"

#define MAX_DOCUMENT (32u << 20) /* bytes of one answer of the hub's interface */
#define MAX_PAGES 200            /* of one listing */
#define RATE_WINDOW 0.5          /* seconds between two readings of the rate */

typedef struct pull {
    es_pull_options options;
    es_hub_name name;
    char *endpoint, *token, *cache, *repo_dir, *lock_dir, *blob_dir, *snapshot;
    char commit[ES_SHA1_HEX + 1];
    es_http *http;
    es_hub_files files;
    es_pull_progress now; /* what the watcher is told next */
    uint64_t finished;    /* bytes of the files that are done */
    double read_at;       /* the rate was last read then... */
    uint64_t read_done;   /* ...with so many bytes */
} pull;

es_pull_options es_pull_default_options(void)
{
    return (es_pull_options){.retries = 6, .connect_seconds = 20, .stall_seconds = 30, .backoff_seconds = 0.5};
}

static void tell(pull *p, es_pull_phase phase)
{
    p->now.phase = phase;
    if (p->options.progress != NULL)
        p->options.progress(p->options.user, &p->now);
}

static bool cancelled(void *user)
{
    const pull *p = user;
    return p->options.cancelled != NULL && p->options.cancelled(p->options.user);
}

static void retrying(void *user, const char *why, double seconds)
{
    pull *p = user;
    p->now.note = why;
    p->now.seconds = seconds;
    tell(p, ES_PULL_RETRYING);
    p->now.note = NULL;
    p->now.seconds = 0;
}

/* Smooths the rate over a few seconds; other phases than loading don't count. */
static void measure(pull *p, es_pull_phase phase, uint64_t done)
{
    double now = es_now(), passed = now - p->read_at;
    if (phase != ES_PULL_LOADING || done < p->read_done || p->read_at <= 0) {
        p->read_at = now;
        p->read_done = done;
    } else if (passed >= RATE_WINDOW) {
        double rate = (double)(done - p->read_done) / passed;
        p->now.rate = p->now.rate > 0 ? 0.7 * p->now.rate + 0.3 * rate : rate;
        p->read_at = now;
        p->read_done = done;
    }
}

static void watch(void *user, es_pull_phase phase, uint64_t done)
{
    pull *p = user;
    measure(p, phase, done);
    p->now.file_done = done;
    p->now.done = p->finished + done;
    tell(p, phase);
}

/* What an answer of the hub means for the one who typed the name. */
static es_status explain(const pull *p, const es_http_reply *reply, es_status status, es_error *err)
{
    const char *repo = p->name.repo, *hub = p->endpoint;
    bool token = p->token != NULL && p->token[0] != '\0';
    if (status != ES_ERR_NETWORK || reply->foreign)
        return status;
    if (strcmp(reply->error_code, "GatedRepo") == 0 || reply->status == 403)
        return es_fail(err, ES_ERR_NETWORK, "%s is gated: accept its terms at %s/%s%s", repo, hub, repo,
                       token ? " with the account of your token" : ", then set HF_TOKEN to a token of that account");
    if (strcmp(reply->error_code, "RevisionNotFound") == 0)
        return es_fail(err, ES_ERR_NETWORK, "%s has no revision \"%s\"", repo, p->name.revision);
    if (reply->status == 401)
        return es_fail(err, ES_ERR_NETWORK,
                       token ? "%s refuses the access token for %s, or has no such model (HTTP 401)"
                             : "%s has no model %s, or it is private: check the name, or set HF_TOKEN "
                               "(HTTP 401)",
                       hub, repo);
    if (reply->status == 404)
        return es_fail(err, ES_ERR_NETWORK, "%s has no model %s (HTTP 404): check the name", hub, repo);
    return status;
}

static es_status get_document(pull *p, const char *url, char **body, size_t *size, es_http_reply *reply, es_error *err)
{
    es_status status = es_http_document(p->http, url, MAX_DOCUMENT, body, size, reply, err);
    return status == ES_OK ? ES_OK : explain(p, reply, status, err);
}

/* The commit that the revision means now. */
static es_status find_commit(pull *p, es_error *err)
{
    if (es_hub_is_hex(p->name.revision, ES_SHA1_HEX)) {
        memcpy(p->commit, p->name.revision, sizeof p->commit);
        return ES_OK;
    }
    es_str base = {0};
    char *body = NULL;
    size_t size = 0;
    es_http_reply reply;
    es_str_append_format(&base, "%s/api/models/%s/revision/", p->endpoint, p->name.repo);
    char *url = base.failed ? NULL : es_http_escape(es_str_text(&base), p->name.revision, "");
    es_str_free(&base);
    if (url == NULL)
        return es_fail_memory(err, "a URL", 0);
    es_status status = get_document(p, url, &body, &size, &reply, err);
    if (status == ES_OK)
        status = es_hub_read_revision(body, size, p->commit, err);
    free(body);
    free(url);
    return status;
}

/* All pages of the listing of the commit's top folder. */
static es_status list_files(pull *p, es_error *err)
{
    es_str url = {0};
    es_status status = ES_OK;
    es_str_append_format(&url, "%s/api/models/%s/tree/%s", p->endpoint, p->name.repo, p->commit);
    for (int page = 0; status == ES_OK && url.length > 0; page++) {
        char *body = NULL;
        size_t size = 0;
        es_http_reply reply;
        status = es_str_check(&url, err);
        if (status == ES_OK && page == MAX_PAGES)
            status =
                es_fail(err, ES_ERR_LIMIT, "%s lists %s in more than %d pages", p->endpoint, p->name.repo, MAX_PAGES);
        if (status == ES_OK)
            status = get_document(p, url.data, &body, &size, &reply, err);
        if (status == ES_OK) {
            status = es_hub_read_tree(&p->files, body, size, err);
            es_str_clear(&url);
            es_str_append(&url, reply.next);
        }
        free(body);
    }
    es_str_free(&url);
    return status;
}

static es_status check_files(pull *p, es_error *err)
{
    size_t weights = 0;
    es_hub_files_sort(&p->files);
    for (size_t i = 0; i < p->files.count; i++)
        weights += es_hub_is_weights(p->files.items[i].path) ? 1 : 0;
    if (es_hub_files_find(&p->files, "config.json") == NULL || weights == 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s has no %s: escriba loads safetensors checkpoints", p->name.repo,
                       weights == 0 ? ".safetensors files" : "config.json");
    return ES_OK;
}

static es_status make_path(char **out, const char *dir, const char *name, bool make, es_error *err)
{
    *out = es_path_join(dir, name);
    if (*out == NULL)
        return es_fail_memory(err, "a path", 0);
    return make ? es_mkdirs(*out, err) : ES_OK;
}

static es_status make_folders(pull *p, es_error *err)
{
    char *locks = NULL, *snapshots = NULL;
    es_status status = make_path(&locks, p->cache, ".locks", true, err);
    if (status == ES_OK)
        status = make_path(&p->lock_dir, locks, p->name.folder, true, err);
    if (status == ES_OK)
        status = make_path(&p->blob_dir, p->repo_dir, "blobs", true, err);
    if (status == ES_OK)
        status = make_path(&snapshots, p->repo_dir, "snapshots", false, err);
    if (status == ES_OK)
        status = make_path(&p->snapshot, snapshots, p->commit, true, err);
    free(locks);
    free(snapshots);
    return status;
}

/* Points the snapshot's name at the blob, or moves the blob there on file systems without links. */
static es_status link_file(const pull *p, const es_hub_file *file, const char *blob, es_error *err)
{
    char target[ES_SHA256_HEX + 16], old[ES_SHA256_HEX + 16];
    char *pointer = es_path_join(p->snapshot, file->path);
    es_str temp = {0};
    es_str_append_format(&temp, "%s/.%s.%ld-%zx.tmp", p->snapshot, file->path, (long)getpid(), (size_t)(uintptr_t)p);
    es_status status = pointer == NULL ? es_fail_memory(err, "a path", 0) : es_str_check(&temp, err);
    snprintf(target, sizeof target, "../../blobs/%s", file->digest);
    if (status == ES_OK) {
        ssize_t n = readlink(pointer, old, sizeof old);
        bool linked = n == (ssize_t)strlen(target) && memcmp(old, target, (size_t)n) == 0;
        unlink(temp.data);
        if (!linked && symlink(target, temp.data) == 0) {
            if (rename(temp.data, pointer) != 0)
                status = es_fail(err, ES_ERR_IO, "cannot make %s: %s", pointer, strerror(errno));
        } else if (!linked && (errno == EPERM || errno == EOPNOTSUPP || errno == ENOTSUP || errno == ENOSYS)) {
            if (rename(blob, pointer) != 0)
                status = es_fail(err, ES_ERR_IO, "cannot make %s: %s", pointer, strerror(errno));
        } else if (!linked) {
            status = es_fail(err, ES_ERR_IO, "cannot make %s: %s", pointer, strerror(errno));
        }
    }
    es_str_free(&temp);
    free(pointer);
    return status;
}

/* Whether the snapshot holds the file itself, as it does on file systems without links. */
static bool is_there_unlinked(const pull *p, const es_hub_file *file)
{
    struct stat st;
    char *pointer = es_path_join(p->snapshot, file->path);
    bool there = pointer != NULL && lstat(pointer, &st) == 0 && S_ISREG(st.st_mode) &&
                 (uint64_t)st.st_size == file->size && !p->options.verify;
    free(pointer);
    return there;
}

static es_status load_blob(pull *p, const es_hub_file *file, const char *path, es_error *err)
{
    es_str base = {0}, lock = {0};
    es_str_append_format(&base, "%s/%s/resolve/%s/", p->endpoint, p->name.repo, p->commit);
    es_str_append_format(&lock, "%s/%s.lock", p->lock_dir, file->digest);
    char *url = base.failed || lock.failed ? NULL : es_http_escape(es_str_text(&base), file->path, "");
    es_status status = url == NULL ? es_fail_memory(err, "a URL", 0) : ES_OK;
    if (status == ES_OK) {
        es_blob blob = {.file = file,
                        .url = url,
                        .path = path,
                        .lock = lock.data,
                        .verify = p->options.verify,
                        .watch = watch,
                        .cancelled = cancelled,
                        .user = p};
        es_http_reply reply;
        status = es_blob_get(p->http, &blob, &p->now.fetched, &reply, err);
        if (status != ES_OK && reply.status >= 400)
            status = explain(p, &reply, status, err);
    }
    free(url);
    es_str_free(&lock);
    es_str_free(&base);
    return status;
}

static es_status load_file(pull *p, size_t index, es_error *err)
{
    const es_hub_file *file = &p->files.items[index];
    p->now.file = file->path;
    p->now.index = index;
    p->now.file_total = file->size;
    p->now.fetched = false;
    p->read_at = 0;
    watch(p, ES_PULL_CHECKING, 0);
    if (!is_there_unlinked(p, file)) {
        char *path = es_path_join(p->blob_dir, file->digest);
        if (path == NULL)
            return es_fail_memory(err, "a path", 0);
        es_status status = load_blob(p, file, path, err);
        if (status == ES_OK)
            status = link_file(p, file, path, err);
        free(path);
        ES_TRY(status);
    }
    watch(p, ES_PULL_FILE_DONE, file->size);
    p->finished += file->size;
    return ES_OK;
}

/* Bytes still to come for a file, after what an earlier run left. */
static uint64_t bytes_to_come(const pull *p, const es_hub_file *file)
{
    struct stat st;
    uint64_t here = 0;
    es_str path = {0};
    es_str_append_format(&path, "%s/%s", p->blob_dir, file->digest);
    if (!path.failed && stat(path.data, &st) == 0)
        here = (uint64_t)st.st_size;
    es_str_append(&path, ".incomplete");
    if (here != file->size && !path.failed && stat(path.data, &st) == 0)
        here = (uint64_t)st.st_size;
    es_str_free(&path);
    if (is_there_unlinked(p, file))
        return 0;
    return here < file->size ? file->size - here : 0;
}

static es_status check_space(const pull *p, size_t from, es_error *err)
{
    struct statvfs disk;
    uint64_t need = 0;
    for (size_t i = from; i < p->files.count; i++)
        need += bytes_to_come(p, &p->files.items[i]);
    if (statvfs(p->repo_dir, &disk) != 0)
        return ES_OK; /* no answer is no reason to stop: a full disk is noticed when it happens */
    uint64_t unit = disk.f_frsize != 0 ? disk.f_frsize : disk.f_bsize;
    if (disk.f_bavail >= need / unit + 1 || need == 0)
        return ES_OK;
    return es_fail(err, ES_ERR_IO,
                   "%s needs %.1f MB more, %s has %.1f MB free: make room, or set HF_HUB_CACHE to a folder elsewhere",
                   p->name.repo, (double)need / 1e6, p->cache, (double)disk.f_bavail * (double)unit / 1e6);
}

/* Drops the weights from index `from` on that the model's index does not name, and misses those it names in vain. */
static es_status keep_indexed(pull *p, size_t from, es_error *err)
{
    es_names shards;
    ES_TRY(es_hub_index_shards(p->snapshot, &shards, err));
    es_status status = ES_OK;
    size_t kept = from;
    for (size_t i = 0; status == ES_OK && i < shards.count; i++) {
        if (es_hub_files_find(&p->files, shards.items[i]) == NULL)
            status = es_fail(err, ES_ERR_FORMAT, "%s: its index names %s, which the hub does not list", p->name.repo,
                             shards.items[i]);
    }
    for (size_t i = from; status == ES_OK && shards.count > 0 && i < p->files.count; i++) {
        bool named = false;
        for (size_t j = 0; j < shards.count && !named; j++)
            named = strcmp(shards.items[j], p->files.items[i].path) == 0;
        es_hub_file file = p->files.items[i];
        p->files.items[i] = p->files.items[kept]; /* swap, so that each name is freed once */
        p->files.items[kept] = file;
        kept += named ? 1 : 0;
    }
    for (size_t i = kept; status == ES_OK && shards.count > 0 && i < p->files.count; i++)
        free(p->files.items[i].path);
    if (status == ES_OK && shards.count > 0)
        p->files.count = kept;
    es_names_free(&shards);
    return status;
}

/* Small files first: they tell whether this is a model for us before gigabytes are fetched. */
static es_status load_all(pull *p, es_error *err)
{
    size_t weights = 0;
    es_hub_state state;
    while (weights < p->files.count && !es_hub_is_weights(p->files.items[weights].path))
        p->now.total += p->files.items[weights++].size;
    p->now.count = p->files.count;
    for (size_t i = 0; i < weights; i++) {
        ES_TRY(load_file(p, i, err));
        if (strcmp(p->files.items[i].path, "config.json") != 0)
            continue;
        ES_TRY(es_hub_inspect(p->snapshot, &state, err));
        if (!state.is_model)
            return es_fail(err, ES_ERR_UNSUPPORTED, "%s is a model of type \"%s\": escriba runs qwen3_vl", p->name.repo,
                           state.model_type[0] != '\0' ? state.model_type : "unknown");
    }
    ES_TRY(keep_indexed(p, weights, err));
    p->now.count = p->files.count;
    for (size_t i = weights; i < p->files.count; i++)
        p->now.total += p->files.items[i].size;
    ES_TRY(check_space(p, weights, err));
    for (size_t i = weights; i < p->files.count; i++)
        ES_TRY(load_file(p, i, err));
    ES_TRY(es_hub_inspect(p->snapshot, &state, err));
    if (!state.complete)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s has no %s: escriba can't run it", p->name.repo, state.missing);
    return ES_OK;
}

/* Notes which commit the branch or tag meant. Last, so that an older whole snapshot serves until this one is whole. */
static es_status write_ref(const pull *p, es_error *err)
{
    char known[ES_SHA1_HEX + 1];
    if (strcmp(p->name.revision, p->commit) == 0 ||
        (es_hub_read_ref(p->repo_dir, p->name.revision, known) && strcmp(known, p->commit) == 0))
        return ES_OK;
    es_str path = {0};
    es_str_append_format(&path, "%s/refs/%s", p->repo_dir, p->name.revision);
    es_status status = es_str_check(&path, err);
    if (status == ES_OK) {
        char *slash = strrchr(path.data, '/');
        *slash = '\0';
        status = es_mkdirs(path.data, err);
        *slash = '/';
    }
    if (status == ES_OK)
        status = es_file_write(path.data, p->commit, ES_SHA1_HEX, 0644, err); /* no newline: other clients want none */
    es_str_free(&path);
    return status;
}

/* Without the network: what is here has to do. */
static es_status pull_offline(pull *p, char **dir, es_error *err)
{
    es_hub_state state = {0};
    ES_TRY(es_hub_find_snapshot(dir, p->repo_dir, p->name.revision, err));
    es_status status = *dir != NULL ? es_hub_inspect(*dir, &state, err) : ES_OK;
    if (status == ES_OK && !state.complete)
        status = es_fail(err, ES_ERR_IO, "%s is not whole in %s, and HF_HUB_OFFLINE says not to fetch it", p->name.repo,
                         p->cache);
    if (status != ES_OK) {
        free(*dir);
        *dir = NULL;
    }
    return status;
}

static es_status open_hub(pull *p, es_error *err)
{
    es_http_options options = {.endpoint = p->endpoint,
                               .token = p->token,
                               .connect_seconds = p->options.connect_seconds,
                               .stall_seconds = p->options.stall_seconds,
                               .backoff_seconds = p->options.backoff_seconds,
                               .retries = p->options.retries,
                               .cancelled = cancelled,
                               .retrying = retrying,
                               .user = p};
    return es_http_open(&p->http, &options, err);
}

static es_status pull_online(pull *p, char **dir, es_error *err)
{
    ES_TRY(open_hub(p, err));
    p->now.file = "";
    tell(p, ES_PULL_LISTING);
    ES_TRY(find_commit(p, err));
    ES_TRY(list_files(p, err));
    ES_TRY(check_files(p, err));
    ES_TRY(make_folders(p, err));
    ES_TRY(load_all(p, err));
    ES_TRY(write_ref(p, err));
    *dir = p->snapshot;
    p->snapshot = NULL;
    return ES_OK;
}

static es_status copy(const char *text, char **out, es_error *err)
{
    *out = es_strdup(text);
    if (*out == NULL)
        return es_fail_memory(err, "an option", 0);
    for (size_t n = strlen(*out); n > 1 && (*out)[n - 1] == '/'; n--)
        (*out)[n - 1] = '\0';
    return ES_OK;
}

/* Options where they are given, the environment where not. */
static es_status settle(pull *p, const char *name, es_error *err)
{
    const es_pull_options *o = &p->options;
    ES_TRY(es_hub_name_parse(&p->name, name, err));
    ES_TRY(o->endpoint != NULL ? copy(o->endpoint, &p->endpoint, err) : es_hub_endpoint(&p->endpoint, err));
    ES_TRY(o->token != NULL ? copy(o->token, &p->token, err) : es_hub_token(&p->token, err));
    ES_TRY(o->cache != NULL ? copy(o->cache, &p->cache, err) : es_hub_cache_dir(&p->cache, err));
    return make_path(&p->repo_dir, p->cache, p->name.folder, false, err);
}

es_status es_hub_pull(const char *name, const es_pull_options *options, char **dir, es_error *err)
{
    es_error own = {0};
    es_error *e = err != NULL ? err : &own;
    pull p = {.options = options != NULL ? *options : es_pull_default_options(), .now = {.file = ""}};
    *dir = NULL;
    es_status status = settle(&p, name, e);
    if (status == ES_OK)
        status = es_hub_offline() ? pull_offline(&p, dir, e) : pull_online(&p, dir, e);
    if (status == ES_ERR_CANCELLED)
        es_fail(e, status, "interrupted: what arrived of %s is kept, the same command goes on from there", p.name.repo);
    es_http_close(p.http);
    es_hub_files_free(&p.files);
    free(p.endpoint);
    free(p.token);
    free(p.cache);
    free(p.repo_dir);
    free(p.lock_dir);
    free(p.blob_dir);
    free(p.snapshot);
    return status;
}
