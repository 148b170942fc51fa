/* The session store: what is kept and found again; kill -9, several processes, damaged files and full disks. */
#include "session/store.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/file.h"
#include "session/session.h"

typedef struct place {
    char dir[64], path[96];
} place;

static int make_place(void **state)
{
    static place p;
    strcpy(p.dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/escriba-XXXXXX" : "/tmp/escriba-XXXXXX"); /* no waiting */
    if (mkdtemp(p.dir) == NULL)
        return -1;
    snprintf(p.path, sizeof p.path, "%s/store.db", p.dir);
    *state = &p;
    return 0;
}

static int drop_place(void **state)
{
    place *p = *state;
    es_names names = {0};
    assert_int_equal(es_dir_list(p->dir, &names, NULL), ES_OK);
    for (size_t i = 0; i < names.count; i++) {
        char *path = es_path_join(p->dir, names.items[i]);
        unlink(path);
        free(path);
    }
    es_names_free(&names);
    return rmdir(p->dir);
}

static es_store *open_store(const char *path)
{
    es_store *store;
    es_error err = {0};
    if (es_store_open(&store, path, &err) != ES_OK)
        fail_msg("%s", err.message);
    return store;
}

static const char *const apps[] = {"VS Code", "Terminal"};
static const char *const topics[] = {"pars\"er", "caf\xC3\xA9"};

static es_stored some(int64_t frame, int64_t method, const char *description)
{
    es_stored s = {.frame = frame, .method = method, .raw_text = "raw"};
    s.moment = (es_moment){.activity = "coding", .description = description, .apps = apps, .app_count = 2};
    s.moment.topics = topics;
    s.moment.topic_count = 2;
    return s;
}

typedef struct keys {
    int64_t recording, method;
} keys;

static es_status begin(es_store *store, keys *ids, es_error *err)
{
    es_recording r = {.path = "/tmp/a.mp4", .size = 1000, .mtime_ns = 5, .seconds = 400};
    ES_TRY(es_store_recording(store, &r, err));
    ids->recording = r.id;
    return es_store_method(store, "tiny", "what?", "width=1024", &ids->method, err);
}

static es_status new_frame(es_store *store, const keys *ids, int64_t at_ms, int64_t *frame, es_error *err)
{
    char content[17];
    snprintf(content, sizeof content, "%016llx", (unsigned long long)at_ms);
    es_sample sample = {.recording = ids->recording,
                        .at_ms = at_ms,
                        .content_hash = content,
                        .perceptual_hash = UINT64_MAX,
                        .filled = at_ms % 10000 == 3000};
    return es_store_frame(store, &sample, frame, err);
}

static es_status put(es_store *store, const keys *ids, int64_t at_ms, const char *text, bool *added, es_error *err)
{
    int64_t frame;
    ES_TRY(new_frame(store, ids, at_ms, &frame, err));
    es_stored s = some(frame, ids->method, text);
    return es_store_put(store, &s, added, err);
}

static bool count_stored(void *context, const es_stored *stored)
{
    assert_true(stored->moment.description != NULL);
    ++*(size_t *)context;
    return true;
}

static bool check_stored(void *context, const es_stored *s)
{
    size_t *n = context;
    assert_true(s->moment.at == 10.0 * (double)*n);
    assert_string_equal(s->moment.activity, "coding");
    assert_int_equal(s->moment.app_count, 2);
    assert_string_equal(s->moment.apps[1], "Terminal");
    assert_string_equal(s->moment.topics[0], "pars\"er");
    assert_string_equal(s->moment.topics[1], "caf\xC3\xA9");
    assert_string_equal(s->raw_text, "raw");
    ++*n;
    return true;
}

static bool count_listed(void *context, const es_listed *listed)
{
    *(es_listed *)context = *listed;
    return true;
}

static void what_is_put_is_found_again_once(void **state)
{
    const place *p = *state;
    es_error err;
    struct stat st;
    for (int round = 0; round < 2; round++) { /* the second finds everything there */
        es_store *store = open_store(p->path);
        keys ids, again;
        bool added;
        size_t n = 0;
        assert_int_equal(begin(store, &ids, &err), ES_OK);
        assert_int_equal(begin(store, &again, &err), ES_OK);
        assert_memory_equal(&ids, &again, sizeof ids);
        for (int64_t i = 0; i < 5; i++) {
            assert_int_equal(put(store, &ids, (4 - i) * 10000, "first", &added, &err), ES_OK);
            assert_int_equal(added, round == 0);
        }
        assert_int_equal(es_store_each(store, ids.recording, ids.method, check_stored, &n, &err), ES_OK);
        assert_int_equal(n, 5);
        assert_int_equal(es_store_each(store, ids.recording, ids.method + 1, check_stored, &n, &err), ES_OK);
        assert_int_equal(n, 5);
        es_listed listed = {0};
        assert_int_equal(es_store_list(store, count_listed, &listed, &err), ES_OK);
        assert_true(listed.frames == 5 && listed.observations == 5 && listed.recording.seconds == 400);
        assert_int_equal(es_store_check(store, &err), ES_OK);
        es_store_close(store);
    }
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static bool count_hits(void *context, const es_hit *hit)
{
    assert_string_equal(hit->path, "/tmp/a.mp4");
    ++*(size_t *)context;
    return true;
}

static size_t hits(es_store *store, const char *text)
{
    size_t n = 0;
    es_error err = {0};
    if (es_store_search(store, text, 0, 100, count_hits, &n, &err) != ES_OK)
        fail_msg("%s: %s", text, err.message);
    return n;
}

static void search_takes_words_not_syntax(void **state)
{
    const place *p = *state;
    es_store *store = open_store(p->path);
    keys ids;
    bool added;
    assert_int_equal(begin(store, &ids, NULL), ES_OK);
    assert_int_equal(put(store, &ids, 0, "The user edits parser.c and its tests", &added, NULL), ES_OK);
    assert_int_equal(put(store, &ids, 1, "The user reads about LLVM", &added, NULL), ES_OK);
    assert_int_equal(hits(store, "parser"), 1);
    assert_int_equal(hits(store, "user edi"), 1);
    assert_int_equal(hits(store, "USER"), 2);
    assert_int_equal(hits(store, "cafe"), 2);
    assert_int_equal(hits(store, "parser llvm"), 0);
    assert_int_equal(hits(store, ""), 0);
    static const char *const hostile[] = {"\"",
                                          "a OR b",
                                          "NEAR(",
                                          "description:user",
                                          "*",
                                          "^user",
                                          "-",
                                          "(user",
                                          "\"\"\"",
                                          "user\" OR \"llvm",
                                          "'; DROP TABLE found; --",
                                          "{a b} : c",
                                          "\xFF\xFE",
                                          "+ + +"};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
        hits(store, hostile[i]);
    assert_int_equal(hits(store, "user"), 2);
    es_store_close(store);
}

static bool file_holds(const char *path, const char *text)
{
    char *data = NULL;
    size_t size = 0;
    if (es_file_read(path, 1 << 26, &data, &size, NULL) != ES_OK)
        return false;
    bool holds = memmem(data, size, text, strlen(text)) != NULL;
    free(data);
    return holds;
}

static void blocks_are_replaced_and_a_forgotten_recording_leaves_nothing(void **state)
{
    const place *p = *state;
    es_store *store = open_store(p->path);
    keys ids;
    bool added;
    char *text;
    es_listed listed = {0};
    es_moment moments[20];
    es_outline outline;
    assert_int_equal(begin(store, &ids, NULL), ES_OK);
    for (size_t i = 0; i < 20; i++) {
        moments[i] =
            (es_moment){.at = 10 * (double)i, .activity = i < 10 ? "coding" : "meeting", .apps = &apps[i / 10]};
        moments[i].app_count = 1;
        assert_int_equal(put(store, &ids, (int64_t)i * 10000, "zyxwvut secret", &added, NULL), ES_OK);
    }
    assert_int_equal(es_outline_make(&outline, moments, 20, NULL, NULL), ES_OK);
    assert_int_equal(outline.block_count, 2);
    for (int round = 0; round < 3; round++)
        assert_int_equal(es_store_put_outline(store, ids.recording, ids.method, &outline, NULL), ES_OK);
    assert_int_equal(es_store_list(store, count_listed, &listed, NULL), ES_OK);
    assert_int_equal(listed.blocks, 2);
    assert_int_equal(es_store_summary(store, ids.recording, ids.method, "card", &text, NULL), ES_OK);
    assert_null(text);
    for (int round = 0; round < 2; round++)
        assert_int_equal(es_store_put_summary(store, ids.recording, ids.method, "card", "blocks", "zyxwvut card", NULL),
                         ES_OK);
    assert_int_equal(es_store_summary(store, ids.recording, ids.method, "card", &text, NULL), ES_OK);
    assert_string_equal(text, "zyxwvut card");
    free(text);
    assert_int_equal(es_store_forget(store, ids.recording, NULL), ES_OK);
    memset(&listed, 0, sizeof listed);
    assert_int_equal(es_store_list(store, count_listed, &listed, NULL), ES_OK);
    assert_int_equal(listed.recording.id, 0);
    assert_int_equal(hits(store, "zyxwvut"), 0);
    assert_int_equal(es_store_check(store, NULL), ES_OK);
    es_store_close(store);
    assert_false(file_holds(p->path, "zyxwvut"));
    es_outline_free(&outline);
}

#define FRAMES 60

/* Works through the frames as a session does; tells the pipe each frame whose observation is kept. */
static void work(const char *path, int acks, bool pause)
{
    es_store *store;
    keys ids;
    bool left = true;
    if (es_store_open(&store, path, NULL) != ES_OK || begin(store, &ids, NULL) != ES_OK)
        _exit(3);
    while (left) {
        left = false;
        for (unsigned char i = 0; i < FRAMES; i++) {
            int64_t frame;
            es_claim claim;
            bool added;
            if (new_frame(store, &ids, i * 1000, &frame, NULL) != ES_OK ||
                es_store_claim(store, frame, ids.method, 60, &claim, NULL) != ES_OK)
                _exit(4);
            left = left || claim == ES_CLAIM_TAKEN;
            if (claim != ES_CLAIM_MINE)
                continue;
            if (pause)
                usleep(300);
            es_stored s = some(frame, ids.method, "seen");
            if (es_store_put(store, &s, &added, NULL) != ES_OK || !added)
                _exit(5); /* a claim of ours makes the observation ours */
            if (write(acks, &i, 1) != 1)
                _exit(6);
        }
        if (left)
            usleep(1000);
    }
    es_store_close(store);
    _exit(0);
}

static size_t read_acks(int fd, unsigned seen[FRAMES])
{
    unsigned char i;
    size_t n = 0;
    while (read(fd, &i, 1) == 1)
        seen[i]++, n++;
    return n;
}

static size_t stored_count(const char *path)
{
    es_store *store = open_store(path);
    es_error err = {0};
    keys ids;
    size_t n = 0;
    assert_int_equal(begin(store, &ids, NULL), ES_OK);
    assert_int_equal(es_store_each(store, ids.recording, ids.method, count_stored, &n, NULL), ES_OK);
    if (es_store_check(store, &err) != ES_OK)
        fail_msg("%s", err.message);
    es_store_close(store);
    return n;
}

static void kill_9_at_any_moment_loses_nothing_finished_and_repeats_nothing(void **state)
{
    const place *p = *state;
    unsigned seen[FRAMES] = {0};
    size_t kills = 0, most = 0;
    unsigned seed = 12345;
    int exit_status = -1;
    for (int round = 0; round < 2000 && (kills < 50 || exit_status != 0); round++) {
        int fds[2];
        if (exit_status == 0) { /* done before 50 kills: begin again in a new file */
            unlink(p->path);
            memset(seen, 0, sizeof seen);
            most = 0;
        }
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        if (child == 0)
            work(p->path, fds[1], true);
        close(fds[1]);
        seed = seed * 1103515245 + 12345;
        usleep(kills < 50 ? (seed >> 8) % 25000 : 20000000);
        if (kills < 50)
            kill(child, SIGKILL);
        waitpid(child, &exit_status, 0);
        kills += WIFSIGNALED(exit_status);
        assert_true(WIFSIGNALED(exit_status) || WEXITSTATUS(exit_status) == 0);
        read_acks(fds[0], seen);
        close(fds[0]);
        size_t acked = 0, n = stored_count(p->path);
        for (size_t i = 0; i < FRAMES; i++) {
            assert_true(seen[i] <= 1);
            acked += seen[i];
        }
        assert_true(n >= acked && n >= most);
        most = n;
    }
    print_message("%zu kills\n", kills);
    assert_true(kills >= 50);
    assert_int_equal(most, FRAMES);
}

static void several_processes_share_the_frames_and_double_none(void **state)
{
    const place *p = *state;
    unsigned seen[FRAMES] = {0};
    int fds[2], exit_status;
    pid_t children[4];
    assert_int_equal(pipe(fds), 0);
    for (size_t i = 0; i < 4; i++) {
        children[i] = fork(); /* all of them open the new file at once */
        if (children[i] == 0)
            work(p->path, fds[1], true);
    }
    close(fds[1]);
    assert_int_equal(read_acks(fds[0], seen), FRAMES);
    close(fds[0]);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(waitpid(children[i], &exit_status, 0), children[i]);
        assert_int_equal(exit_status, 0);
    }
    for (size_t i = 0; i < FRAMES; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(stored_count(p->path), FRAMES);
}

static void a_new_file_is_opened_by_several_at_once(void **state)
{
    const place *p = *state;
    for (int round = 0; round < 30; round++) {
        pid_t children[4];
        int exit_status;
        char path[600];
        snprintf(path, sizeof path, "%s/new%d.db", p->dir, round);
        for (size_t i = 0; i < 4; i++) {
            children[i] = fork();
            if (children[i] == 0) {
                es_store *store;
                es_error err = {0};
                _exit(es_store_open(&store, path, &err) != ES_OK);
            }
        }
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(waitpid(children[i], &exit_status, 0), children[i]);
            assert_int_equal(exit_status, 0);
        }
    }
}

static void a_claim_is_kept_while_its_process_lives_and_time_lasts(void **state)
{
    const place *p = *state;
    es_store *store = open_store(p->path);
    keys ids;
    int64_t frame;
    es_claim claim;
    int fds[2];
    char byte;
    assert_int_equal(begin(store, &ids, NULL), ES_OK);
    assert_int_equal(new_frame(store, &ids, 0, &frame, NULL), ES_OK);
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        es_store *mine = NULL;
        bool ok = es_store_open(&mine, p->path, NULL) == ES_OK &&
                  es_store_claim(mine, frame, ids.method, 600, &claim, NULL) == ES_OK && claim == ES_CLAIM_MINE;
        ok = write(fds[1], ok ? "y" : "n", 1) == 1 && ok;
        pause();
        _exit(ok);
    }
    assert_int_equal(read(fds[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    assert_int_equal(es_store_claim(store, frame, ids.method, 60, &claim, NULL), ES_OK);
    assert_int_equal(claim, ES_CLAIM_TAKEN);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(es_store_claim(store, frame, ids.method, 60, &claim, NULL), ES_OK);
    assert_int_equal(claim, ES_CLAIM_MINE);
    close(fds[0]);
    close(fds[1]);
    es_store_close(store);
}

static void a_locked_store_is_one_clear_error(void **state)
{
    const place *p = *state;
    es_store *store = open_store(p->path);
    sqlite3 *other;
    keys ids;
    bool added;
    es_error err = {0};
    assert_int_equal(begin(store, &ids, NULL), ES_OK);
    assert_int_equal(sqlite3_open(p->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    es_store_patience(store, 50);
    assert_int_equal(put(store, &ids, 0, "x", &added, &err), ES_ERR_IO);
    assert_non_null(strstr(err.message, "locked"));
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    assert_int_equal(put(store, &ids, 0, "x", &added, &err), ES_OK);
    assert_true(added);
    es_store_close(store);
}

/* Everything a program does with a store; false with one line in err when it could not. */
static bool use(const char *path, es_error *err)
{
    es_store *store;
    keys ids;
    bool added;
    size_t n = 0;
    char *text = NULL;
    es_listed listed;
    memset(err, 0, sizeof *err);
    if (es_store_open(&store, path, err) != ES_OK)
        return false;
    bool ok = begin(store, &ids, err) == ES_OK && put(store, &ids, 77, "new", &added, err) == ES_OK &&
              es_store_each(store, ids.recording, ids.method, count_stored, &n, err) == ES_OK &&
              es_store_search(store, "seen", 0, 100, count_hits, &n, err) == ES_OK &&
              es_store_list(store, count_listed, &listed, err) == ES_OK &&
              es_store_summary(store, ids.recording, ids.method, "card", &text, err) == ES_OK &&
              es_store_forget(store, ids.recording, err) == ES_OK && es_store_check(store, err) == ES_OK;
    free(text);
    es_store_close(store);
    return ok;
}

static void check_fault(const es_error *err)
{
    assert_int_not_equal(err->status, ES_OK);
    assert_true(strlen(err->message) > 10 && strchr(err->message, '\n') == NULL);
}

static void a_damaged_store_is_one_clear_error_or_works(void **state)
{
    const place *p = *state;
    char *good, *bad, copy[128], wal[140];
    size_t size, refused = 0;
    unsigned seed = 99;
    es_error err;
    es_store *store = open_store(p->path);
    keys ids;
    bool added;
    assert_int_equal(begin(store, &ids, NULL), ES_OK);
    for (int64_t i = 0; i < 150; i++)
        assert_int_equal(put(store, &ids, i * 1000, "seen in a damaged store", &added, NULL), ES_OK);
    es_store_close(store);
    assert_int_equal(es_file_read(p->path, 1 << 26, &good, &size, NULL), ES_OK);
    snprintf(copy, sizeof copy, "%s/copy.db", p->dir);
    bad = malloc(size);
    for (int round = 0; round < 160; round++) {
        size_t length = size;
        memcpy(bad, good, size);
        seed = seed * 1103515245 + 12345;
        if (round < 40)
            length = size * (size_t)round / 40;
        else if (round == 40)
            memset(bad, 0x5A, size);
        else
            for (int flips = 1 << (round % 7); flips > 0; flips--) {
                seed = seed * 1103515245 + 12345;
                bad[(seed >> 4) % (round % 2 == 0 ? size : 4096)] ^= (char)(1 << (seed >> 28) % 8);
            }
        snprintf(wal, sizeof wal, "%s-wal", copy);
        unlink(wal);
        snprintf(wal, sizeof wal, "%s-shm", copy);
        unlink(wal);
        FILE *file = fopen(copy, "wb");
        assert_int_equal(fwrite(bad, 1, length, file), length);
        fclose(file);
        if (!use(copy, &err)) {
            check_fault(&err);
            refused++;
        }
    }
    print_message("%zu of 160 damaged files refused; last: %s\n", refused, err.message);
    assert_true(refused > 60);
    free(bad);
    free(good);
}

static void what_is_not_a_store_is_refused_and_not_touched(void **state)
{
    const place *p = *state;
    es_error err;
    es_store *store;
    sqlite3 *other;
    assert_int_equal(es_store_open(&store, "/nonexistent/dir/store.db", &err), ES_ERR_IO);
    assert_int_equal(es_store_open(&store, p->dir, &err), ES_ERR_IO);
    assert_int_equal(sqlite3_open(p->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "CREATE TABLE mine (x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(es_store_open(&store, p->path, &err), ES_ERR_FORMAT);
    assert_non_null(strstr(err.message, "another program"));
    unlink(p->path);
    es_store_close(open_store(p->path));
    assert_int_equal(sqlite3_open(p->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(es_store_open(&store, p->path, &err), ES_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "newer"));
}

/* Puts until it fails; tells how many were kept. */
static void fill(const char *path, int pipe_fd)
{
    es_store *store;
    keys ids;
    es_error err = {0};
    struct {
        int kept;
        es_error err;
    } said = {0};
    bool added;
    es_status status = es_store_open(&store, path, &err);
    if (status == ES_OK)
        status = begin(store, &ids, &err);
    for (int i = 0; status == ES_OK && i < 5000; i++) {
        status = put(store, &ids, i, "a description that takes some room on a disk with little of it", &added, &err);
        said.kept += status == ES_OK;
    }
    said.err = err;
    _exit(write(pipe_fd, &said, sizeof said) == (ssize_t)sizeof said ? 0 : 1);
}

static void fill_disk(const char *path, rlim_t limit, es_error *err)
{
    struct {
        int kept;
        es_error err;
    } said;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        if (limit > 0)
            setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, limit});
        fill(path, fds[1]);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &said, sizeof said), sizeof said);
    close(fds[0]);
    waitpid(child, NULL, 0);
    check_fault(&said.err);
    print_message("%d kept, then: %s\n", said.kept, said.err.message);
    *err = said.err;
    if (said.kept > 0)
        assert_true(stored_count(path) >= (size_t)said.kept);
}

static void a_full_disk_is_one_clear_error_and_loses_nothing_finished(void **state)
{
    const place *p = *state;
    char dir[80], path[100];
    es_error err;
    fill_disk(p->path, 300000, &err);
    assert_int_equal(err.status, ES_ERR_IO);
    unlink(p->path);
    fill_disk(p->path, 5000, &err);
    snprintf(dir, sizeof dir, "%s/full", p->dir);
    snprintf(path, sizeof path, "%s/store.db", dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    if (mount("tmpfs", dir, "tmpfs", 0, "size=512k") == 0) { /* a really full disk, where the test may make one */
        fill_disk(path, 0, &err);
        assert_non_null(strstr(err.message, "disk is full"));
        umount2(dir, MNT_DETACH);
    } else {
        print_message("no small disk to fill here: %s\n", strerror(errno));
    }
    rmdir(dir);
}

static void a_method_s_observations_can_be_dropped_and_are_loaded_whole(void **state)
{
    const place *p = *state;
    es_error err;
    es_store *store = open_store(p->path);
    keys ids;
    bool added;
    int64_t method;
    char *model;
    uint8_t *jpeg;
    size_t size, n = 0;
    es_session session;
    assert_int_equal(begin(store, &ids, &err), ES_OK);
    assert_int_equal(es_store_last_method(store, ids.recording, &method, &model, &err), ES_OK);
    assert_true(method == 0 && model == NULL);
    for (int64_t i = 0; i < 40; i++)
        assert_int_equal(put(store, &ids, i * 10000, "dropped", &added, &err), ES_OK);
    assert_int_equal(es_store_last_method(store, ids.recording, &method, &model, &err), ES_OK);
    assert_true(method == ids.method && strcmp(model, "tiny") == 0);
    free(model);
    assert_int_equal(es_session_load(&session, store, ids.recording, ids.method, &err), ES_OK);
    assert_int_equal(session.count, 40);
    assert_true(session.kept[39].own && session.moments[39].at == 390);
    assert_string_equal(session.moments[7].topics[1], "caf\xC3\xA9");
    assert_int_equal(es_store_put_thumbnail(store, session.kept[3].frame, "JP\0G", 4, &err), ES_OK);
    assert_int_equal(es_store_put_thumbnail(store, session.kept[3].frame, "other", 5, &err), ES_OK);
    assert_int_equal(es_store_thumbnail(store, session.kept[3].frame, &jpeg, &size, &err), ES_OK);
    assert_true(size == 4 && memcmp(jpeg, "JP\0G", 4) == 0);
    free(jpeg);
    assert_int_equal(es_store_thumbnail(store, session.kept[4].frame, &jpeg, &size, &err), ES_OK);
    assert_true(size == 0 && jpeg == NULL);
    int64_t frame, first = session.kept[0].frame;
    es_session_free(&session);
    assert_int_equal(new_frame(store, &ids, 500000, &frame, &err), ES_OK);
    assert_int_equal(es_store_reuse(store, frame, ids.method, first, &added, &err), ES_OK);
    assert_true(added);
    assert_int_equal(es_store_reuse(store, frame, ids.method, first, &added, &err), ES_OK);
    assert_false(added);
    assert_int_equal(es_store_reuse(store, frame, ids.method, 999, &added, &err), ES_ERR_ARGUMENT);
    assert_int_equal(es_session_load(&session, store, ids.recording, ids.method, &err), ES_OK);
    assert_true(session.count == 41 && !session.kept[40].own && session.moments[40].reused);
    assert_string_equal(session.moments[40].description, "dropped");
    es_session_free(&session);
    assert_int_equal(es_store_drop(store, ids.recording, ids.method, &err), ES_OK);
    assert_int_equal(es_store_each(store, ids.recording, ids.method, count_stored, &n, &err), ES_OK);
    assert_int_equal(n, 0);
    assert_int_equal(es_store_check(store, &err), ES_OK);
    assert_int_equal(put(store, &ids, 0, "anew", &added, &err), ES_OK);
    assert_true(added);
    es_store_close(store);
}

static void a_picture_that_was_replaced_takes_what_was_seen_in_it_along(void **state)
{
    const place *p = *state;
    es_store *store = open_store(p->path);
    es_error err = {0};
    keys ids;
    int64_t first, second, other;
    bool added;
    assert_int_equal(begin(store, &ids, &err), ES_OK);
    es_sample s = {.recording = ids.recording, .content_hash = "aa", .source = 7};
    assert_int_equal(es_store_frame(store, &s, &first, &err), ES_OK);
    es_stored seen = some(first, ids.method, "the first picture");
    assert_int_equal(es_store_put(store, &seen, &added, &err), ES_OK);
    s.source = 8; /* touched, or copied: the same picture */
    assert_int_equal(es_store_frame(store, &s, &second, &err), ES_OK);
    assert_true(first == second);
    assert_int_equal(es_store_find_content(store, ids.recording, ids.method, "aa", &other, &err), ES_OK);
    assert_true(other == first);
    s.content_hash = "bb";
    s.source = 9;
    assert_int_equal(es_store_frame(store, &s, &second, &err), ES_OK);
    size_t n = 0;
    assert_int_equal(es_store_each(store, ids.recording, 0, count_stored, &n, &err), ES_OK);
    assert_int_equal(n, 0);
    assert_int_equal(es_store_find_content(store, ids.recording, ids.method, "aa", &other, &err), ES_OK);
    assert_true(other == 0);
    assert_int_equal(es_store_check(store, &err), ES_OK);
    es_store_close(store);
}

static bool note_time(void *context, int64_t frame, int64_t at_ms)
{
    (void)frame;
    *(int64_t *)context = *(int64_t *)context * 100 + at_ms / 1000;
    return true;
}

static void times_of_a_directory_count_from_its_earliest_picture_ever(void **state)
{
    const place *p = *state;
    es_store *store = open_store(p->path);
    es_error err = {0};
    keys ids;
    int64_t frame, times = 0;
    double zero = INFINITY;
    assert_int_equal(begin(store, &ids, &err), ES_OK);
    assert_int_equal(es_store_set_zero(store, ids.recording, &zero, &err), ES_OK);
    assert_true(isinf(zero));
    zero = 5000;
    assert_int_equal(es_store_set_zero(store, ids.recording, &zero, &err), ES_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(new_frame(store, &ids, i * 10000, &frame, &err), ES_OK);
    zero = 5020; /* the first two are gone */
    assert_int_equal(es_store_set_zero(store, ids.recording, &zero, &err), ES_OK);
    assert_true(zero == 5000);
    zero = 4990; /* an older one came */
    assert_int_equal(es_store_set_zero(store, ids.recording, &zero, &err), ES_OK);
    assert_true(zero == 4990);
    assert_int_equal(es_store_each_frame(store, ids.recording, note_time, &times, &err), ES_OK);
    assert_int_equal(times, 102030);
    es_store_close(store);
}

/* All bytes of the store and its log. */
static bool files_hold(const place *p, const char *word)
{
    static const char *const endings[] = {"", "-wal"};
    bool holds = false;
    for (size_t i = 0; i < 2; i++) {
        char path[200], *data;
        size_t size;
        snprintf(path, sizeof path, "%s%s", p->path, endings[i]);
        if (es_file_read(path, 1 << 26, &data, &size, NULL) != ES_OK)
            continue;
        for (size_t at = 0; at + strlen(word) <= size && !holds; at++)
            holds = memcmp(data + at, word, strlen(word)) == 0;
        free(data);
    }
    return holds;
}

static void of_forgotten_frames_no_word_stays(void **state)
{
    const place *p = *state;
    es_store *store = open_store(p->path);
    es_error err = {0};
    keys ids;
    bool added;
    char *text;
    int64_t frame;
    assert_int_equal(begin(store, &ids, &err), ES_OK);
    assert_int_equal(put(store, &ids, 0, "plain words", &added, &err), ES_OK);
    assert_int_equal(put(store, &ids, 10000, "xyzzysecret", &added, &err), ES_OK);
    assert_int_equal(es_store_put_summary(store, ids.recording, ids.method, "subjects", "w", "of xyzzysecret", &err),
                     ES_OK);
    assert_true(files_hold(p, "xyzzysecret"));
    assert_int_equal(new_frame(store, &ids, 10000, &frame, &err), ES_OK);
    assert_int_equal(es_store_forget_frames(store, ids.recording, &frame, 1, &err), ES_OK);
    assert_int_equal(es_store_summary(store, ids.recording, ids.method, "subjects", &text, &err), ES_OK);
    assert_null(text);
    assert_int_equal(es_store_check(store, &err), ES_OK);
    assert_false(files_hold(p, "xyzzysecret"));
    assert_true(files_hold(p, "plain words"));
    es_store_close(store);
}

static void samples_in_between_are_told_apart(void **state)
{
    const place *p = *state;
    es_store *store = open_store(p->path);
    es_error err = {0};
    es_session session;
    keys ids;
    bool added;
    int64_t open, frame;
    assert_int_equal(begin(store, &ids, &err), ES_OK);
    assert_int_equal(put(store, &ids, 0, "one", &added, &err), ES_OK);
    assert_int_equal(put(store, &ids, 3000, "between", &added, &err), ES_OK);
    assert_int_equal(new_frame(store, &ids, 13000, &frame, &err), ES_OK);
    assert_int_equal(es_store_first_open(store, ids.recording, ids.method, &open, &err), ES_OK);
    assert_int_equal(open, -1);
    assert_int_equal(es_session_load(&session, store, ids.recording, ids.method, &err), ES_OK);
    assert_true(session.count == 2 && !session.kept[0].filled && session.kept[1].filled);
    es_session_free(&session);
    es_sample s = {.recording = ids.recording, .at_ms = 3000}; /* a finer interval comes upon it */
    assert_int_equal(es_store_frame(store, &s, &frame, &err), ES_OK);
    assert_int_equal(es_session_load(&session, store, ids.recording, ids.method, &err), ES_OK);
    assert_true(session.count == 2 && !session.kept[1].filled);
    es_session_free(&session);
    es_store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, drop_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_put_is_found_again_once),
        TEST(a_method_s_observations_can_be_dropped_and_are_loaded_whole),
        TEST(a_picture_that_was_replaced_takes_what_was_seen_in_it_along),
        TEST(times_of_a_directory_count_from_its_earliest_picture_ever),
        TEST(of_forgotten_frames_no_word_stays),
        TEST(samples_in_between_are_told_apart),
        TEST(search_takes_words_not_syntax),
        TEST(blocks_are_replaced_and_a_forgotten_recording_leaves_nothing),
        TEST(kill_9_at_any_moment_loses_nothing_finished_and_repeats_nothing),
        TEST(several_processes_share_the_frames_and_double_none),
        TEST(a_new_file_is_opened_by_several_at_once),
        TEST(a_claim_is_kept_while_its_process_lives_and_time_lasts),
        TEST(a_locked_store_is_one_clear_error),
        TEST(a_damaged_store_is_one_clear_error_or_works),
        TEST(what_is_not_a_store_is_refused_and_not_touched),
        TEST(a_full_disk_is_one_clear_error_and_loses_nothing_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
