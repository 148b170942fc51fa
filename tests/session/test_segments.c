/* Topic blocks of scripted sessions with observation noise: how well the script is found again, beside joining equal
 * neighbours; and what must hold of any observations at all. */
#include "session/segments.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#define MOST 12000 /* moments of a generated session */
#define STEP 10.0

typedef struct kind {
    const char *activity, *apps[2], *topics[3];
} kind;

/* What a day is made of; some differ in the activity only, some in the topics only. */
static const kind kinds[] = {
    {"coding", {"VS Code", NULL}, {"parser", "rust", "tests"}},
    {"debugging", {"VS Code", "Terminal"}, {"parser", "stack trace", "panic"}},
    {"terminal", {"Terminal", NULL}, {"build", "rust", "cargo"}},
    {"review", {"Firefox", "GitHub"}, {"pull request", "parser", "comments"}},
    {"research", {"Firefox", NULL}, {"llvm", "documentation", "linking"}},
    {"reading", {"Firefox", NULL}, {"paper", "quantisation", "vision"}},
    {"meeting", {"Zoom", NULL}, {"planning", "roadmap", "release"}},
    {"coding", {"VS Code", NULL}, {"billing", "python", "invoice"}},
    {"review", {"Firefox", "GitHub"}, {"billing", "pull request", "refund"}},
    {"other", {"Slack", NULL}, {"team chat", "release", "planning"}},
    {"other", {"WhatsApp", NULL}, {"personal", "chat", "holiday"}},
    {"other", {"Firefox", "YouTube"}, {"music", "video", "personal"}},
};
#define KINDS (sizeof kinds / sizeof *kinds)
static const char *const activities[] = {"debugging", "coding",  "review",   "meeting",
                                         "research",  "reading", "terminal", "other"};
static const char *const stray_topics[] = {"window", "menu", "error", "text", "code", "list",   "settings", "browser",
                                           "table",  "log",  "file",  "tabs", "mail", "search", "date",     "icons"};

typedef struct rates {
    double activity, app, topic, single; /* rates: wrong activity, wrong app, wrong topic, a frame of something else */
} rates;

typedef struct session {
    es_moment moments[MOST];
    const char *apps[MOST][2], *topics[MOST][3];
    size_t kind[MOST]; /* the truth */
    size_t count;
} session;

static uint64_t draw(uint64_t *seed)
{
    *seed += 0x9E3779B97F4A7C15ULL; /* splitmix64 */
    uint64_t z = *seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

static double chance(uint64_t *seed)
{
    return (double)(draw(seed) >> 11) * 0x1p-53;
}

static size_t below(uint64_t *seed, size_t n)
{
    return (size_t)(draw(seed) % n);
}

static void observe(session *s, size_t i, const rates *noise, uint64_t *seed)
{
    const kind *k = &kinds[chance(seed) < noise->single ? below(seed, KINDS) : s->kind[i]];
    es_moment *m = &s->moments[i];
    size_t topics = 1 + below(seed, 3), apps = k->apps[1] != NULL ? 1 + below(seed, 2) : 1;
    for (size_t t = 0; t < topics; t++)
        s->topics[i][t] =
            chance(seed) < noise->topic ? stray_topics[below(seed, 16)] : k->topics[(t + below(seed, 3)) % 3];
    for (size_t a = 0; a < apps; a++)
        s->apps[i][a] = chance(seed) < noise->app ? kinds[below(seed, KINDS)].apps[0] : k->apps[a];
    *m = (es_moment){.at = (double)i * STEP,
                     .activity = chance(seed) < noise->activity ? activities[below(seed, 8)] : k->activity,
                     .description = "The user works.",
                     .apps = s->apps[i],
                     .app_count = apps,
                     .topics = s->topics[i],
                     .topic_count = topics};
}

/* A script of stretches of 1 to 25 minutes, and what a model with this noise says of each frame. */
static void generate(session *s, double hours, const rates *noise, uint64_t seed)
{
    size_t last = KINDS;
    s->count = 0;
    while ((double)s->count * STEP < hours * 3600) {
        size_t k = below(&seed, KINDS);
        if (k == last)
            continue;
        last = k;
        size_t frames = 6 + (size_t)(144 * chance(&seed) * chance(&seed));
        for (size_t i = 0; i < frames && s->count < MOST && (double)s->count * STEP < hours * 3600; i++)
            s->kind[s->count++] = k;
    }
    for (size_t i = 0; i < s->count; i++)
        observe(s, i, noise, &seed);
}

typedef struct tallied {
    double hit, found, told; /* boundaries: found and true, true, claimed */
    double wrong, all;       /* seconds by activity: half the sum of differences, and in all */
    size_t blocks;
} tallied;

/* cut[i]: a block begins at moment i; said[i]: the activity given to it. */
static void add_score(tallied *score, const session *s, const bool *cut, const char *const *said)
{
    static bool used[MOST];
    memset(used, 0, sizeof used);
    for (size_t i = 1; i < s->count; i++) {
        score->told += cut[i];
        if (s->kind[i] == s->kind[i - 1])
            continue;
        score->found += 1;
        for (int d = 0; d < 3; d++) { /* one interval of tolerance, each claim used once */
            size_t at = i + (size_t)(d == 0 ? 0 : d == 1 ? 1 : -1);
            if (at < s->count && cut[at] && !used[at]) {
                used[at] = true;
                score->hit += 1;
                break;
            }
        }
    }
    for (size_t a = 0; a < 8; a++) {
        double difference = 0;
        for (size_t i = 0; i < s->count; i++)
            difference += STEP * ((strcmp(said[i], activities[a]) == 0) -
                                  (strcmp(kinds[s->kind[i]].activity, activities[a]) == 0));
        score->wrong += fabs(difference) / 2;
    }
    score->all += STEP * (double)s->count;
}

static void score_outline(tallied *score, const session *s)
{
    static bool cut[MOST];
    static const char *said[MOST];
    es_outline o;
    assert_int_equal(es_outline_make(&o, s->moments, s->count, NULL, NULL), ES_OK);
    memset(cut, 0, sizeof cut);
    for (size_t b = 0; b < o.block_count; b++) {
        cut[o.blocks[b].first] = true;
        for (size_t i = 0; i < o.blocks[b].count; i++)
            said[o.blocks[b].first + i] = o.blocks[b].activity;
    }
    add_score(score, s, cut, said);
    score->blocks += o.block_count;
    es_outline_free(&o);
}

/* What is compared with: a block is a run of frames with the same activity (and first app, if `apps`). */
static void score_neighbours(tallied *score, const session *s, bool apps)
{
    static bool cut[MOST];
    static const char *said[MOST];
    for (size_t i = 0; i < s->count; i++) {
        const es_moment *m = &s->moments[i];
        cut[i] = i == 0 || strcmp(m->activity, m[-1].activity) != 0 || (apps && strcmp(m->apps[0], m[-1].apps[0]) != 0);
        said[i] = m->activity;
        score->blocks += cut[i];
    }
    add_score(score, s, cut, said);
}

static double f1(const tallied *s)
{
    return s->found + s->told > 0 ? 2 * s->hit / (s->found + s->told) : 1;
}

static session one;

static void the_script_is_found_again_better_than_by_joining_equal_neighbours(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        rates noise;
        double f1, time; /* at least; at most */
    } levels[] = {{"no noise", {0, 0, 0, 0}, 0.97, 0.005},
                  {"a little", {0.05, 0.05, 0.2, 0.02}, 0.93, 0.01},
                  {"a good model", {0.10, 0.15, 0.4, 0.03}, 0.88, 0.02},
                  {"a small model", {0.20, 0.25, 0.6, 0.05}, 0.78, 0.03},
                  {"hardly usable", {0.40, 0.40, 0.7, 0.10}, 0.45, 0.10}};
    print_message("%-14s %20s   %20s   %20s\n", "noise", "blocks: F1, time", "activity: F1, time", "and app: F1, time");
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
        tallied ours = {0}, plain = {0}, finer = {0};
        for (uint64_t seed = 0; seed < 8; seed++) {
            generate(&one, seed == 0 ? 8 : 1 + (double)seed, &levels[l].noise, 1000 * (l + 1) + seed);
            score_outline(&ours, &one);
            score_neighbours(&plain, &one, false);
            score_neighbours(&finer, &one, true);
        }
        print_message("%-14s %12.3f %6.2f%%   %12.3f %6.2f%%   %12.3f %6.2f%%  (%.0f true, %zu blocks)\n",
                      levels[l].name, f1(&ours), 100 * ours.wrong / ours.all, f1(&plain), 100 * plain.wrong / plain.all,
                      f1(&finer), 100 * finer.wrong / finer.all, ours.found, ours.blocks);
        assert_true(f1(&ours) >= levels[l].f1);
        assert_true(ours.wrong / ours.all <= levels[l].time);
        assert_true(f1(&ours) > f1(&plain) && f1(&ours) > f1(&finer));
        assert_true(l == 0 || ours.wrong < plain.wrong);
    }
}

static void check_outline(const es_outline *o, const es_moment *moments, size_t n, const es_segment_options *options)
{
    static double spans[MOST];
    static bool breaks[MOST];
    double seconds = 0, by_subject = 0;
    size_t next = 0, work = 0;
    es_moment_spans(moments, n, options, spans, breaks);
    for (size_t b = 0; b < o->block_count; b++) {
        const es_block *block = &o->blocks[b];
        double sum = 0;
        assert_int_equal(block->first, next);
        assert_true(block->count > 0 && block->app_count <= ES_BLOCK_WORDS && block->topic_count <= ES_BLOCK_WORDS);
        assert_true(block->subject < o->subject_count && o->subjects[block->subject].personal == block->personal);
        for (size_t i = 0; i < block->count; i++) {
            sum += spans[next + i];
            assert_true(i + 1 == block->count || !breaks[next + i]);
        }
        next += block->count;
        assert_true(fabs(block->end - block->start - sum) < 1e-6 * (1 + block->end));
        assert_true(b + 1 == o->block_count || block->end <= block[1].start + 1e-9);
        bool whole_run = (block->first == 0 || breaks[block->first - 1]) && breaks[next - 1];
        assert_true(whole_run || sum >= options->min_length - 1e-9);
        seconds += sum;
    }
    assert_int_equal(next, n);
    assert_true(fabs(seconds - o->seconds) < 1e-6 * (1 + seconds));
    for (size_t i = 0; i < o->subject_count; i++) {
        by_subject += o->subjects[i].seconds;
        work += !o->subjects[i].personal;
        assert_true(o->subjects[i].blocks > 0 && o->subjects[i].name[0] != '\0');
        assert_true(i == 0 || o->subjects[i].personal || o->subjects[i].seconds <= o->subjects[i - 1].seconds);
    }
    assert_true(fabs(by_subject - seconds) < 1e-6 * (1 + seconds));
    assert_true(work <= ES_SUBJECTS_MAX && (n == 0 || o->subject_count >= 1));
}

/* The moments as their blocks tell them: cutting those again may join, never cut elsewhere. */
static void check_again(const es_outline *o, const session *s, const es_segment_options *options)
{
    static es_moment again[MOST];
    es_outline second;
    for (size_t b = 0; b < o->block_count; b++)
        for (size_t i = 0; i < o->blocks[b].count; i++) {
            const es_block *block = &o->blocks[b];
            size_t at = block->first + i;
            again[at] = (es_moment){.at = s->moments[at].at, .activity = block->activity, .apps = block->apps};
            again[at].app_count = block->app_count;
            again[at].topics = block->topics;
            again[at].topic_count = block->topic_count;
        }
    assert_int_equal(es_outline_make(&second, again, s->count, options, NULL), ES_OK);
    check_outline(&second, again, s->count, options);
    for (size_t b = 0, a = 0; b < second.block_count; b++) {
        while (a < o->block_count && o->blocks[a].first < second.blocks[b].first)
            a++;
        assert_true(a < o->block_count && o->blocks[a].first == second.blocks[b].first);
    }
    es_outline_free(&second);
}

static void any_observations_keep_the_promises_and_stay_cut_when_cut_again(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int round = 0; round < 60; round++) {
        rates noise = {chance(&seed), chance(&seed), chance(&seed), chance(&seed) / 2};
        es_segment_options options;
        generate(&one, 0.02 + 2 * chance(&seed) * chance(&seed), &noise, draw(&seed));
        es_segment_options_init(&options);
        options.min_length = round % 3 == 0 ? 30 : 120 * chance(&seed);
        options.interval = round % 2 == 0 ? 0 : STEP;
        double shift = 0;
        for (size_t i = 0; i < one.count; i++) { /* pauses, double times, failed frames, frames without words */
            shift += round % 4 == 1 && chance(&seed) < 0.05 ? 500 * chance(&seed) : 0;
            shift -= round % 4 == 2 && chance(&seed) < 0.1 && i > 0 ? STEP : 0;
            one.moments[i].at = fmax(0, one.moments[i].at + shift);
            if (round % 5 == 3 && chance(&seed) < 0.3)
                one.moments[i] = (es_moment){.at = one.moments[i].at};
        }
        es_outline o, twin;
        assert_int_equal(es_outline_make(&o, one.moments, one.count, &options, NULL), ES_OK);
        check_outline(&o, one.moments, one.count, &options);
        assert_int_equal(es_outline_make(&twin, one.moments, one.count, &options, NULL), ES_OK);
        assert_int_equal(twin.block_count, o.block_count);
        assert_memory_equal(twin.blocks, o.blocks, o.block_count * sizeof *o.blocks);
        check_again(&o, &one, &options);
        es_outline_free(&o);
        es_outline_free(&twin);
    }
}

/* Fills one with stretches given as kind, frames, kind, frames, ..., -1; no noise. */
static void script(int first, ...)
{
    static const rates none = {0};
    uint64_t seed = 3;
    va_list args;
    va_start(args, first);
    one.count = 0;
    for (int k = first; k >= 0; k = va_arg(args, int)) {
        int frames = va_arg(args, int);
        for (int i = 0; i < frames; i++)
            one.kind[one.count++] = (size_t)k;
    }
    va_end(args);
    for (size_t i = 0; i < one.count; i++)
        observe(&one, i, &none, &seed);
}

static void a_single_odd_frame_is_absorbed_and_a_minute_is_not(void **state)
{
    (void)state;
    es_outline o;
    script(0, 30, 6, 1, 0, 30, -1);
    assert_int_equal(es_outline_make(&o, one.moments, one.count, NULL, NULL), ES_OK);
    assert_int_equal(o.block_count, 1);
    assert_string_equal(o.blocks[0].activity, "coding");
    es_outline_free(&o);
    script(0, 30, 6, 6, 0, 30, -1);
    assert_int_equal(es_outline_make(&o, one.moments, one.count, NULL, NULL), ES_OK);
    assert_int_equal(o.block_count, 3);
    assert_string_equal(o.blocks[1].activity, "meeting");
    assert_true(o.blocks[1].start == 300 && o.blocks[1].end == 360);
    es_outline_free(&o);
}

static void a_pause_ends_a_block_and_counts_for_nothing(void **state)
{
    (void)state;
    es_outline o;
    script(0, 60, -1);
    for (size_t i = 30; i < 60; i++)
        one.moments[i].at += 3600;
    assert_int_equal(es_outline_make(&o, one.moments, one.count, NULL, NULL), ES_OK);
    assert_int_equal(o.block_count, 2);
    assert_true(o.seconds == 600 && o.blocks[0].end == 300 && o.blocks[1].start == 3900);
    assert_int_equal(o.subject_count, 1);
    es_outline_free(&o);
}

static void subjects_keep_projects_and_personal_time_apart(void **state)
{
    (void)state;
    es_outline o;
    script(0, 60, 10, 20, 7, 60, 1, 40, 11, 20, 8, 40, -1);
    assert_int_equal(es_outline_make(&o, one.moments, one.count, NULL, NULL), ES_OK);
    assert_int_equal(o.block_count, 6);
    assert_true(o.blocks[1].personal && o.blocks[4].personal && !o.blocks[0].personal);
    assert_int_equal(o.blocks[0].subject, o.blocks[3].subject); /* the parser, written and debugged */
    assert_int_equal(o.blocks[2].subject, o.blocks[5].subject); /* billing, written and reviewed */
    assert_int_not_equal(o.blocks[0].subject, o.blocks[2].subject);
    assert_int_equal(o.subject_count, 3);
    assert_true(o.subjects[2].personal && o.subjects[2].seconds == 400);
    es_outline_free(&o);
}

static void unusable_input_is_refused_and_odd_input_is_not(void **state)
{
    (void)state;
    es_outline o;
    es_error err;
    es_moment bad[2] = {{.at = 5}, {.at = 4}};
    assert_int_equal(es_outline_make(&o, bad, 2, NULL, &err), ES_ERR_ARGUMENT);
    bad[1].at = NAN;
    assert_int_equal(es_outline_make(&o, bad, 2, NULL, &err), ES_ERR_ARGUMENT);
    bad[0].at = -1;
    assert_int_equal(es_outline_make(&o, bad, 1, NULL, &err), ES_ERR_ARGUMENT);
    assert_int_equal(es_outline_make(&o, NULL, 0, NULL, &err), ES_OK);
    assert_int_equal(o.block_count + o.subject_count, 0);
    for (size_t i = 0; i < 9000; i++) /* all at once: no time at all, and more than the program looks back */
        one.moments[i] = (es_moment){.at = 1};
    assert_int_equal(es_outline_make(&o, one.moments, 9000, NULL, &err), ES_OK);
    assert_int_equal(o.block_count, 1);
    es_outline_free(&o);
    static char names[4000][8];
    for (size_t i = 0; i < 4000; i++) { /* every frame a pause, an app and a topic of its own */
        snprintf(names[i], sizeof names[i], "n%zu", i);
        one.apps[i][0] = one.topics[i][0] = names[i];
        one.moments[i] = (es_moment){
            .at = (double)(i * i), .apps = one.apps[i], .app_count = 1, .topics = one.topics[i], .topic_count = 1};
    }
    assert_int_equal(es_outline_make(&o, one.moments, 4000, &(es_segment_options){.interval = 1}, &err), ES_OK);
    assert_true(o.subject_count >= 1 && o.subject_count <= ES_SUBJECTS_MAX);
    es_outline_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_script_is_found_again_better_than_by_joining_equal_neighbours),
        cmocka_unit_test(any_observations_keep_the_promises_and_stay_cut_when_cut_again),
        cmocka_unit_test(a_single_odd_frame_is_absorbed_and_a_minute_is_not),
        cmocka_unit_test(a_pause_ends_a_block_and_counts_for_nothing),
        cmocka_unit_test(subjects_keep_projects_and_personal_time_apart),
        cmocka_unit_test(unusable_input_is_refused_and_odd_input_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
