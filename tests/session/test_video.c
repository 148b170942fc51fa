/* Recordings by FFmpeg's libraries: the frame on screen at a moment, whatever the container, the rate and the damage.
 */
#include "session/video.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
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

static const char *sample(void)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/samples/recording.mp4", getenv("ESCRIBA_SOURCE_ROOT"));
    return path;
}

static es_video *open_video(const char *path)
{
    es_video *video;
    es_error err = {0};
    if (es_video_open(&video, path, 1, &err) != ES_OK)
        fail_msg("%s", err.message);
    return video;
}

/* The grey level on screen at t, or -1 at the end. */
static int level_at(es_video *video, double t)
{
    bool there, same;
    es_image image;
    es_error err = {0};
    if (es_video_seek(video, t, &there, &same, &err) != ES_OK)
        fail_msg("%s", err.message);
    if (!there)
        return -1;
    if (es_video_image(video, &image, &err) != ES_OK)
        fail_msg("%s", err.message);
    int level = image.rgb[((size_t)image.height / 2 * (size_t)image.width + (size_t)image.width / 2) * 3];
    es_image_free(&image);
    return level;
}

static void expect_level(es_video *video, double t, int level)
{
    int seen = level_at(video, t);
    if (abs(seen - level) > 2)
        fail_msg("at %g s: grey %d, not %d", t, seen, level);
}

static void test_the_frame_on_screen_is_the_last_one_not_after_the_moment(void **state)
{
    static const char *const names[] = {"vary.mkv", "vary.mov"};
    static const double times[] = {0, 0.4, 9.999, 10, 10.001, 25, 61};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        video_maker m;
        video_begin(&m, place(names[i]), &(video_kind){.width = 64, .height = 48, .keys = 3});
        for (int k = 0; k < 7; k++)
            video_add_grey(&m, 30 * k + 20, times[k]);
        video_add_grey(&m, 10, 65);
        video_add_grey(&m, 10, 66); /* the last one has no length of its own: mov may drop it */
        video_end(&m);
        es_video *video = open_video(place(names[i]));
        expect_level(video, 0, 20);
        expect_level(video, 0.39, 20);
        expect_level(video, 0.4, 50);
        expect_level(video, 9.9985, 50);
        expect_level(video, 9.9995, 80);
        expect_level(video, 10, 110);
        expect_level(video, 20, 140);
        expect_level(video, 30, 170);
        expect_level(video, 60.99, 170);
        expect_level(video, 61, 200);
        assert_int_equal(level_at(video, 3000), -1);
        es_video_close(video);
    }
}

static void test_times_count_from_the_first_frame(void **state)
{
    (void)state;
    video_maker m;
    video_begin(&m, place("late.mkv"), &(video_kind){.width = 32, .height = 32});
    video_add_grey(&m, 40, 100);
    video_add_grey(&m, 90, 105);
    video_end(&m);
    es_video *video = open_video(place("late.mkv"));
    expect_level(video, 0, 40);
    expect_level(video, 5, 90);
    es_video_close(video);
}

static void test_a_frame_that_stays_is_told_as_the_same(void **state)
{
    (void)state;
    bool there, same;
    video_maker m;
    video_begin(&m, place("stays.mkv"), &(video_kind){.width = 32, .height = 32});
    video_add_grey(&m, 40, 0);
    video_add_grey(&m, 90, 35);
    video_add_grey(&m, 90, 36);
    video_end(&m);
    es_video *video = open_video(place("stays.mkv"));
    for (int t = 0; t < 40; t += 10) {
        assert_int_equal(es_video_seek(video, t, &there, &same, NULL), ES_OK);
        assert_true(there == (t <= 36));
        assert_true(same == (t == 10 || t == 20 || t == 30));
        if (there)
            assert_true(fabs(es_video_shown_since(video) - (t < 35 ? 0 : 36)) < 0.002);
    }
    es_video_close(video);
}

static void test_jumping_by_key_frames_gives_what_decoding_everything_gives(void **state)
{
    static const char *const names[] = {"keys.mkv", "keys.mov", "keys.avi"};
    static const int steps[] = {1, 7, 60};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        video_maker m; /* mpeg4 with a key frame each 50 frames, 5 a second, 200 s; the level tells the second */
        video_begin(
            &m, place(names[i]),
            &(video_kind){.width = 64, .height = 64, .codec = "mpeg4", .format = "yuv420p", .keys = 50, .quality = 1});
        for (int k = 0; k < 1000; k++)
            video_add_grey(&m, 20 + k / 5, k / 5.0);
        video_end(&m);
        for (size_t s = 0; s < 3; s++) {
            es_video *video = open_video(place(names[i]));
            for (int t = 0; t < 200; t += steps[s])
                expect_level(video, t + 0.05, 20 + t);
            es_video_close(video);
        }
    }
}

enum { BAR_FRAMES = 400, BAR_WIDTH = 320, BAR_STEP = 4 };

/* When frame k of the recording with the moving bar comes on screen: irregular, now and then after a long pause. */
static double bar_time(int k)
{
    return k / 20.0 + k / 50 * 7 + (k % 3 == 1 ? 0.02 : 0);
}

static bool make_bar_video(const char *path, const char *codec, const char *preset)
{
    static uint8_t rgb[BAR_WIDTH * 64 * 3];
    video_maker m;
    if (avcodec_find_encoder_by_name(codec) == NULL)
        return false;
    video_begin(
        &m, path,
        &(video_kind){
            .width = BAR_WIDTH, .height = 64, .codec = codec, .format = "yuv420p", .keys = 120, .preset = preset});
    for (int k = 0; k < BAR_FRAMES; k++) {
        memset(rgb, 30, sizeof rgb);
        for (int y = 0; y < 64; y++)
            memset(rgb + (y * BAR_WIDTH + k * BAR_STEP % (BAR_WIDTH - 8)) * 3, 220, 8 * 3);
        video_add(&m, rgb, bar_time(k));
    }
    video_end(&m);
    return true;
}

/* Whether frames of the file are shown in another order than they are decoded. */
static bool is_reordered(const char *path)
{
    AVFormatContext *file = NULL;
    assert_true(avformat_open_input(&file, path, NULL, NULL) >= 0);
    assert_true(avformat_find_stream_info(file, NULL) >= 0);
    bool reordered = file->streams[0]->codecpar->video_delay > 0;
    avformat_close_input(&file);
    return reordered;
}

static void expect_bar(es_video *video, double t, int k)
{
    bool there, same;
    es_image image;
    assert_int_equal(es_video_seek(video, t, &there, &same, NULL), ES_OK);
    assert_true(there);
    assert_true(fabs(es_video_shown_since(video) - bar_time(k)) < 0.002);
    assert_int_equal(es_video_image(video, &image, NULL), ES_OK);
    int x = k * BAR_STEP % (BAR_WIDTH - 8);
    for (int at = 0; at < BAR_WIDTH; at++) {
        bool bright = image.rgb[(32 * BAR_WIDTH + at) * 3 + 1] > 125;
        if (bright != (at >= x && at < x + 8) && abs(at - x) > 1 && abs(at - x - 8) > 1)
            fail_msg("at %g s: no bar of frame %d at %d", t, k, at);
    }
    es_image_free(&image);
}

/* Pictures that nothing is predicted from are left out before the moment asked for, and never the one that is. */
static void test_leaving_pictures_out_never_leaves_out_the_one_on_screen(void **state)
{
    static const char *const codecs[] = {"libx264", "libx265"}, *const presets[] = {"veryfast", "slow"};
    static const char *const endings[] = {"mkv", "mp4", "mov"};
    size_t tried = 0;
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    size_t last = 6; /* x265 itself leaks */
#else
    size_t last = 12;
#endif
    for (size_t i = 0; i < last; i++) {
        char name[32], path[128];
        snprintf(name, sizeof name, "bar%zu.%s", i, endings[i % 3]);
        strcpy(path, place(name));
        if (!make_bar_video(path, codecs[i / 6], presets[i / 3 % 2]))
            continue;
        assert_true(is_reordered(path));
        for (int stride = 1; stride < 200; stride = stride * 3 + 2) {
            es_video *video = open_video(path);
            for (int k = 0; k < BAR_FRAMES - 1; k += stride) /* the last one has no length of its own */
                expect_bar(video, bar_time(k) + 0.0015, k);
            es_video_close(video);
        }
        tried++;
        unlink(path);
    }
    if (tried == 0)
        skip(); /* this FFmpeg can encode neither */
}

static void test_one_and_240_frames_a_second_and_ten_bit_give_right_frames(void **state)
{
    (void)state;
    video_maker m;
    video_begin(&m, place("fast.mkv"), &(video_kind){.width = 32, .height = 32, .keys = 240});
    for (int k = 0; k < 240 * 12; k++)
        video_add_grey(&m, 20 + k / 240 * 10, k / 240.0);
    video_end(&m);
    es_video *video = open_video(place("fast.mkv"));
    expect_level(video, 0.5, 20);
    expect_level(video, 10.5, 120);
    es_video_close(video);
    video_begin(&m, place("ten.mkv"), &(video_kind){.width = 34, .height = 18, .format = "yuv420p10le"});
    for (int k = 0; k < 30; k++)
        video_add_grey(&m, 20 + k * 7, k);
    video_end(&m);
    video = open_video(place("ten.mkv"));
    for (int t = 0; t < 30; t++)
        expect_level(video, t, 20 + t * 7);
    assert_int_equal(level_at(video, 32), -1);
    es_video_close(video);
}

/* Left half red, right half blue, upper left quarter white. */
static void test_rotation_brings_pictures_upright(void **state)
{
    static const double degrees[] = {0, 90, 180, -90};
    /* where the white quarter lies then: x, y as parts of the picture */
    static const double white[][2] = {{0.25, 0.25}, {0.75, 0.25}, {0.75, 0.75}, {0.25, 0.75}};
    uint8_t rgb[20 * 40 * 3];
    (void)state;
    for (int y = 0; y < 20; y++)
        for (int x = 0; x < 40; x++)
            memset(rgb + (y * 40 + x) * 3, x < 20 && y < 10 ? 250 : 10, 3);
    for (size_t i = 0; i < 4; i++) {
        video_maker m;
        bool there, same;
        es_video_info info;
        es_image image;
        video_begin(&m, place("turned.mov"),
                    &(video_kind){.width = 40,
                                  .height = 20,
                                  .codec = "mpeg4",
                                  .format = "yuv420p",
                                  .quality = 1,
                                  .rotation = degrees[i]});
        video_add(&m, rgb, 0);
        video_add(&m, rgb, 1);
        video_end(&m);
        es_video *video = open_video(place("turned.mov"));
        es_video_tell(video, &info);
        assert_int_equal(es_video_seek(video, 0, &there, &same, NULL), ES_OK);
        assert_int_equal(es_video_image(video, &image, NULL), ES_OK);
        assert_int_equal(image.width, i % 2 == 0 ? 40 : 20);
        assert_int_equal(info.width, image.width);
        assert_int_equal(info.height, image.height);
        for (size_t k = 0; k < 4; k++) {
            int x = (int)(white[k][0] * image.width), y = (int)(white[k][1] * image.height);
            assert_true((image.rgb[(y * image.width + x) * 3] > 128) == (k == i));
        }
        es_image_free(&image);
        es_video_close(video);
    }
}

static void test_colours_survive(void **state)
{
    static const uint8_t colours[][3] = {{250, 5, 5}, {5, 250, 5}, {5, 5, 250}, {250, 250, 5}, {128, 128, 128}};
    static const int heights[] = {48, 720}; /* BT.601 and BT.709 */
    (void)state;
    for (size_t h = 0; h < 2; h++) {
        uint8_t *rgb = malloc((size_t)64 * (size_t)heights[h] * 3);
        video_maker m;
        video_begin(&m, place("colours.mkv"), &(video_kind){.width = 64, .height = heights[h]});
        for (size_t c = 0; c < 5; c++) {
            for (int i = 0; i < 64 * heights[h]; i++)
                memcpy(rgb + i * 3, colours[c], 3);
            video_add(&m, rgb, (double)c);
        }
        video_end(&m);
        free(rgb);
        es_video *video = open_video(place("colours.mkv"));
        for (size_t c = 0; c < 5; c++) {
            bool there, same;
            es_image image;
            assert_int_equal(es_video_seek(video, (double)c, &there, &same, NULL), ES_OK);
            assert_int_equal(es_video_image(video, &image, NULL), ES_OK);
            for (int k = 0; k < 3; k++)
                assert_true(abs(image.rgb[k] - colours[c][k]) <= 4);
            es_image_free(&image);
        }
        es_video_close(video);
    }
}

static void test_an_8k_recording_becomes_4k_in_memory(void **state)
{
    (void)state;
    video_maker m;
    bool there, same;
    es_image image;
    es_video_info info;
    video_begin(&m, place("large.mkv"),
                &(video_kind){.width = 7680, .height = 4320, .codec = "mjpeg", .format = "yuvj420p", .quality = 5});
    video_add_grey(&m, 100, 0);
    video_end(&m);
    es_video *video = open_video(place("large.mkv"));
    es_video_tell(video, &info);
    assert_int_equal(info.width, 7680);
    assert_int_equal(es_video_seek(video, 0, &there, &same, NULL), ES_OK);
    assert_int_equal(es_video_image(video, &image, NULL), ES_OK);
    assert_int_equal(image.width, 3840);
    assert_int_equal(image.height, 2160);
    es_image_free(&image);
    es_video_close(video);
}

static void test_the_sample_recording_opens_and_ends_as_its_script_says(void **state)
{
    (void)state;
    bool there = true, same;
    es_video_info info;
    uint8_t thumb[2][ES_THUMB_WIDTH * ES_THUMB_HEIGHT];
    es_video *video = open_video(sample());
    int frames = 0;
    long most = 0;
    es_video_tell(video, &info);
    assert_string_equal(info.codec, "h264");
    assert_int_equal(info.width, 1024);
    for (int t = 0; there; t += 10) {
        assert_int_equal(es_video_seek(video, t, &there, &same, NULL), ES_OK);
        if (!there)
            break;
        assert_int_equal(es_video_thumbnail(video, thumb[frames % 2], NULL), ES_OK);
        long difference = 0;
        for (int i = 0; frames > 0 && i < ES_THUMB_WIDTH * ES_THUMB_HEIGHT; i++)
            difference += abs(thumb[0][i] - thumb[1][i]);
        most = difference > most ? difference : most;
        frames++;
    }
    es_video_tell(video, &info);
    assert_int_equal(frames, 14); /* 0, 10 .. 130 of 130.2 s */
    assert_true(fabs(info.seconds - 130.2) < 0.01);
    assert_false(info.truncated);
    assert_int_equal(info.damaged, 0);
    assert_true(most > ES_THUMB_WIDTH * ES_THUMB_HEIGHT * 20L); /* terminal to browser: the whole screen */
    es_video_close(video);
}

/* --- hostile files --- */

static void copy_part(const char *from, const char *to, size_t most)
{
    char *data;
    size_t size;
    es_error err = {0};
    if (es_file_read(from, (size_t)64 << 20, &data, &size, &err) != ES_OK)
        fail_msg("%s", err.message);
    assert_int_equal(es_file_write(to, data, size < most ? size : most, 0600, NULL), ES_OK);
    free(data);
}

static void expect_refusal(const char *path, es_status status, const char *word)
{
    es_video *video;
    es_error err = {0};
    assert_int_equal(es_video_open(&video, path, 1, &err), status);
    assert_null(video);
    if (strstr(err.message, word) == NULL || strstr(err.message, path) == NULL || strchr(err.message, '\n') != NULL)
        fail_msg("%s", err.message);
}

static void test_what_is_no_video_is_refused_in_one_line(void **state)
{
    (void)state;
    es_file_write(place("text.mp4"), "#EXTM3U\nhttp://localhost/secret\n", 32, 0600, NULL);
    expect_refusal(place("text.mp4"), ES_ERR_FORMAT, "whole video");
    const char list[] = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n";
    es_file_write(place("list.m3u8"), list, sizeof list - 1, 0600, NULL);
    expect_refusal(place("list.m3u8"), ES_ERR_FORMAT, "whole video");
    const char concat[] = "ffconcat version 1.0\nfile recording.mp4\n";
    es_file_write(place("concat.mp4"), concat, sizeof concat - 1, 0600, NULL);
    expect_refusal(place("concat.mp4"), ES_ERR_FORMAT, "whole video");
    es_file_write(place("empty.mp4"), "", 0, 0600, NULL);
    expect_refusal(place("empty.mp4"), ES_ERR_FORMAT, "empty");
    expect_refusal(place("missing.mp4"), ES_ERR_IO, "No such file");
    expect_refusal(dir, ES_ERR_IO, "regular file");
    expect_refusal("http://localhost/x.mp4", ES_ERR_IO, "No such file");
    audio_only(place("sound.mov"));
    expect_refusal(place("sound.mov"), ES_ERR_UNSUPPORTED, "only sound");
    audio_only(place("sound.mkv"));
    expect_refusal(place("sound.mkv"), ES_ERR_UNSUPPORTED, "only sound");
}

static void test_an_mp4_without_its_index_is_refused(void **state)
{
    (void)state;
    video_maker m; /* the index is written last: this is what a killed recorder leaves */
    video_begin(&m, place("whole.mov"), &(video_kind){.width = 64, .height = 64});
    for (int k = 0; k < 30; k++)
        video_add_grey(&m, k, k);
    video_end(&m);
    char from[128], *data;
    size_t size;
    strcpy(from, place("whole.mov"));
    assert_int_equal(es_file_read(from, 1 << 24, &data, &size, NULL), ES_OK);
    free(data);
    copy_part(from, place("cut.mov"), size / 2);
    expect_refusal(place("cut.mov"), ES_ERR_FORMAT, "still being written");
}

/* Frames there are at an interval of a second; *info as it is after the last. */
static int count_frames(const char *path, es_video_info *info)
{
    bool there = true, same;
    int frames = 0;
    es_error err = {0};
    es_video *video = open_video(path);
    for (int t = 0; there; t++) {
        if (es_video_seek(video, t, &there, &same, &err) != ES_OK)
            fail_msg("%s", err.message);
        frames += there;
        assert_true(frames < 1000);
    }
    es_video_tell(video, info);
    es_video_close(video);
    return frames;
}

static void test_a_matroska_cut_in_the_middle_gives_what_it_has_and_says_so(void **state)
{
    (void)state;
    video_maker m;
    es_video_info info;
    video_begin(&m, place("long.mkv"), &(video_kind){.width = 64, .height = 64});
    for (int k = 0; k < 100; k++)
        video_add_grey(&m, k * 2, k);
    video_end(&m);
    char from[128], *data;
    size_t size;
    strcpy(from, place("long.mkv"));
    assert_in_range(count_frames(from, &info), 100, 101);
    assert_false(info.truncated);
    assert_int_equal(es_file_read(from, 1 << 24, &data, &size, NULL), ES_OK);
    free(data);
    for (size_t part = 3; part < 9; part++) {
        copy_part(from, place("part.mkv"), size * part / 10);
        int frames = count_frames(place("part.mkv"), &info);
        assert_in_range(frames, part * 10 - 15, part * 10 + 15);
        assert_true(frames < 100);
        assert_true(info.truncated);
        assert_true(info.seconds < (double)frames + 1);
    }
}

static void test_an_mp4_with_its_index_in_front_cut_in_the_middle_says_so(void **state)
{
    char path[1024], *data;
    size_t size;
    es_video_info info;
    (void)state;
    snprintf(path, sizeof path, "%s/tests/cli/small.mp4", getenv("ESCRIBA_SOURCE_ROOT"));
    assert_in_range(count_frames(path, &info), 130, 131);
    assert_false(info.truncated);
    assert_int_equal(es_file_read(path, 1 << 24, &data, &size, NULL), ES_OK);
    free(data);
    copy_part(path, place("half.mp4"), size / 2);
    int frames = count_frames(place("half.mp4"), &info);
    assert_in_range(frames, 20, 110);
    assert_true(info.truncated);
    assert_true(info.seconds > frames - 2 && info.seconds < frames + 1);
}

static void test_the_sample_cut_or_spoiled_never_crashes_and_keeps_times_in_order(void **state)
{
    (void)state;
    char *data;
    size_t size;
    unsigned seed = 12345;
    assert_int_equal(es_file_read(sample(), 1 << 24, &data, &size, NULL), ES_OK);
    for (int round = 0; round < 12; round++) {
        char *bad = malloc(size);
        memcpy(bad, data, size);
        size_t keep = round % 3 == 0 ? size * (size_t)(round + 1) / 13 : size;
        for (int k = 0; round % 3 != 0 && k < 60; k++) {
            seed = seed * 1103515245 + 12345;
            bad[round % 3 == 1 ? (seed >> 8) % size : (seed >> 8) % 4096] = (char)(seed >> 24);
        }
        assert_int_equal(es_file_write(place("bad.mp4"), bad, keep, 0600, NULL), ES_OK);
        free(bad);
        es_video *video;
        es_error err = {0};
        if (es_video_open(&video, place("bad.mp4"), 1, &err) != ES_OK) {
            assert_true(err.message[0] != '\0' && strchr(err.message, '\n') == NULL);
            continue;
        }
        bool there = true, same;
        double last = 0;
        for (int t = 0; t < 200 && there; t += 10) {
            if (es_video_seek(video, t, &there, &same, &err) != ES_OK)
                break;
            if (!there)
                break;
            assert_true(es_video_shown_since(video) >= last && es_video_shown_since(video) <= fmax(t, last));
            last = es_video_shown_since(video);
        }
        es_video_close(video);
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_frame_on_screen_is_the_last_one_not_after_the_moment),
        cmocka_unit_test(test_times_count_from_the_first_frame),
        cmocka_unit_test(test_a_frame_that_stays_is_told_as_the_same),
        cmocka_unit_test(test_jumping_by_key_frames_gives_what_decoding_everything_gives),
        cmocka_unit_test(test_leaving_pictures_out_never_leaves_out_the_one_on_screen),
        cmocka_unit_test(test_one_and_240_frames_a_second_and_ten_bit_give_right_frames),
        cmocka_unit_test(test_rotation_brings_pictures_upright),
        cmocka_unit_test(test_colours_survive),
        cmocka_unit_test(test_an_8k_recording_becomes_4k_in_memory),
        cmocka_unit_test(test_the_sample_recording_opens_and_ends_as_its_script_says),
        cmocka_unit_test(test_what_is_no_video_is_refused_in_one_line),
        cmocka_unit_test(test_an_mp4_without_its_index_is_refused),
        cmocka_unit_test(test_a_matroska_cut_in_the_middle_gives_what_it_has_and_says_so),
        cmocka_unit_test(test_an_mp4_with_its_index_in_front_cut_in_the_middle_says_so),
        cmocka_unit_test(test_the_sample_cut_or_spoiled_never_crashes_and_keeps_times_in_order),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
