#include "hub/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#define READ_CHUNK 262144        /* bytes */
#define GOOD_PROGRESS (1u << 20) /* bytes of one attempt that make earlier failures forgotten */

/* A file on its way. */
typedef struct arrival {
    const es_blob *blob;
    char *partial; /* path of the growing file */
    int fd, lock_fd;
    uint64_t have; /* bytes in it, all of them in sha */
    es_sha sha;
    bool damaged; /* what is there can't become the file: begin again */
    bool fetched;
    es_http_reply reply; /* the last one */
} arrival;

static bool is_cancelled(const es_blob *blob)
{
    return blob->cancelled != NULL && blob->cancelled(blob->user);
}

static void tell(const es_blob *blob, es_pull_phase phase, uint64_t done)
{
    if (blob->watch != NULL)
        blob->watch(blob->user, phase, done);
}

static void begin_hash(const es_hub_file *file, es_sha *sha)
{
    if (file->is_sha256)
        es_sha256_begin(sha);
    else
        es_sha_git_blob_begin(sha, file->size);
}

static bool hash_matches(const es_hub_file *file, es_sha sha)
{
    char hex[ES_SHA256_HEX + 1];
    es_sha_finish(&sha, hex);
    return strcmp(hex, file->digest) == 0;
}

/* A failed write in words; a full disk is the case that happens. */
static es_status write_error(const arrival *a, int code, es_error *err)
{
    const char *name = a->blob->file->path;
    if (code == ENOSPC || code == EDQUOT || code == EFBIG)
        return es_fail(err, ES_ERR_IO,
                       "disk full while writing %s (%s): %" PRIu64 " bytes are kept, make room and run the same again",
                       name, strerror(code), a->have);
    return es_fail(err, ES_ERR_IO, "cannot write %s: %s", a->partial, strerror(code));
}

/* Empties the growing file. */
static es_status restart(arrival *a, es_error *err)
{
    a->have = 0;
    a->damaged = false;
    begin_hash(a->blob->file, &a->sha);
    if (ftruncate(a->fd, 0) != 0 || lseek(a->fd, 0, SEEK_SET) != 0)
        return write_error(a, errno, err);
    return ES_OK;
}

/* Takes all of fd, up to the file's size, into the hash. */
static es_status hash_contents(const es_blob *blob, int fd, es_sha *sha, uint64_t *have, es_error *err)
{
    uint8_t *chunk = malloc(READ_CHUNK);
    if (chunk == NULL)
        return es_fail_memory(err, "a read buffer", READ_CHUNK);
    es_status status = ES_OK;
    *have = 0;
    begin_hash(blob->file, sha);
    for (;;) {
        ssize_t n = read(fd, chunk, READ_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = es_fail(err, ES_ERR_IO, "cannot read what is here of %s: %s", blob->file->path, strerror(errno));
        if (n > 0 && is_cancelled(blob))
            status = es_fail(err, ES_ERR_CANCELLED, "interrupted");
        if (n <= 0 || status != ES_OK)
            break;
        es_sha_update(sha, chunk, (size_t)n);
        *have += (uint64_t)n;
        tell(blob, ES_PULL_CHECKING, *have);
    }
    free(chunk);
    return status;
}

static es_status append(arrival *a, const uint8_t *data, size_t size, es_error *err)
{
    const es_hub_file *file = a->blob->file;
    if (size > file->size - a->have) {
        a->damaged = true;
        return es_fail(err, ES_ERR_NETWORK, "%s: the server sends more than the %" PRIu64 " bytes of the listing",
                       file->path, file->size);
    }
    a->fetched = true;
    while (size > 0) {
        ssize_t n = write(a->fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return write_error(a, n < 0 ? errno : ENOSPC, err);
        es_sha_update(&a->sha, data, (size_t)n);
        a->have += (uint64_t)n;
        data += n;
        size -= (size_t)n;
    }
    tell(a->blob, ES_PULL_LOADING, a->have);
    return ES_OK;
}

/* One attempt's view of an arrival: the first piece of a body shows where it begins. */
typedef struct attempt {
    arrival *arrival;
    uint64_t offset; /* asked for */
    bool begun;
} attempt;

static es_status receive(void *context, const es_http_reply *reply, const uint8_t *data, size_t size, es_error *err)
{
    attempt *at = context;
    arrival *a = at->arrival;
    if (!at->begun) {
        at->begun = true;
        const es_hub_file *file = a->blob->file;
        uint64_t begins = reply->status == 206 ? reply->first : 0;
        uint64_t whole = reply->status == 206 ? reply->total : reply->length;
        if (whole != UINT64_MAX && whole != file->size) /* some other file, or a page of a gate on the way */
            return es_fail(err, ES_ERR_NETWORK,
                           "%s: the server offers %" PRIu64 " bytes, the hub's listing says %" PRIu64, file->path,
                           whole, file->size);
        if (begins != a->have && begins != 0)
            return es_fail(err, ES_ERR_NETWORK, "%s: the server answers with another part than asked", file->path);
        if (begins != a->have)
            ES_TRY(restart(a, err)); /* the server begins at the beginning: so do we */
    }
    return append(a, data, size, err);
}

/* Attempts until every byte is there, or nothing helps. */
static es_status load_rest(es_http *http, arrival *a, es_error *err)
{
    const es_hub_file *file = a->blob->file;
    for (int failures = 0; a->have < file->size;) {
        attempt at = {.arrival = a, .offset = a->have};
        es_status status = es_http_get(http, a->blob->url, at.offset, receive, &at, &a->reply, err);
        if (status == ES_OK && a->have == file->size)
            break;
        if (status == ES_OK) {
            status = es_fail(err, ES_ERR_NETWORK, "%s: the server ended after %" PRIu64 " of %" PRIu64 " bytes",
                             file->path, a->have, file->size);
            a->reply.retry = true;
        }
        if (a->reply.status == 416 && at.offset > 0)
            a->damaged = true; /* nothing from there on: what we have is not a part of it */
        if (a->damaged || status == ES_ERR_IO || status == ES_ERR_CANCELLED)
            return status;
        if (a->have >= at.offset + GOOD_PROGRESS)
            failures = 0;
        ES_TRY(es_http_pause(http, ++failures, &a->reply, err));
    }
    return ES_OK;
}

/* Loads and checks. A file that comes out wrong is fetched once more from the beginning, whatever was wrong; one that
 * was begun by an earlier run has one more chance, as the fault may have been there. */
static es_status load_checked(es_http *http, arrival *a, es_error *err)
{
    const es_hub_file *file = a->blob->file;
    int chances = a->have > 0 ? 2 : 1;
    for (;;) {
        es_status status = load_rest(http, a, err);
        if (status == ES_OK && hash_matches(file, a->sha))
            return ES_OK;
        if (status == ES_OK) {
            a->damaged = true;
            status = es_fail(err, ES_ERR_NETWORK,
                             "%s: the checksum is wrong, also when fetched again: the server or something on the way "
                             "changes it",
                             file->path);
        }
        if (!a->damaged)
            return status;
        es_error ignored;
        es_status emptied = restart(a, &ignored);
        if (emptied != ES_OK || chances-- == 0)
            return status;
    }
}

/* Takes the lock, waiting for its holder. Where the file system has no locks, lock_fd stays -1. */
static es_status take_lock(arrival *a, es_error *err)
{
    const es_blob *blob = a->blob;
    a->lock_fd = open(blob->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (a->lock_fd < 0)
        return es_fail(err, ES_ERR_IO, "cannot open %s: %s", blob->lock, strerror(errno));
    while (flock(a->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR)
            continue;
        if (errno != EWOULDBLOCK) {
            close(a->lock_fd);
            a->lock_fd = -1;
            return ES_OK;
        }
        if (is_cancelled(blob))
            return es_fail(err, ES_ERR_CANCELLED, "interrupted");
        tell(blob, ES_PULL_WAITING, 0);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return ES_OK;
}

/* Opens the growing file and hashes what an earlier run left. Without a lock its name is this process's own. */
static es_status open_partial(arrival *a, es_error *err)
{
    struct stat st;
    es_str name = {0};
    es_str_append(&name, a->blob->path);
    if (a->lock_fd < 0)
        es_str_append_format(&name, ".%ld", (long)getpid());
    es_str_append(&name, ".incomplete");
    a->partial = es_str_take(&name, err);
    if (a->partial == NULL)
        return ES_ERR_MEMORY;
    a->fd = open(a->partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (a->fd < 0)
        return es_fail(err, ES_ERR_IO, "cannot write %s: %s", a->partial, strerror(errno));
    if (fstat(a->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return es_fail(err, ES_ERR_IO, "cannot write %s: not a regular file", a->partial);
    if ((uint64_t)st.st_size > a->blob->file->size)
        return restart(a, err);
    return hash_contents(a->blob, a->fd, &a->sha, &a->have, err);
}

/* Whether the blob is there: by its size, as its name is its checksum; by its content when that is asked for. */
static es_status is_present(const es_blob *blob, bool *present, es_error *err)
{
    struct stat st;
    *present = stat(blob->path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == blob->file->size;
    if (!*present || !blob->verify)
        return ES_OK;
    int fd = open(blob->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return es_fail(err, ES_ERR_IO, "cannot read %s: %s", blob->path, strerror(errno));
    es_sha sha;
    uint64_t have;
    es_status status = hash_contents(blob, fd, &sha, &have, err);
    close(fd);
    *present = status == ES_OK && have == blob->file->size && hash_matches(blob->file, sha);
    return status;
}

/* Gives the whole, checked file its name, its bytes safely on disk before. */
static es_status put_in_place(arrival *a, es_error *err)
{
    if (fsync(a->fd) != 0)
        return write_error(a, errno, err);
    if (rename(a->partial, a->blob->path) != 0)
        return es_fail(err, ES_ERR_IO, "cannot rename to %s: %s", a->blob->path, strerror(errno));
    return ES_OK;
}

static es_status get_locked(es_http *http, arrival *a, es_error *err)
{
    bool present;
    ES_TRY(is_present(a->blob, &present, err));
    if (present)
        return ES_OK;
    ES_TRY(open_partial(a, err));
    ES_TRY(load_checked(http, a, err));
    return put_in_place(a, err);
}

es_status es_blob_get(es_http *http, const es_blob *blob, bool *fetched, es_http_reply *reply, es_error *err)
{
    arrival a = {.blob = blob, .fd = -1, .lock_fd = -1};
    bool present = false;
    *fetched = false;
    *reply = (es_http_reply){0};
    if (!blob->verify)
        ES_TRY(is_present(blob, &present, err));
    if (present)
        return ES_OK; /* without a lock: the cache may be one that can only be read */
    es_status status = take_lock(&a, err);
    if (status == ES_OK)
        status = get_locked(http, &a, err);
    *fetched = a.fetched;
    *reply = a.reply;
    if (a.fd >= 0)
        close(a.fd);
    if (a.lock_fd >= 0)
        close(a.lock_fd);
    free(a.partial);
    return status;
}
