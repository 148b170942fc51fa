/* What counts as change: a labelled set of small changes on drawn terminals and pages, as they are and through codecs.
 */
#include "session/same.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "screens.h"
#include "session/video.h"
#include "videos.h"

static bool changed(const es_image *a, const es_image *b)
{
    es_difference d;
    assert_int_equal(es_compare_images(a, b, ES_SAME_THRESHOLD, &d, NULL), ES_OK);
    return d.changed;
}

static void test_every_labelled_change_is_seen_and_nothing_else(void **state)
{
    (void)state;
    for (size_t k = 0; k < SCREEN_KINDS; k++) {
        screen a = screen_make(&screen_kinds[k]), b = screen_make(&screen_kinds[k]);
        screen_draw(&a, NOTHING);
        for (change c = NOTHING; c < CHANGES; c++) {
            screen_draw(&b, c);
            if (changed(&a.image, &b.image) != (c > LAST_HARMLESS))
                fail_msg("%s, %s", screen_kinds[k].name, change_names[c]);
        }
        free(a.image.rgb);
        free(b.image.rgb);
    }
}

/* Each change after a still base, as a recording holds it. Returns the harmless ones that were not reused. */
static int through_codec(const screen_kind *kind, const video_kind *codec, const char *path)
{
    screen s = screen_make(kind);
    video_maker m;
    int lost_reuse = 0;
    es_video *video;
    es_error err = {0};
    video_begin(&m, path, codec);
    for (int c = 0; c < CHANGES; c++) {
        screen_draw(&s, NOTHING);
        for (int k = 0; k < 3; k++)
            video_add(&m, s.image.rgb, c * 10 + k);
        screen_draw(&s, (change)c);
        for (int k = 3; k < 6; k++)
            video_add(&m, s.image.rgb, c * 10 + k);
    }
    video_end(&m);
    free(s.image.rgb);
    if (es_video_open(&video, path, 1, &err) != ES_OK)
        fail_msg("%s", err.message);
    for (int c = 0; c < CHANGES; c++) {
        es_image pair[2];
        bool there, same;
        for (int k = 0; k < 2; k++) {
            assert_int_equal(es_video_seek(video, c * 10 + 2.1 + 2 * k, &there, &same, &err), ES_OK);
            assert_int_equal(es_video_image(video, &pair[k], &err), ES_OK);
        }
        bool seen = changed(&pair[0], &pair[1]);
        if (c > LAST_HARMLESS && !seen)
            fail_msg("lost: %s through %s, %s", kind->name, codec->codec, change_names[c]);
        lost_reuse += c <= LAST_HARMLESS && seen;
        es_image_free(&pair[0]);
        es_image_free(&pair[1]);
    }
    es_video_close(video);
    return lost_reuse;
}

static void test_no_changed_frame_is_lost_through_lossy_codecs(void **state)
{
    static const char *const codecs[] = {"mpeg4", "libx264"};
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "%s/escriba-same-%d.mkv", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
             (int)getpid());
    for (size_t c = 0; c < 2; c++) {
        if (avcodec_find_encoder_by_name(codecs[c]) == NULL)
            continue; /* an FFmpeg without x264 */
        for (size_t k = 2; k < 4; k++) {
            video_kind codec = {.width = screen_kinds[k].width,
                                .height = screen_kinds[k].height,
                                .codec = codecs[c],
                                .format = "yuv420p",
                                .keys = 8,
                                .quality = c == 0 ? 4 : 0};
            int kept = through_codec(&screen_kinds[k], &codec, path);
            print_message("%s, %s: %d of %d harmless differences asked again\n", codecs[c], screen_kinds[k].name, kept,
                          LAST_HARMLESS + 1);
            assert_true(kept <= 1);
        }
    }
    unlink(path);
}

static void test_pictures_of_other_sizes_are_changed(void **state)
{
    uint8_t pixels[48] = {0};
    (void)state;
    es_image a = {4, 4, pixels}, b = {4, 3, pixels}, one = {1, 1, pixels};
    assert_true(changed(&a, &b));
    assert_false(changed(&a, &a));
    assert_false(changed(&one, &one));
}

static void test_the_threshold_decides_what_is_noise(void **state)
{
    (void)state;
    es_difference d;
    screen a = screen_make(&screen_kinds[0]), b = screen_make(&screen_kinds[0]);
    screen_draw(&a, NOTHING);
    screen_draw(&b, NOTHING);
    for (size_t i = 0; i < (size_t)1920 * 1080 * 3; i += 5)
        b.image.rgb[i] = (uint8_t)(b.image.rgb[i] ^ 16);
    assert_false(changed(&a.image, &b.image));
    assert_int_equal(es_compare_images(&a.image, &b.image, 0, &d, NULL), ES_OK);
    assert_true(d.changed);
    screen_draw(&b, OTHER_SCREEN);
    assert_int_equal(es_compare_images(&a.image, &b.image, 255, &d, NULL), ES_OK);
    assert_false(d.changed);
    free(a.image.rgb);
    free(b.image.rgb);
}

static void test_hashes_tell_equal_from_different_and_near_from_far(void **state)
{
    (void)state;
    char hex[3][ES_CONTENT_HEX + 1];
    screen a = screen_make(&screen_kinds[2]), b = screen_make(&screen_kinds[2]);
    screen_draw(&a, NOTHING);
    screen_draw(&b, NOTHING);
    es_content_hash(&a.image, hex[0]);
    es_content_hash(&b.image, hex[1]);
    assert_string_equal(hex[0], hex[1]);
    assert_int_equal(strlen(hex[0]), ES_CONTENT_HEX);
    b.image.rgb[12345] ^= 1;
    es_content_hash(&b.image, hex[1]);
    assert_string_not_equal(hex[0], hex[1]);
    screen_draw(&b, WORD_CHANGED);
    assert_true(es_hash_distance(es_perceptual_hash(&a.image), es_perceptual_hash(&b.image)) < 4);
    for (size_t i = 0; i < (size_t)1280 * 720 * 3; i++)
        b.image.rgb[i] = (uint8_t)(i % 3840 / 15);
    assert_true(es_hash_distance(es_perceptual_hash(&a.image), es_perceptual_hash(&b.image)) > 20);
    uint8_t bytes[3] = {1, 2, 3};
    es_image tiny = {1, 1, bytes};
    assert_int_equal(es_perceptual_hash(&tiny), 0);
    free(a.image.rgb);
    free(b.image.rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_labelled_change_is_seen_and_nothing_else),
        cmocka_unit_test(test_no_changed_frame_is_lost_through_lossy_codecs),
        cmocka_unit_test(test_pictures_of_other_sizes_are_changed),
        cmocka_unit_test(test_the_threshold_decides_what_is_noise),
        cmocka_unit_test(test_hashes_tell_equal_from_different_and_near_from_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
