/* Frames worth a look: from videos and directories, repeats told, changes in between found, on a bounded queue. */
#include "session/sampler.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "session/shots.h"
#include "session/thumbnail.h"
#include "videos.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/escriba-XXXXXX" : "/tmp/escriba-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int drop_dir(void **state)
{
    (void)state;
    es_names names = {0};
    assert_int_equal(es_dir_list(dir, &names, NULL), ES_OK);
    for (size_t i = 0; i < names.count; i++) {
        char *path = es_path_join(dir, names.items[i]);
        unlink(path);
        free(path);
    }
    es_names_free(&names);
    return rmdir(dir);
}

static const char *place(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* A picture with vertical bars of that many pixels: told apart by content and by eye. */
static es_image bars(int width)
{
    es_image image = {96, 64, malloc(96 * 64 * 3)};
    for (int i = 0; i < 96 * 64; i++)
        memset(image.rgb + i * 3, i % 96 / width % 2 == 0 ? 230 : 20, 3);
    return image;
}

static void write_shot(const char *name, int width)
{
    es_image image = bars(width);
    uint8_t *jpeg;
    size_t size;
    assert_int_equal(es_thumbnail_make(&image, &jpeg, &size, NULL), ES_OK);
    assert_int_equal(es_file_write(place(name), jpeg, size, 0600, NULL), ES_OK);
    free(jpeg);
    es_image_free(&image);
}

typedef struct taken {
    int64_t at[64], same_as[64];
    bool same[64], readable[64];
    es_known known[64];
    size_t count;
    es_sampler_info info;
} taken;

static taken take_all(const char *path, const es_sampler_options *options)
{
    es_sampler *sampler;
    es_error err = {0};
    taken t = {0};
    if (es_sampler_open(&sampler, path, options, &err) != ES_OK)
        fail_msg("%s", err.message);
    for (;;) {
        es_shot shot;
        bool ready, end;
        if (es_sampler_next(sampler, true, &shot, &ready, &end, &err) != ES_OK)
            fail_msg("%s", err.message);
        if (end)
            break;
        assert_true(ready && t.count < 64);
        assert_true((shot.image.rgb == NULL) == (shot.same || shot.status != ES_OK || shot.known != ES_KNOWN_NOT));
        assert_true((shot.jpeg != NULL) == (options->thumbnails && shot.image.rgb != NULL));
        t.at[t.count] = shot.at_ms;
        t.same_as[t.count] = shot.same_as_ms;
        t.same[t.count] = shot.same;
        t.known[t.count] = shot.known;
        t.readable[t.count++] = shot.status == ES_OK;
        es_shot_free(&shot);
    }
    es_sampler_tell(sampler, &t.info);
    es_sampler_close(sampler);
    return t;
}

static void make_video(const char *path, const int *widths, size_t count, double step)
{
    video_maker m;
    video_begin(&m, path, &(video_kind){.width = 96, .height = 64});
    for (size_t i = 0; i < count; i++) {
        es_image image = bars(widths[i]);
        video_add(&m, image.rgb, (double)i * step);
        es_image_free(&image);
    }
    video_end(&m);
}

static void test_still_frames_and_frames_seen_before_come_without_their_picture(void **state)
{
    /* each 5 s; samples at 0, 10, 20 ... are the even ones */
    static const int widths[] = {8, 8, 8, 8, 16, 16, 8, 8, 24, 24, 16, 16, 16};
    static const bool same[] = {false, true, false, true, false, true, true};
    static const int64_t same_as[] = {0, 0, 0, 0, 0, 20000, 20000};
    es_sampler_options o;
    (void)state;
    make_video(place("still.mkv"), widths, 13, 5);
    es_sampler_options_init(&o);
    o.scene = 0;
    o.thumbnails = true;
    taken t = take_all(place("still.mkv"), &o);
    assert_int_equal(t.count, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(t.at[i], (int64_t)i * 10000);
        assert_int_equal(t.same[i], same[i]);
        if (same[i])
            assert_int_equal(t.same_as[i], same_as[i]);
    }
    o.threshold = -1;
    t = take_all(place("still.mkv"), &o);
    for (size_t i = 0; i < t.count; i++)
        assert_false(t.same[i]);
    o.threshold = ES_SAME_THRESHOLD;
    o.from_ms = 30000;
    t = take_all(place("still.mkv"), &o);
    assert_int_equal(t.count, 4);
    assert_int_equal(t.at[0], 30000);
}

static void test_a_change_between_two_samples_gives_one_of_its_own(void **state)
{
    /* each 2.5 s: for 5 s, from 12.5 on, there is another screen */
    static const int widths[] = {8, 8, 8, 8, 8, 48, 48, 8, 8, 8, 8, 8, 8};
    es_sampler_options o;
    (void)state;
    make_video(place("scene.mkv"), widths, 13, 2.5);
    es_sampler_options_init(&o);
    taken t = take_all(place("scene.mkv"), &o);
    assert_int_equal(t.count, 5);
    assert_int_equal(t.at[2], 12500);
    assert_false(t.same[2]);
    assert_true(t.same[3]);
    o.scene = 0;
    t = take_all(place("scene.mkv"), &o);
    assert_int_equal(t.count, 4);
}

static void test_a_directory_is_a_recording(void **state)
{
    es_sampler_options o;
    char sub[128];
    (void)state;
    es_sampler_options_init(&o);
    snprintf(sub, sizeof sub, "%s", place("shots"));
    mkdir(sub, 0700);
    write_shot("shots/Screenshot 2026-11-23 at 10.15.30.jpg", 8);
    write_shot("shots/Screenshot 2026-11-23 at 10.15.40.jpg", 8);
    write_shot("shots/Screenshot 2026-11-23 at 10.16.00.jpg", 16);
    es_file_write(place("shots/Screenshot 2026-11-23 at 10.16.10.png"), "no picture", 10, 0600, NULL);
    write_shot("shots/Screenshot 2026-11-24 at 00.00.00.jpg", 8);
    es_file_write(place("shots/notes.txt"), "x", 1, 0600, NULL);
    taken t = take_all(sub, &o);
    assert_int_equal(t.count, 5);
    assert_int_equal(t.at[1], 10000);
    assert_true(t.same[1]);
    assert_int_equal(t.at[2], 30000);
    assert_false(t.readable[3]);
    assert_int_equal(t.at[4], ((13 * 60 + 44) * 60 + 30) * 1000);
    assert_true(t.same[4] && t.same_as[4] == 0);
    assert_int_equal(t.info.expected, 5);
    o.interval = 25;
    o.gap_fill = 0;
    t = take_all(sub, &o);
    assert_int_equal(t.count, 3); /* 0, 30 and the last */
    o.gap_fill = 10;
    t = take_all(sub, &o);
    assert_int_equal(t.count, 4); /* and what lies in the long gap before it */
    assert_int_equal(t.at[2], 40000);
    write_shot("shots/cover.jpg", 8);                 /* no time in its name: left out */
    o.zero = es_stamp_seconds("2026-11-23 10:15:20"); /* its first picture is gone */
    o.interval = o.gap_fill = 0;
    t = take_all(sub, &o);
    assert_int_equal(t.count, 5);
    assert_int_equal(t.at[0], 10000);
    es_names names = {0};
    es_dir_list(sub, &names, NULL);
    for (size_t i = 0; i < names.count; i++) {
        char *path = es_path_join(sub, names.items[i]);
        unlink(path);
        free(path);
    }
    es_names_free(&names);
    es_sampler *sampler;
    es_error err = {0};
    assert_int_equal(es_sampler_open(&sampler, sub, &o, &err), ES_ERR_IO);
    assert_non_null(strstr(err.message, "no pictures"));
    rmdir(sub);
}

static void test_a_followed_directory_gives_what_appears_until_told_to_finish(void **state)
{
    es_sampler_options o;
    es_sampler *sampler;
    es_shot shot;
    bool ready, end;
    char sub[128];
    (void)state;
    es_sampler_options_init(&o);
    o.follow = true;
    snprintf(sub, sizeof sub, "%s", place("watch"));
    mkdir(sub, 0700);
    assert_int_equal(es_sampler_open(&sampler, sub, &o, NULL), ES_OK);
    assert_int_equal(es_sampler_next(sampler, false, &shot, &ready, &end, NULL), ES_OK);
    assert_true(!ready && !end);
    static const char *const files[] = {"watch/1795429530.jpg", "watch/1795429540.jpg", "watch/1795429550.jpg"};
    for (int i = 0; i < 3; i++) {
        write_shot(files[i], 8 * (i + 1));
        if (i == 2)
            es_sampler_finish(sampler);
        assert_int_equal(es_sampler_next(sampler, true, &shot, &ready, &end, NULL), ES_OK);
        assert_true(ready);
        assert_int_equal(shot.at_ms, i * 10000);
        es_shot_free(&shot);
    }
    assert_int_equal(es_sampler_next(sampler, true, &shot, &ready, &end, NULL), ES_OK);
    assert_true(end);
    es_sampler_close(sampler);
    for (int i = 0; i < 3; i++)
        unlink(place(files[i]));
    rmdir(sub);
}

static void test_closing_in_the_middle_waits_for_nobody(void **state)
{
    static int widths[60];
    es_sampler_options o;
    es_sampler *sampler;
    es_shot shot;
    bool ready, end;
    (void)state;
    for (int i = 0; i < 60; i++)
        widths[i] = 1 + i % 40;
    make_video(place("many.mkv"), widths, 60, 1);
    es_sampler_options_init(&o);
    o.interval = 1;
    for (int takes = 0; takes < 4; takes++) {
        assert_int_equal(es_sampler_open(&sampler, place("many.mkv"), &o, NULL), ES_OK);
        for (int i = 0; i < takes; i++) {
            assert_int_equal(es_sampler_next(sampler, true, &shot, &ready, &end, NULL), ES_OK);
            es_shot_free(&shot);
        }
        es_sampler_close(sampler);
    }
}

static void test_a_long_interval_is_filled_where_something_moves(void **state)
{
    /* each 2.5 s; from 12.5 on all stays as it is */
    static const int widths[] = {8, 16, 24, 32, 40, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48, 48};
    static const int64_t at[] = {0, 3000, 6000, 9000, 12000, 15000, 20000, 40000};
    es_sampler_options o;
    (void)state;
    make_video(place("gap.mkv"), widths, 18, 2.5);
    es_sampler_options_init(&o);
    o.interval = 20;
    taken t = take_all(place("gap.mkv"), &o);
    assert_int_equal(t.count, 4); /* a scene at 5 s */
    o.gap_threshold = 15;
    o.gap_fill = 3;
    t = take_all(place("gap.mkv"), &o);
    assert_true(t.count >= 7);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(t.at[i], at[i]);
    assert_true(t.same[6] || t.at[6] == 18000);
}

static void test_moments_are_looked_at_and_compared_with_the_known_one_before(void **state)
{
    static const int widths[] = {8, 8, 8, 16, 16, 24, 24, 24, 24}; /* each 5 s */
    static const double moments[] = {10, 13, 16, 30, 36};
    es_sampler_options o;
    (void)state;
    make_video(place("moments.mkv"), widths, 9, 5);
    es_sampler_options_init(&o);
    o.moments = moments;
    o.moment_count = 5;
    taken t = take_all(place("moments.mkv"), &o);
    assert_int_equal(t.count, 5);
    static const bool same[] = {false, true, false, false, true};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(t.at[i], (int64_t)(moments[i] * 1000));
        assert_int_equal(t.same[i], same[i]);
    }
    assert_int_equal(t.same_as[1], 10000);
    assert_int_equal(t.same_as[4], 30000);
}

/* Two windows in turn: each is described once, even where a pointer moved meanwhile. */
static void test_what_is_shown_again_after_something_else_is_the_same(void **state)
{
    es_sampler_options o;
    video_maker m;
    (void)state;
    video_begin(&m, place("turns.mkv"), &(video_kind){.width = 96, .height = 64});
    for (int i = 0; i < 12; i++) {
        es_image image = bars(i % 2 == 0 ? 8 : 24);
        for (int y = 2 + 4 * i; y < 10 + 4 * i; y++) /* a small pointer, somewhere else each time */
            memset(image.rgb + (y * 96 + 40) * 3, 128, 6 * 3);
        video_add(&m, image.rgb, i * 10);
        es_image_free(&image);
    }
    video_end(&m);
    es_sampler_options_init(&o);
    o.scene = 0;
    taken t = take_all(place("turns.mkv"), &o);
    assert_int_equal(t.count, 12);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(t.same[i], i >= 2);
        if (i >= 2)
            assert_int_equal(t.same_as[i], (int64_t)(i % 2) * 10000);
    }
}

static es_known known_before(void *context, int64_t at_ms, int64_t source)
{
    *(int64_t *)context |= source;
    return at_ms == 0 || at_ms == 20000 ? ES_KNOWN_OWN : at_ms == 10000 ? ES_KNOWN_SAME : ES_KNOWN_NOT;
}

static void test_what_is_known_is_not_looked_at_but_compared_with(void **state)
{
    static const int widths[] = {8, 8, 16, 16, 8, 24};
    static const bool same[] = {false, false, false, true, true, false};
    es_sampler_options o;
    char sub[128];
    int64_t sources = 0;
    (void)state;
    snprintf(sub, sizeof sub, "%s", place("known"));
    mkdir(sub, 0700);
    make_video(place("known.mkv"), widths, 6, 10);
    for (int i = 0; i < 6; i++) {
        char name[40];
        snprintf(name, sizeof name, "known/frame_%02d.jpg", i);
        write_shot(name, widths[i]);
        struct timespec times[2] = {{1000 + i * 10, 0}, {1000 + i * 10, 0}}; /* the clock of these names */
        assert_int_equal(utimensat(AT_FDCWD, place(name), times, 0), 0);
    }
    es_sampler_options_init(&o);
    o.scene = 0;
    o.known = known_before;
    o.known_context = &sources;
    for (int k = 0; k < 2; k++) {
        taken t = take_all(k == 0 ? place("known.mkv") : sub, &o);
        assert_int_equal(t.count, 6);
        for (size_t i = 0; i < 6; i++) {
            assert_int_equal(t.same[i], same[i]);
            assert_int_equal(t.known[i], i == 0 || i == 2 ? ES_KNOWN_OWN : i == 1 ? ES_KNOWN_SAME : ES_KNOWN_NOT);
        }
        assert_int_equal(t.same_as[3], 20000);
        assert_int_equal(t.same_as[4], 0);
        assert_true((sources != 0) == (k == 1));
    }
    for (int i = 0; i < 6; i++) {
        char name[40];
        snprintf(name, sizeof name, "known/frame_%02d.jpg", i);
        unlink(place(name));
    }
    rmdir(sub);
}

static bool drop_middle(void *context, double seconds, const char *path)
{
    (void)path;
    ++*(int *)context;
    return seconds >= 10 && seconds < 30;
}

static void test_dropped_moments_are_never_decoded_to_pictures(void **state)
{
    static const int widths[] = {8, 16, 24, 32, 40};
    es_sampler_options o;
    int asked = 0;
    (void)state;
    make_video(place("drop.mkv"), widths, 5, 10);
    es_sampler_options_init(&o);
    o.scene = 0;
    o.drop = drop_middle;
    o.context = &asked;
    taken t = take_all(place("drop.mkv"), &o);
    assert_int_equal(t.count, 3);
    assert_int_equal(t.at[1], 30000);
    assert_int_equal(t.info.dropped, 2);
    assert_int_equal(asked, 5);
}

static void test_names_tell_when_a_screenshot_was_taken(void **state)
{
    (void)state;
    double t = es_stamp_seconds("2026-11-23_10-15-30.png");
    assert_true(fabs(t - 1795428930) < 0.5);
    assert_true(fabs(es_stamp_seconds("Screenshot 2026-11-23 at 10.15.30.png") - t) < 0.5);
    assert_true(fabs(es_stamp_seconds("shot-20261123T101530.jpg") - t) < 0.5);
    assert_true(fabs(es_stamp_seconds("20261123101530.webp") - t) < 0.5);
    assert_true(fabs(es_stamp_seconds("screen_1795428930.png") - t) < 0.5);
    assert_true(fabs(es_stamp_seconds("1795428930250.png") - t - 0.25) < 0.001);
    assert_true(es_stamp_seconds("2000-02-29 23:59:59.png") > 0);
    static const char *const none[] = {"frame_0030s.png",
                                       "12345.png",
                                       "2026-13-23_10-15-30.png",
                                       "",
                                       "x",
                                       "2026-11-23.png",
                                       "99999999999999999999.png",
                                       "2026-11-23_25-00-00.png"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (es_stamp_seconds(none[i]) >= 0)
            fail_msg("%s", none[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_still_frames_and_frames_seen_before_come_without_their_picture),
        cmocka_unit_test(test_a_change_between_two_samples_gives_one_of_its_own),
        cmocka_unit_test(test_a_directory_is_a_recording),
        cmocka_unit_test(test_a_followed_directory_gives_what_appears_until_told_to_finish),
        cmocka_unit_test(test_closing_in_the_middle_waits_for_nobody),
        cmocka_unit_test(test_a_long_interval_is_filled_where_something_moves),
        cmocka_unit_test(test_moments_are_looked_at_and_compared_with_the_known_one_before),
        cmocka_unit_test(test_what_is_shown_again_after_something_else_is_the_same),
        cmocka_unit_test(test_what_is_known_is_not_looked_at_but_compared_with),
        cmocka_unit_test(test_dropped_moments_are_never_decoded_to_pictures),
        cmocka_unit_test(test_names_tell_when_a_screenshot_was_taken),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
