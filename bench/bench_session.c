/* bench_session.c - what it costs to find the frames of a recording worth a look, and how many are found.
 *
 *     bench_session [MINUTES [KEEP.mkv]]   a drawn recording, mostly still screens: speed, share reused, changes lost
 *     bench_session FILE                   the speed on any recording
 *
 * Speed is the recording's length by the time that decoding, comparing, hashing and thumbnails took together. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"
#include "session/sampler.h"
#include "tests/session/screens.h"
#include "tests/session/videos.h"

#define RATE 30
#define INTERVAL 10.0
#define QUARTER_MS 2500 /* samples in between lie at quarters of it */
#define ROWS 65         /* of a screen of 1080 lines that are written on */

/* What the screen shows; the pointer is no change to a person. */
typedef struct scene {
    int window, top[2], typed[2], version;
    int x, y;
} scene;

/* The scene a frame later. Of each six minutes in two windows in turn: typing for half a minute, then reading; reading;
 * scrolling a line now and then; a still screen; looking from one window to the other and back; a still screen. The
 * pointer wanders now and then. */
static bool step(scene *s, int frame)
{
    int second = frame / RATE, minute = second / 60, window = minute / 3 % 2;
    scene before = *s;
    if (frame % RATE == 0) {
        window = minute % 6 == 4 && second / 15 % 2 == 1 ? 1 - window : window;
        if (window != s->window) {
            s->window = window;
            s->version++;
        }
        if (minute % 6 == 0 && second % 60 < 30 && second % 4 == 1) { /* a word is typed */
            s->typed[s->window]++;
            s->version++;
        }
        if (minute % 6 == 2 && second % 12 == 5) { /* a line is scrolled */
            s->top[s->window]++;
            s->version++;
        }
    }
    if (second % 15 < 2) { /* the pointer wanders */
        s->x = 300 + frame * 7 % 900;
        s->y = 200 + frame * 3 % 600;
    }
    return memcmp(&before, s, sizeof before) != 0;
}

static void draw(screen pages[2], screen *shown, const scene *s, const scene *before)
{
    static const char *const words[] = {"make", "test", "error", "fix", "parser", "return"};
    screen *page = &pages[s->window];
    if (s->version != before->version) {
        screen_fill(page, 100 * s->window + s->top[s->window]);
        for (int i = 0; i < s->typed[s->window]; i++)
            screen_word(page, 2 + i / ROWS * 9 % 100, 1 + i % ROWS, words[i % 6]);
    }
    memcpy(shown->image.rgb, page->image.rgb, (size_t)page->image.width * (size_t)page->image.height * 3);
    screen_pointer(shown, s->x, s->y);
}

/* Names what is on screen, but for the pointer. */
static int shown_by(const scene *s)
{
    return (s->top[s->window] * 1000 + s->typed[s->window]) * 2 + s->window;
}

/* Writes the recording; versions[k] is what a sample at k quarters of an interval shows. */
static void make(const char *path, int seconds, int *versions)
{
    screen pages[2] = {screen_make(&screen_kinds[0]), screen_make(&screen_kinds[1])}, shown = pages[0];
    bool x264 = avcodec_find_encoder_by_name("libx264") != NULL;
    scene now = {.x = 300, .y = 200}, before = {.version = -1};
    video_maker maker;
    shown.image.rgb = malloc((size_t)shown.image.width * (size_t)shown.image.height * 3);
    screen_fill(&pages[1], 100);
    video_begin(&maker, path,
                &(video_kind){.width = shown.image.width,
                              .height = shown.image.height,
                              .codec = x264 ? "libx264" : "mpeg4",
                              .format = "yuv420p",
                              .keys = 250,
                              .quality = x264 ? 0 : 4,
                              .preset = x264 ? "veryfast" : NULL,
                              .threads = (int)es_cpu_count()});
    for (int frame = 0; frame < seconds * RATE; frame++) {
        bool moved = step(&now, frame) || frame == 0;
        if (moved) {
            draw(pages, &shown, &now, &before);
            video_add(&maker, shown.image.rgb, (double)frame / RATE);
        } else {
            video_repeat(&maker, (double)frame / RATE);
        }
        before = now;
        if (frame * 1000 % (QUARTER_MS * RATE) == 0)
            versions[frame * 1000 / (QUARTER_MS * RATE)] = shown_by(&now);
    }
    versions[seconds * 1000 / QUARTER_MS] = shown_by(&now); /* the sample at the very end */
    video_end(&maker);
    es_image_free(&pages[0].image);
    es_image_free(&pages[1].image);
    free(shown.image.rgb);
}

typedef struct found {
    size_t samples, same, lost, again;
    double seconds, wall, processor;
    es_sampler_info info;
} found;

static double processor_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Whether a sample at a whole interval before that one shows the same version. */
static bool seen_before(const int *versions, size_t sample)
{
    for (size_t i = 0; i < sample; i += 4)
        if (versions[i] == versions[sample])
            return true;
    return false;
}

/* Takes all samples as `escriba run` does. versions NULL: unknown. */
static found take_all(const char *path, const int *versions)
{
    es_sampler *sampler;
    es_sampler_options options;
    es_error err = {0};
    found f = {0};
    double wall = es_now(), processor = processor_seconds();
    es_sampler_options_init(&options);
    options.thumbnails = true;
    es_status status = es_sampler_open(&sampler, path, &options, &err);
    for (bool end = false, ready; status == ES_OK && !end;) {
        es_shot shot;
        status = es_sampler_next(sampler, true, &shot, &ready, &end, &err);
        if (status != ES_OK || !ready)
            continue;
        f.samples++;
        f.same += shot.same;
        if (versions != NULL) {
            size_t at = (size_t)(shot.at_ms / QUARTER_MS), as = (size_t)(shot.same_as_ms / QUARTER_MS);
            f.lost += shot.same && versions[at] != versions[as];
            f.again += !shot.same && seen_before(versions, at);
        }
        es_shot_free(&shot);
    }
    if (status != ES_OK) {
        fprintf(stderr, "bench_session: %s\n", err.message);
        exit(1);
    }
    es_sampler_tell(sampler, &f.info);
    f.wall = es_now() - wall;
    f.processor = processor_seconds() - processor;
    es_sampler_close(sampler);
    return f;
}

static void tell(const char *what, const found *f)
{
    printf("%s: %s, %d x %d, %.0f s\n", what, f->info.kind, f->info.width, f->info.height, f->info.seconds);
    printf("  %.1f times faster than it plays (%.2f s of both cores' time, %.1f times on one core), %.0f ms a sample\n",
           f->info.seconds / f->wall, f->processor, f->info.seconds / f->processor,
           1000 * f->processor / (double)f->samples);
    printf("  %zu samples, %zu new, %zu reused (%.0f %%)\n", f->samples, f->samples - f->same, f->same,
           100 * (double)f->same / (double)f->samples);
}

int main(int argc, char **argv)
{
    struct stat st;
    if (argc > 1 && stat(argv[1], &st) == 0) {
        found f = take_all(argv[1], NULL);
        tell(argv[1], &f);
        return 0;
    }
    char path[64] = "/tmp/escriba-bench-XXXXXX.mkv";
    int minutes = argc > 1 ? atoi(argv[1]) : 6, fd = argc > 2 ? -1 : mkstemps(path, 4);
    const char *where = argc > 2 ? argv[2] : path;
    int *versions = calloc((size_t)(minutes < 1 ? 1 : minutes) * 24 + 1, sizeof *versions);
    if (minutes < 1 || versions == NULL || (argc <= 2 && fd < 0)) {
        fprintf(stderr, "usage: bench_session [MINUTES [KEEP.mkv]] | FILE\n");
        return 2;
    }
    make(where, minutes * 60, versions);
    found f = take_all(where, versions);
    tell("mostly still screens, drawn", &f);
    printf("  %zu changed ones lost, %zu unchanged ones asked again\n", f.lost, f.again);
    free(versions);
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    return f.lost > 0;
}
