/* shelf.c - files of [head][numbers]. A head is compared whole with what it must be, so its every bit counts. */
#include "engine/shelf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/waiting.h"

#define MAGIC "escriba\n"
#define VERSION 1u
#define ORDER 0x01020304u /* reads otherwise on a machine of the other byte order */
#define SUFFIX ".picture"
#define NAME_DIGITS 32
#define TEMP_TAIL 7                         /* of a file being written: a dot and six letters or digits */
#define TEMP_SECONDS 3600                   /* one as old as that is nobody's any more */
#define KEY_FILE "key"                      /* in the folder */
#define KEY_TRIES 20                        /* while another process may be writing it; 10 ms each */
#define MOST_UNWRITTEN ((int64_t)256 << 20) /* bytes that may wait; more is not kept: a disk that slow is no help */
#define SLACK                                                                                                          \
    16 /* a folder is cleared to 1 - 1/16 of its limit, and looked at anew                                             \
          after as much was written, by whomever */

typedef struct head {
    char magic[8];
    uint32_t order, version;
    char identity[ES_SHA256_HEX];
    es_hash picture;
    int32_t grid_h, grid_w;
    int64_t tokens, dim;
    int32_t levels, number; /* bytes of a number */
    uint64_t size;          /* bytes of the file */
    es_hash sum;            /* of the numbers */
} head;
_Static_assert(sizeof(head) == 152, "no bytes in between");

typedef struct key_file {
    char magic[8];
    uint32_t order, version;
    es_hash key, sum;
} key_file;
_Static_assert(sizeof(key_file) == 48, "no bytes in between");

struct es_wanted {
    es_wanted *next; /* of those that are waiting */
    es_hash hash;
    int32_t grid_h, grid_w;
    atomic_int state;
    bool in_hand, forgotten; /* being read; nobody wants it any more */
    es_vision_output output;
};

/* A picture to be written, then one that was. */
typedef struct unwritten {
    struct unwritten *next;
    es_hash hash;
    const es_vision_output *output;
    void *tag;
    bool written;
} unwritten;

struct es_shelf {
    char *dir, identity[ES_SHA256_HEX + 1];
    int64_t limit, dim;
    int32_t levels;
    es_hash key;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;       /* guards what follows */
    pthread_cond_t wake, ready; /* of the thread; something wanted is decided */
    bool ending;
    es_wanted *wanted;      /* the oldest first */
    size_t coming;          /* wanted and not decided */
    size_t decided, seen;   /* in all, and when somebody last waited */
    unwritten *todo, *done; /* the oldest first */
    int64_t waiting_bytes;  /* of todo and what is being written */
    atomic_size_t done_count;
    es_error failure; /* of writing */
    atomic_bool failed, told;
    /* the thread's own */
    int64_t total, since; /* bytes in the folder when last looked, and written by us since; total -1: never looked */
};

/* --- names and heads --- */

static void name_of(const es_shelf *s, es_hash hash, char name[NAME_DIGITS + sizeof SUFFIX])
{
    es_hash h = es_hash_bytes(hash, s->identity, ES_SHA256_HEX);
    snprintf(name, NAME_DIGITS + sizeof SUFFIX, "%016" PRIx64 "%016" PRIx64 SUFFIX, h.a, h.b);
}

/* Whether a name is one of ours; *temp: of a file that is being written. */
static bool is_ours(const char *name, bool *temp)
{
    size_t length = strlen(name), whole = NAME_DIGITS + sizeof SUFFIX - 1;
    *temp = length == whole + TEMP_TAIL && name[whole] == '.';
    return strspn(name, "0123456789abcdef") == NAME_DIGITS &&
           strncmp(name + NAME_DIGITS, SUFFIX, sizeof SUFFIX - 1) == 0 && (length == whole || *temp);
}

static size_t floats_of(const es_shelf *s, int64_t tokens)
{
    return (size_t)(tokens * s->dim * (1 + s->levels));
}

/* The head of a picture's file, but for the sum. */
static head head_of(const es_shelf *s, es_hash hash, int32_t grid_h, int32_t grid_w)
{
    head h = {.order = ORDER, .version = VERSION, .picture = hash, .grid_h = grid_h, .grid_w = grid_w};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    memcpy(h.identity, s->identity, sizeof h.identity);
    h.tokens = (int64_t)grid_h * grid_w;
    h.dim = s->dim;
    h.levels = s->levels;
    h.number = sizeof(float);
    h.size = sizeof h + floats_of(s, h.tokens) * sizeof(float);
    return h;
}

/* --- the folder --- */

static es_status check_folder(const char *dir, es_error *err)
{
    struct stat st;
    ES_TRY(es_mkdirs_above(dir, err));
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return es_fail(err, ES_ERR_IO, "cannot make directory %s: %s", dir, strerror(errno));
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
        return es_fail(err, ES_ERR_IO, "%s is not a directory", dir);
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return es_fail(err, ES_ERR_IO, "others may write to %s: give a directory of your own, or chmod go-w", dir);
    return ES_OK;
}

static bool read_key(const char *path, es_hash *key)
{
    key_file k;
    char *data;
    size_t size;
    if (es_file_read(path, sizeof k, &data, &size, NULL) != ES_OK)
        return false;
    bool whole = size == sizeof k;
    if (whole)
        memcpy(&k, data, sizeof k);
    free(data);
    if (!whole || memcmp(k.magic, MAGIC, sizeof k.magic) != 0 || k.order != ORDER || k.version != VERSION ||
        !es_hash_equal(k.sum, es_hash_bytes(k.key, MAGIC, sizeof k.magic)))
        return false;
    *key = k.key;
    return true;
}

/* Draws the folder's key, unless it is there. */
static es_status create_key(const char *path, es_error *err)
{
    key_file k = {.order = ORDER, .version = VERSION, .key = es_hash_key()};
    memcpy(k.magic, MAGIC, sizeof k.magic);
    k.sum = es_hash_bytes(k.key, MAGIC, sizeof k.magic);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return ES_OK;
    bool done = fd >= 0 && write(fd, &k, sizeof k) == (ssize_t)sizeof k;
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (!done && fd >= 0)
        unlink(path);
    return done ? ES_OK : es_fail(err, ES_ERR_IO, "cannot write %s: %s", path, strerror(why));
}

static es_status find_key(es_shelf *s, es_error *err)
{
    char *path = es_path_join(s->dir, KEY_FILE);
    if (path == NULL)
        return es_fail_memory(err, "a path", 0);
    es_status status = ES_OK;
    bool found = false;
    for (int i = 0; status == ES_OK && !found && i < 2 * KEY_TRIES; i++) {
        status = create_key(path, err);
        found = status == ES_OK && read_key(path, &s->key);
        if (status != ES_OK || found)
            break;
        if (i == KEY_TRIES)
            unlink(path); /* nobody is writing it: it is damaged, and with it goes what the folder holds */
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    if (status == ES_OK && !found)
        status = es_fail(err, ES_ERR_IO, "cannot read %s", path);
    free(path);
    return status;
}

typedef struct entry {
    char *name; /* borrowed */
    int64_t size;
    struct timespec used;
} entry;

static int by_use(const void *a, const void *b)
{
    const struct timespec x = ((const entry *)a)->used, y = ((const entry *)b)->used;
    if (x.tv_sec != y.tv_sec)
        return x.tv_sec < y.tv_sec ? -1 : 1;
    return x.tv_nsec < y.tv_nsec ? -1 : x.tv_nsec > y.tv_nsec;
}

/* The pictures among the names; what somebody left half-written long ago is removed when `clean`. */
static size_t list_pictures(const char *dir, const es_names *names, bool clean, entry *entries)
{
    size_t n = 0;
    for (size_t i = 0; i < names->count; i++) {
        struct stat st;
        bool temp;
        char *path = is_ours(names->items[i], &temp) ? es_path_join(dir, names->items[i]) : NULL;
        if (path != NULL && lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
#if defined(__APPLE__)
            struct timespec used = st.st_mtimespec;
#else
            struct timespec used = st.st_mtim;
#endif
            if (!temp)
                entries[n++] = (entry){names->items[i], (int64_t)st.st_size, used};
            else if (clean && time(NULL) - used.tv_sec > TEMP_SECONDS)
                unlink(path);
        }
        free(path);
    }
    return n;
}

static void remove_picture(const es_shelf *s, const char *name)
{
    char *path = es_path_join(s->dir, name);
    if (path != NULL)
        unlink(path);
    free(path);
}

/* Looks at the folder anew, and removes what was used longest ago until `size` more bytes fit. */
static void look_again(es_shelf *s, int64_t size)
{
    es_names names;
    if (es_dir_list(s->dir, &names, NULL) != ES_OK)
        return;
    entry *entries = es_calloc(names.count + 1, sizeof *entries);
    size_t n = entries != NULL ? list_pictures(s->dir, &names, true, entries) : 0;
    s->total = s->since = 0;
    for (size_t i = 0; i < n; i++)
        s->total += entries[i].size;
    if (n > 0)
        qsort(entries, n, sizeof *entries, by_use);
    int64_t goal = s->limit - s->limit / SLACK;
    bool over = s->total + size > s->limit;
    for (size_t i = 0; i < n && over && s->total + size > goal; i++) {
        remove_picture(s, entries[i].name);
        s->total -= entries[i].size;
    }
    free(entries);
    es_names_free(&names);
}

void es_shelf_measure(const char *dir, es_shelf_size *size)
{
    es_names names;
    *size = (es_shelf_size){0};
    if (es_dir_list(dir, &names, NULL) != ES_OK)
        return;
    entry *entries = es_calloc(names.count + 1, sizeof *entries);
    size->files = entries != NULL ? list_pictures(dir, &names, false, entries) : 0;
    for (size_t i = 0; i < size->files; i++)
        size->bytes += entries[i].size;
    free(entries);
    es_names_free(&names);
}

/* --- the thread --- */

/* Reads a picture's file; false: it is not there, or not what it must be, and then removed. */
static bool read_picture(const es_shelf *s, const es_wanted *w, const char *path, es_vision_output *out)
{
    head h = head_of(s, w->hash, w->grid_h, w->grid_w);
    char *data = NULL;
    size_t size = 0;
    es_status status = es_file_read(path, (size_t)h.size, &data, &size, NULL);
    if (status != ES_OK && status != ES_ERR_LIMIT) /* absent; or there is no memory, which is not the file's fault */
        return false;
    bool good = status == ES_OK && size == h.size;
    if (good) {
        memcpy(&h.sum, data + offsetof(head, sum), sizeof h.sum);
        good = memcmp(&h, data, sizeof h) == 0 &&
               es_hash_equal(h.sum, es_hash_bytes(s->key, data + sizeof h, size - sizeof h));
    }
    if (!good) {
        free(data);
        unlink(path);
        return false;
    }
    memmove(data, data + sizeof h, size - sizeof h);
    *out = (es_vision_output){.grid_h = w->grid_h,
                              .grid_w = w->grid_w,
                              .tokens = h.tokens,
                              .dim = h.dim,
                              .levels = h.levels,
                              .data = (float *)(void *)data};
    utimensat(AT_FDCWD, path, NULL, 0); /* used now */
    return true;
}

static bool fetch(const es_shelf *s, const es_wanted *w, es_vision_output *out)
{
    char name[NAME_DIGITS + sizeof SUFFIX];
    name_of(s, w->hash, name);
    char *path = es_path_join(s->dir, name);
    bool found = path != NULL && read_picture(s, w, path, out);
    free(path);
    return found;
}

static es_status write_picture(es_shelf *s, unwritten *u, const char *path, es_error *err)
{
    head h = head_of(s, u->hash, u->output->grid_h, u->output->grid_w);
    int64_t size = (int64_t)h.size;
    if (size > s->limit || es_file_exists(path))
        return ES_OK;
    if (s->total < 0 || s->total + s->since + size > s->limit || s->since > s->limit / SLACK)
        look_again(s, size);
    h.sum = es_hash_bytes(s->key, u->output->data, (size_t)h.size - sizeof h);
    es_new_file file;
    es_new_file_begin(&file, path);
    es_new_file_add(&file, &h, sizeof h);
    es_new_file_add(&file, u->output->data, (size_t)h.size - sizeof h);
    ES_TRY(es_new_file_end(&file, 0600, false, err)); /* what a crash leaves unfinished has not its sum */
    s->since += size;
    u->written = true;
    return ES_OK;
}

static es_status put_away(es_shelf *s, unwritten *u, es_error *err)
{
    char name[NAME_DIGITS + sizeof SUFFIX];
    name_of(s, u->hash, name);
    char *path = es_path_join(s->dir, name);
    es_status status = path != NULL ? write_picture(s, u, path, err) : es_fail_memory(err, "a path", 0);
    free(path);
    return status;
}

static void free_wanted(es_wanted *w)
{
    es_vision_output_free(&w->output);
    free(w);
}

/* Reads the first of those wanted. The lock is held, but while it reads. */
static void read_next(es_shelf *s)
{
    es_wanted *w = s->wanted;
    s->wanted = w->next;
    w->in_hand = true;
    pthread_mutex_unlock(&s->lock);
    es_vision_output out = {0};
    bool found = fetch(s, w, &out);
    pthread_mutex_lock(&s->lock);
    w->in_hand = false;
    w->output = out;
    if (w->forgotten) {
        free_wanted(w);
        return;
    }
    s->coming--;
    s->decided++;
    atomic_store(&w->state, found ? ES_WANTED_FOUND : ES_WANTED_ABSENT);
    pthread_cond_broadcast(&s->ready);
}

/* Writes the first of those to be written. The lock is held, but while it writes. */
static void write_next(es_shelf *s)
{
    unwritten *u = s->todo;
    es_error err = {0};
    s->todo = u->next;
    bool give_up = atomic_load(&s->failed);
    pthread_mutex_unlock(&s->lock);
    es_status status = give_up ? ES_OK : put_away(s, u, &err);
    pthread_mutex_lock(&s->lock);
    if (status != ES_OK) {
        s->failure = err;
        atomic_store(&s->failed, true);
    }
    s->waiting_bytes -= (int64_t)(floats_of(s, u->output->tokens) * sizeof(float));
    unwritten **at = &s->done;
    while (*at != NULL)
        at = &(*at)->next;
    *at = u;
    u->next = NULL;
    atomic_fetch_add(&s->done_count, 1);
}

static void *keep_shelf(void *argument)
{
    es_shelf *s = argument;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        if (s->wanted != NULL)
            read_next(s); /* somebody waits for it */
        else if (s->todo != NULL)
            write_next(s);
        else if (s->ending)
            break;
        else
            pthread_cond_wait(&s->wake, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* --- for the engine --- */

static es_status open_parts(es_shelf *s, const es_shelf_options *o, es_error *err)
{
    size_t length = strlen(o->dir);
    while (length > 1 && o->dir[length - 1] == '/')
        length--;
    s->dir = es_strndup(o->dir, length);
    if (s->dir == NULL)
        return es_fail_memory(err, "a path", 0);
    ES_TRY(check_folder(s->dir, err));
    ES_TRY(find_key(s, err));
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the threads that know of them */
    s->has_thread = pthread_create(&s->thread, NULL, keep_shelf, s) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return s->has_thread ? ES_OK : es_fail(err, ES_ERR_MEMORY, "cannot start a thread for the vision cache");
}

es_status es_shelf_open(es_shelf **shelf, const es_shelf_options *options, es_error *err)
{
    es_shelf *s = es_calloc(1, sizeof *s);
    *shelf = NULL;
    if (s == NULL)
        return es_fail_memory(err, "the vision cache", sizeof *s);
    snprintf(s->identity, sizeof s->identity, "%s", options->identity);
    s->limit = options->limit;
    s->dim = options->dim;
    s->levels = options->levels;
    s->total = -1;
    pthread_mutex_init(&s->lock, NULL);
    es_cond_init(&s->wake);
    es_cond_init(&s->ready);
    es_status status = open_parts(s, options, err);
    if (status != ES_OK)
        es_shelf_close(s);
    else
        *shelf = s;
    return status;
}

void es_shelf_close(es_shelf *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    bool written;
    while (es_shelf_kept(s, &written) != NULL)
        continue;
    pthread_cond_destroy(&s->ready);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s->dir);
    free(s);
}

es_hash es_shelf_key(const es_shelf *s)
{
    return s->key;
}

es_wanted *es_shelf_want(es_shelf *s, es_hash hash, int32_t grid_h, int32_t grid_w)
{
    es_wanted *w = es_calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->hash = hash;
    w->grid_h = grid_h;
    w->grid_w = grid_w;
    pthread_mutex_lock(&s->lock);
    es_wanted **at = &s->wanted;
    while (*at != NULL)
        at = &(*at)->next;
    *at = w;
    s->coming++;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    return w;
}

es_wanted_state es_shelf_state(const es_wanted *w)
{
    return (es_wanted_state)atomic_load(&w->state);
}

void es_shelf_take(es_shelf *s, es_wanted *w, es_vision_output *output)
{
    (void)s; /* the thread has let go of it */
    *output = w->output;
    w->output = (es_vision_output){0};
    free_wanted(w);
}

void es_shelf_forget(es_shelf *s, es_wanted *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->coming -= es_shelf_state(w) == ES_WANTED_COMING;
    for (es_wanted **at = &s->wanted; *at != NULL; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            break;
        }
    }
    w->forgotten = w->in_hand; /* then the thread frees it */
    bool free_it = !w->in_hand;
    pthread_mutex_unlock(&s->lock);
    if (free_it)
        free_wanted(w);
}

void es_shelf_wait(es_shelf *s, double seconds)
{
    pthread_mutex_lock(&s->lock);
    if (s->coming > 0 && s->decided == s->seen)
        es_cond_wait_for(&s->ready, &s->lock, seconds);
    s->seen = s->decided;
    pthread_mutex_unlock(&s->lock);
}

bool es_shelf_keep(es_shelf *s, es_hash hash, const es_vision_output *output, void *tag)
{
    int64_t bytes = (int64_t)(floats_of(s, output->tokens) * sizeof(float));
    unwritten *u = atomic_load(&s->failed) ? NULL : es_calloc(1, sizeof *u);
    if (u == NULL)
        return false;
    *u = (unwritten){.hash = hash, .output = output, .tag = tag};
    pthread_mutex_lock(&s->lock);
    bool taken = s->waiting_bytes + bytes <= MOST_UNWRITTEN;
    unwritten **at = &s->todo;
    while (*at != NULL)
        at = &(*at)->next;
    if (taken) {
        *at = u;
        s->waiting_bytes += bytes;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
    if (!taken)
        free(u);
    return taken;
}

void *es_shelf_kept(es_shelf *s, bool *written)
{
    if (atomic_load(&s->done_count) == 0)
        return NULL;
    pthread_mutex_lock(&s->lock);
    unwritten *u = s->done;
    s->done = u->next;
    atomic_fetch_sub(&s->done_count, 1);
    pthread_mutex_unlock(&s->lock);
    void *tag = u->tag;
    *written = u->written;
    free(u);
    return tag;
}

bool es_shelf_failed(es_shelf *s, es_error *why)
{
    if (!atomic_load(&s->failed) || atomic_exchange(&s->told, true))
        return false;
    pthread_mutex_lock(&s->lock);
    *why = s->failure;
    pthread_mutex_unlock(&s->lock);
    return true;
}
