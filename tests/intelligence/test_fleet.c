/* Many servers behind one adapter: each frame exactly once, whoever is slow, sick, killed, or taken off the list. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/thread.h"
#include "intelligence/net/net.h"
#include "intelligence/net/server.h"

#define SIDE 256
#define COLOURS 200 /* frame i has the colour i % COLOURS, by which the server knows it */
#define MOST 1000
#define PEERS 8

typedef struct peer {
    pid_t pid;
    int in, out;
    int port;
} peer;

static struct {
    peer main;    /* a server that plays all the parts whose names are in the paths */
    peer nursery; /* a process that forks others like it */
    es_image images[COLOURS];
} world;

typedef struct result {
    unsigned char seen[MOST];
    size_t given, good, failed, notes;
    size_t stop_after;
    size_t drained, drain_at; /* the place of a server, 0: all; after how many observations, 0: never */
    double answer_seconds;
    char last_error[600], all_notes[6000];
    void (*at)(struct result *r); /* called after each observation */
    void *stage;
    es_status status;
    es_error error;
    double seconds;
} result;

static bool observed(void *context, const es_observation *o)
{
    result *r = context;
    char wanted[40];
    snprintf(wanted, sizeof wanted, "frame %zu", o->index % COLOURS);
    if (o->index < MOST)
        r->seen[o->index]++;
    r->given++;
    if (o->status == ES_OK && o->record.parsed && strcmp(o->record.description, wanted) == 0)
        r->good++;
    else
        snprintf(r->last_error, sizeof r->last_error, "%s: %s", o->raw_text, o->error.message);
    r->failed += o->status != ES_OK;
    if (r->at != NULL)
        r->at(r);
    return r->stop_after == 0 || r->given < r->stop_after;
}

static void on_note(void *context, const char *line)
{
    result *r = context;
    r->notes++;
    strncat(r->all_notes, line, sizeof r->all_notes - strlen(r->all_notes) - 2);
    strcat(r->all_notes, "\n");
}

static bool drain_asked(void *context, size_t place)
{
    const result *r = context;
    return r->drain_at > 0 && r->given >= r->drain_at && place == r->drained;
}

static void describe(const char *endpoint, size_t count, int32_t most, result *r)
{
    es_frame *frames = calloc(count, sizeof *frames);
    es_intelligence *who = NULL;
    es_ask ask;
    es_ask_init(&ask);
    assert_non_null(frames);
    for (size_t i = 0; i < count; i++)
        frames[i] = (es_frame){.image = &world.images[i % COLOURS], .timestamp = (double)i};
    es_server_options options = {.backend = "openai",
                                 .endpoint = endpoint,
                                 .model = "m",
                                 .most = most,
                                 .answer_seconds = r->answer_seconds > 0 ? r->answer_seconds : 60,
                                 .pause_seconds = 0.05,
                                 .note = on_note,
                                 .note_context = r};
    es_drain drain = {drain_asked, r};
    es_listener listener = {.context = r, .observed = observed, .drain = &drain};
    double start = es_now();
    r->status = es_server_create(&who, &options, &r->error);
    if (r->status == ES_OK)
        r->status = es_classify_frames(who, frames, count, &ask, &listener, &r->error);
    r->seconds = es_now() - start;
    es_intelligence_free(who);
    free(frames);
}

static void all_good(const result *r, size_t count)
{
    if (r->status != ES_OK || r->good != count || r->given != count)
        fail_msg("status %d (%s): %zu of %zu good, %zu given (%s)\n%s", r->status, r->error.message, r->good, count,
                 r->given, r->last_error, r->all_notes);
    for (size_t i = 0; i < count && i < MOST; i++)
        assert_int_equal(r->seen[i], 1);
}

/* "http://127.0.0.1:PORT/PART/v1 " for each part of a line. */
static const char *parts(const char *line, char *out, size_t size)
{
    char word[40];
    out[0] = '\0';
    for (int n; sscanf(line, "%39s%n", word, &n) == 1; line += n) {
        size_t length = strlen(out);
        snprintf(out + length, size - length, "http://127.0.0.1:%d/%s/v1 ", world.main.port, word);
    }
    return out;
}

static void got_stats(void *context, const es_net_reply *reply)
{
    assert_int_equal(es_json_parse(context, reply->body, reply->body_size, "stats", NULL), ES_OK);
}

/* What the server counted: "chats", "probes", "busy" (seconds). */
static double figure_of(const char *part, const char *what)
{
    char url[200];
    es_net *net;
    json_t *root = NULL;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/%s/_stats/openai", world.main.port, part);
    assert_int_equal(es_net_open(&net, NULL), ES_OK);
    es_net_request request = {.url = url, .limits = {60, 60, 60, 60, 1 << 20}, .context = &root, .done = got_stats};
    assert_int_equal(es_net_start(net, &request, NULL), ES_OK);
    while (es_net_count(net) > 0)
        assert_int_equal(es_net_step(net, 0.1, NULL), ES_OK);
    es_net_close(net);
    double figure = json_number_value(json_object_get(root, what));
    json_decref(root);
    return figure;
}

static json_int_t chats_of(const char *part)
{
    return (json_int_t)figure_of(part, "chats");
}

/* --- shares --- */

/* Seconds that this process was ready to run and had to wait for a core; 0 where the system does not say. */
static double waited(void)
{
    unsigned long long ran = 0, waited = 0;
    FILE *file = fopen("/proc/self/schedstat", "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu %llu", &ran, &waited) != 2)
        waited = 0;
    fclose(file);
    return (double)waited / 1e9;
}

#define WELL 6
#define SHARED 300

/* One run on six servers that are well and two that are not: the share of what the six could do. *late: how much of the
 * time the machine was busy with something else, as far as it shows. */
static double share_of_the_possible(int round, double *late)
{
    static const int pace[WELL] = {100, 150, 200, 300, 400, 600};
    char line[300] = "dead key ", endpoints[2000], part[20];
    double sum = 0, busy = 0, meant = 0, before = waited();
    result r = {0};
    for (size_t i = 0; i < WELL; i++)
        snprintf(line + strlen(line), sizeof line - strlen(line), "pace%d%c ", pace[i], 'a' + round);
    describe(parts(line, endpoints, sizeof endpoints), SHARED, 4, &r);
    all_good(&r, SHARED);
    assert_int_equal(r.notes, WELL + 2); /* the table */
    for (size_t i = 0; i < WELL; i++) {
        snprintf(part, sizeof part, "pace%d%c", pace[i], 'a' + round);
        double own = figure_of(part, "busy");
        assert_true(chats_of(part) > 0 && own > 0);
        sum += figure_of(part, "meant") * 1000 / pace[i] / own; /* frames a second, as it was waked */
        busy += own;
        meant += figure_of(part, "meant");
    }
    *late = (waited() - before) / r.seconds + busy / meant - 1;
    print_message("  %.1f frames a second of %.1f (%.0f %%; the machine was late by %.1f %%)\n", SHARED / r.seconds,
                  sum, 100 * SHARED / r.seconds / sum, 100 * *late);
    return SHARED / r.seconds / sum;
}

/* Within a tenth of the sum of those that are well. A machine that is busy with other things proves nothing: then it is
 * tried again, and in the end left open. */
static void servers_of_all_speeds_share_the_work(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        double late, share = share_of_the_possible(round, &late);
        if (share >= 0.9)
            return;
        if (late < 0.03)
            fail_msg("%.0f %% of what the servers can do, on an idle machine", 100 * share);
    }
    print_message("  the machine is too busy to tell\n");
}

static void sick_servers_leave_their_work_to_the_others(void **state)
{
    (void)state;
    char endpoints[1000];
    result r = {0};
    describe(parts("dead key redirect gone ok", endpoints, sizeof endpoints), 60, 4, &r);
    all_good(&r, 60);
    assert_int_equal(r.notes, 5);
    assert_non_null(strstr(r.all_notes, "HTTP status 401"));
    assert_non_null(strstr(r.all_notes, "HTTP status 502"));
    result more = {0};
    describe(parts("429 500 503 cut reset noend inband close", endpoints, sizeof endpoints), 100, 4, &more);
    all_good(&more, 100);
}

static void when_all_are_sick_the_run_ends_with_one_line(void **state)
{
    (void)state;
    char endpoints[1000];
    result r = {0};
    describe(parts("dead key gone", endpoints, sizeof endpoints), 60, 4, &r);
    assert_int_equal(r.status, ES_ERR_NETWORK);
    assert_int_equal(r.good, 0);
    assert_true(r.given <= 5);
    assert_null(strchr(r.error.message, '\n'));
}

static void a_straggler_is_asked_of_another(void **state)
{
    (void)state;
    char endpoints[1000];
    result r = {0};
    describe(parts("mum pace20s", endpoints, sizeof endpoints), 30, 1, &r);
    all_good(&r, 30);
    assert_true(r.seconds < 45); /* the silent one would have taken a minute */
}

/* --- drained on demand --- */

static void a_server_drains_when_told_to(void **state)
{
    (void)state;
    char endpoints[1000];
    result r = {.drained = 2, .drain_at = 20};
    describe(parts("pace20d pace20e", endpoints, sizeof endpoints), 120, 1, &r);
    all_good(&r, 120);
    assert_non_null(strstr(r.all_notes, "pace20e/v1 drains: it gets nothing new"));
    assert_null(strstr(r.all_notes, "pace20d/v1 drains"));
    assert_in_range(chats_of("pace20e"), 1, 30);
    result all = {.drained = 0, .drain_at = 20};
    describe(parts("pace20f pace20g", endpoints, sizeof endpoints), 120, 1, &all);
    assert_int_equal(all.status, ES_ERR_NETWORK);
    assert_non_null(strstr(all.error.message, "no endpoint is left"));
    assert_in_range(all.given, 20, 24); /* what was under way is told */
    assert_int_equal(all.good, all.given);
}

/* --- probes --- */

static void a_server_that_hangs_costs_little_and_one_that_wakes_is_used(void **state)
{
    (void)state;
    char endpoints[1000];
    result r = {.answer_seconds = 2};
    describe(parts("coma pace100w", endpoints, sizeof endpoints), 40, 4, &r);
    all_good(&r, 40);
    assert_in_range(chats_of("coma"), 1, 2); /* after the first it is probed, in vain, and gets no frame */
    assert_true(figure_of("coma", "probes") >= 1);
    result wakes = {0};
    describe(parts("dozes pace100x", endpoints, sizeof endpoints), 40, 4, &wakes);
    all_good(&wakes, 40);
    assert_true(chats_of("dozes") > 5);
}

/* --- deaths --- */

static bool start_process(peer *p, const char *how)
{
    int in[2], out[2];
    char script[600];
    snprintf(script, sizeof script, "%s/tests/intelligence/llm_server.py", getenv("ESCRIBA_SOURCE_ROOT"));
    if (pipe(in) != 0 || pipe(out) != 0 || (p->pid = fork()) < 0)
        return false;
    if (p->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int fd = 3; fd < 256; fd++) /* or one lives as long as its siblings hold its pipe */
            close(fd);
        execlp("python3", "python3", script, how, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    p->in = in[1];
    p->out = out[0];
    return true;
}

static void read_line(int fd, char *line, size_t size)
{
    for (size_t n = 0; n < size - 1 && strchr(line, '\n') == NULL; n++) /* it may come in pieces */
        if (read(fd, line + n, 1) != 1)
            break;
}

/* A server in a process of its own. */
static void bear(peer *p)
{
    char line[64] = "";
    assert_int_equal(write(world.nursery.in, "\n", 1), 1);
    read_line(world.nursery.out, line, sizeof line);
    assert_int_equal(sscanf(line, "%d %d", &p->pid, &p->port), 2);
}

static void kill_peer(peer *p)
{
    if (p->pid > 0)
        kill(p->pid, SIGKILL);
    p->pid = 0;
}

typedef struct massacre {
    peer peers[PEERS];
    size_t next, survivor;
} massacre;

/* One more dies after every third frame, until one is left. */
static void kill_some(result *r)
{
    massacre *m = r->stage;
    if (r->given % 3 != 0 || m->next == PEERS)
        return;
    size_t i = (m->next++ * 3 + 1) % PEERS; /* 3 and 8 have no common divisor: each comes once */
    if (i != m->survivor)
        kill_peer(&m->peers[i]);
}

static void seven_die(size_t survivor)
{
    massacre m = {.survivor = survivor};
    char endpoints[1000] = "";
    result r = {.at = kill_some, .stage = &m};
    for (size_t i = 0; i < PEERS; i++) {
        bear(&m.peers[i]);
        snprintf(endpoints + strlen(endpoints), sizeof endpoints - strlen(endpoints), "http://127.0.0.1:%d/pace20/v1 ",
                 m.peers[i].port);
    }
    describe(endpoints, 48, 2, &r);
    size_t alive = 0;
    for (size_t i = 0; i < PEERS; i++) {
        alive += m.peers[i].pid > 0;
        kill_peer(&m.peers[i]);
    }
    all_good(&r, 48);
    assert_int_equal(alive, 1);
}

static void any_seven_of_eight_may_die(void **state)
{
    (void)state;
    for (size_t survivor = 0; survivor < PEERS; survivor++)
        seven_die(survivor);
}

/* --- the file --- */

static const char *const roll = "escriba-test-endpoints.txt"; /* in the build folder, where tests run */

static void write_roll(const char *text)
{
    assert_int_equal(es_file_write(roll, text, strlen(text), 0600, NULL), ES_OK);
}

static void edit(result *r)
{
    char text[400];
    if (r->given != 20)
        return;
    snprintf(
        text, sizeof text,
        "http://127.0.0.1:%d/pace20stay/v1 # the other one drains\nhttp://127.0.0.1:%d/pace20new/v1 model=x key=k\n",
        world.main.port, world.main.port);
    write_roll(text);
}

static void endpoints_come_and_go_as_their_file_says(void **state)
{
    (void)state;
    char text[400];
    result r = {.at = edit};
    snprintf(text, sizeof text,
             "# two to begin with\n\nhttp://127.0.0.1:%d/pace20go/v1\nhttp://127.0.0.1:%d/pace20stay/v1\n",
             world.main.port, world.main.port);
    write_roll(text);
    snprintf(text, sizeof text, "@%s", roll);
    describe(text, 300, 2, &r);
    unlink(roll);
    all_good(&r, 300);
    assert_non_null(strstr(r.all_notes, "drained"));
    assert_true(chats_of("pace20new") > 0);
    json_int_t gone = chats_of("pace20go");
    assert_true(gone > 0 && gone < chats_of("pace20stay"));
}

static void lines_that_make_no_sense_are_told_and_left_out(void **state)
{
    (void)state;
    char text[900];
    result r = {0};
    snprintf(text, sizeof text,
             "http://127.0.0.1:%d/ok/v1 most=2\nftp://x\nhttp://127.0.0.1:%d/ok/v1 most=0\nhttp://127.0.0.1:%d/ok/v1 "
             "sk-verysecret\nhttp://127.0.0.1:%d/ok backend=ollama model=missing\nhttp://127.0.0.1:9/v1 model= \n",
             world.main.port, world.main.port, world.main.port, world.main.port);
    write_roll(text);
    snprintf(text, sizeof text, "@%s", roll);
    describe(text, 20, 0, &r);
    all_good(&r, 20);
    assert_int_equal(r.notes, 5); /* and no table: there is one server */
    assert_non_null(strstr(r.all_notes, "endpoints.txt:3: most=0 is not"));
    assert_non_null(strstr(r.all_notes, "no model missing"));
    result none = {0};
    write_roll("# nobody\n");
    describe(text, 20, 0, &none);
    assert_int_equal(none.status, ES_ERR_ARGUMENT);
    assert_non_null(strstr(none.error.message, "names no endpoint"));
    unlink(roll);
    result missing = {0};
    describe(text, 20, 0, &missing);
    assert_int_equal(missing.status, ES_ERR_IO);
    result bad = {0};
    describe("http://127.0.0.1:9/v1,ftp://x", 9, 0, &bad);
    assert_int_equal(bad.status, ES_ERR_NETWORK);
}

/* --- memory --- */

static void a_hundred_thousand_frames_are_not_in_memory_at_once(void **state)
{
    (void)state;
    struct rusage before, after;
    char endpoints[1000];
    result r = {.stop_after = 300};
    getrusage(RUSAGE_SELF, &before);
    describe(parts("dead ok ok pace20m", endpoints, sizeof endpoints), 100000, 16, &r);
    getrusage(RUSAGE_SELF, &after);
    assert_int_equal(r.status, ES_ERR_CANCELLED);
    assert_int_equal(r.given, 300);
    assert_true(after.ru_maxrss - before.ru_maxrss < 65536); /* kB; each picture has 192 kB, all of them 19 GB */
}

/* --- the world --- */

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < COLOURS; i++) {
        world.images[i] = (es_image){SIDE, SIDE, malloc((size_t)SIDE * SIDE * 3)};
        if (world.images[i].rgb == NULL)
            return -1;
        memset(world.images[i].rgb, (int)i, (size_t)SIDE * SIDE * 3);
    }
    char line[64] = "";
    if (!start_process(&world.main, NULL) || !start_process(&world.nursery, "--nursery"))
        return -1;
    read_line(world.main.out, line, sizeof line);
    world.main.port = atoi(line);
    return world.main.port > 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    kill_peer(&world.main);
    kill_peer(&world.nursery);
    for (size_t i = 0; i < COLOURS; i++)
        free(world.images[i].rgb);
    return 0;
}

/* test_fleet [-SKIPPED | ONLY]: parts that mostly wait may run beside each other. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_of_all_speeds_share_the_work),
        cmocka_unit_test(sick_servers_leave_their_work_to_the_others),
        cmocka_unit_test(when_all_are_sick_the_run_ends_with_one_line),
        cmocka_unit_test(a_straggler_is_asked_of_another),
        cmocka_unit_test(a_server_drains_when_told_to),
        cmocka_unit_test(a_server_that_hangs_costs_little_and_one_that_wakes_is_used),
        cmocka_unit_test(any_seven_of_eight_may_die),
        cmocka_unit_test(endpoints_come_and_go_as_their_file_says),
        cmocka_unit_test(lines_that_make_no_sense_are_told_and_left_out),
        cmocka_unit_test(a_hundred_thousand_frames_are_not_in_memory_at_once),
    };
    if (argc > 1 && argv[1][0] == '-')
        cmocka_set_skip_filter(argv[1] + 1);
    else if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
