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

#include "session/video.h"
#include "videos.h"

/* --- drawing: letters are patterns of 3 x 5 dots, each two pixels or one wide --- */

typedef struct screen {
    es_image image;
    int letter_w, letter_h, dot; /* pixels */
    uint8_t paper[3], ink[3];
} screen;

static void box(screen *s, int x, int y, int w, int h, const uint8_t colour[3])
{
    for (int r = y; r < y + h && r < s->image.height; r++)
        for (int c = x; c < x + w && c < s->image.width; c++)
            memcpy(s->image.rgb + ((size_t)r * (size_t)s->image.width + (size_t)c) * 3, colour, 3);
}

static void letter(screen *s, int column, int row, char text, const uint8_t ink[3])
{
    int x = column * s->letter_w, y = row * s->letter_h;
    unsigned dots = text == ' ' ? 0 : (unsigned)text * 2654435761u;
    box(s, x, y, s->letter_w, s->letter_h, s->paper);
    for (int k = 0; k < 15; k++)
        if (dots >> (8 + k) & 1)
            box(s, x + k % 3 * s->dot, y + 2 + k / 3 * 2 * s->dot, s->dot, s->dot + 1, ink);
}

static void word(screen *s, int column, int row, const char *text)
{
    for (int i = 0; text[i] != '\0'; i++)
        letter(s, column + i, row, text[i], s->ink);
}

/* Lines of made-up words, the same for the same seed; the first line shown is `top`. */
static void fill(screen *s, int top)
{
    int columns = s->image.width / s->letter_w, rows = s->image.height / s->letter_h;
    box(s, 0, 0, s->image.width, s->image.height, s->paper);
    for (int r = 1; r < rows - 1; r++) {
        unsigned seed = (unsigned)(top + r) * 7919u + 17;
        int indent = (int)(seed >> 5) % 4 * 4, length = indent + 10 + (int)(seed >> 3) % (columns / 2);
        for (int c = indent; c < length && c < columns - 2; c++) {
            seed = seed * 1103515245u + 12345;
            letter(s, c, r, (seed >> 16) % 6 == 0 ? ' ' : (char)('a' + (seed >> 20) % 26), s->ink);
        }
    }
    word(s, columns - 8, 0, "12:41");
}

static void pointer(screen *s, int x, int y)
{
    static const uint8_t white[3] = {255, 255, 255}, black[3] = {0, 0, 0};
    for (int r = 0; r < 19; r++) {
        box(s, x, y + r, 1 + r * 11 / 18, 1, black);
        if (r > 2)
            box(s, x + 1, y + r, r * 11 / 18 - 1 > 0 ? r * 11 / 18 - 1 : 0, 1, white);
    }
}

typedef enum change {
    NOTHING,
    POINTER_MOVED,
    CARET_MOVED,
    CLOCK_MINUTE,
    LAST_HARMLESS = CLOCK_MINUTE,
    WORD_CHANGED,
    TWO_WORDS_CHANGED,
    WORD_TYPED_IN_LAST_LINE,
    LINE_ADDED,
    LINE_SCROLLED,
    LINE_SELECTED,
    OTHER_SCREEN,
    CHANGES
} change;
static const char *const names[] = {
    "nothing",      "pointer moved", "caret moved",       "clock's minute",  "a word",        "two words",
    "a word typed", "a line added",  "one line scrolled", "a line selected", "another screen"};

static void draw(screen *s, change what)
{
    static const uint8_t blue[3] = {60, 90, 160};
    int rows = s->image.height / s->letter_h, columns = s->image.width / s->letter_w;
    fill(s, what == LINE_SCROLLED ? 1 : what == OTHER_SCREEN ? 500 : 0);
    if (what == WORD_CHANGED || what == TWO_WORDS_CHANGED)
        word(s, 6, rows / 2, "fix");
    if (what == TWO_WORDS_CHANGED)
        word(s, 20, rows / 3, "passed");
    if (what == WORD_TYPED_IN_LAST_LINE)
        word(s, 2, rows - 1, "make");
    if (what == LINE_ADDED)
        word(s, 0, rows - 1, "error: no such file");
    if (what == CLOCK_MINUTE)
        word(s, columns - 4, 0, "2");
    if (what == LINE_SELECTED) {
        for (int i = 0; i < s->letter_h * s->image.width / 3; i++) {
            uint8_t *p =
                s->image.rgb + ((size_t)(rows / 4 * s->letter_h + i / (s->image.width / 3)) * (size_t)s->image.width +
                                (size_t)(i % (s->image.width / 3))) *
                                   3;
            if (memcmp(p, s->paper, 3) == 0)
                memcpy(p, blue, 3);
        }
    }
    box(s, (what == CARET_MOVED ? 9 : 5) * s->letter_w, (rows - 1) * s->letter_h, s->letter_w, s->letter_h, s->ink);
    pointer(s, what == POINTER_MOVED ? 200 : 340, what == POINTER_MOVED ? 300 : 220);
}

static const struct kind {
    const char *name;
    int width, height, letter_w, letter_h, dot;
    uint8_t paper[3], ink[3];
} kinds[] = {
    {"dark terminal, 1080 lines", 1920, 1080, 8, 16, 2, {30, 30, 30}, {200, 200, 200}},
    {"light page, 1080 lines", 1920, 1080, 9, 18, 2, {255, 255, 255}, {50, 50, 60}},
    {"pale grey, 720 lines", 1280, 720, 8, 16, 2, {40, 44, 52}, {130, 137, 151}},
    {"small letters, 576 lines", 1024, 576, 6, 12, 1, {0, 0, 0}, {220, 220, 220}},
    {"4K at 100 %", 3840, 2160, 8, 16, 2, {30, 30, 30}, {200, 200, 200}},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static screen make_screen(const struct kind *k)
{
    screen s = {.letter_w = k->letter_w, .letter_h = k->letter_h, .dot = k->dot};
    s.image = (es_image){k->width, k->height, malloc((size_t)k->width * (size_t)k->height * 3)};
    memcpy(s.paper, k->paper, 3);
    memcpy(s.ink, k->ink, 3);
    assert_non_null(s.image.rgb);
    return s;
}

static bool changed(const es_image *a, const es_image *b)
{
    es_difference d;
    assert_int_equal(es_compare_images(a, b, ES_SAME_THRESHOLD, &d, NULL), ES_OK);
    return d.changed;
}

static void test_every_labelled_change_is_seen_and_nothing_else(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        screen a = make_screen(&kinds[k]), b = make_screen(&kinds[k]);
        draw(&a, NOTHING);
        for (change c = NOTHING; c < CHANGES; c++) {
            draw(&b, c);
            if (changed(&a.image, &b.image) != (c > LAST_HARMLESS))
                fail_msg("%s, %s", kinds[k].name, names[c]);
        }
        free(a.image.rgb);
        free(b.image.rgb);
    }
}

/* Each change after a still base, as a recording holds it. Returns the harmless ones that were not reused. */
static int through_codec(const struct kind *kind, const video_kind *codec, const char *path)
{
    screen s = make_screen(kind);
    video_maker m;
    int lost_reuse = 0;
    es_video *video;
    es_error err = {0};
    video_begin(&m, path, codec);
    for (int c = 0; c < CHANGES; c++) {
        draw(&s, NOTHING);
        for (int k = 0; k < 3; k++)
            video_add(&m, s.image.rgb, c * 10 + k);
        draw(&s, (change)c);
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
            fail_msg("lost: %s through %s, %s", kind->name, codec->codec, names[c]);
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
            video_kind codec = {.width = kinds[k].width,
                                .height = kinds[k].height,
                                .codec = codecs[c],
                                .format = "yuv420p",
                                .keys = 8,
                                .quality = c == 0 ? 4 : 0};
            int kept = through_codec(&kinds[k], &codec, path);
            print_message("%s, %s: %d of %d harmless differences asked again\n", codecs[c], kinds[k].name, kept,
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
    screen a = make_screen(&kinds[0]), b = make_screen(&kinds[0]);
    draw(&a, NOTHING);
    draw(&b, NOTHING);
    for (size_t i = 0; i < (size_t)1920 * 1080 * 3; i += 5)
        b.image.rgb[i] = (uint8_t)(b.image.rgb[i] ^ 16);
    assert_false(changed(&a.image, &b.image));
    assert_int_equal(es_compare_images(&a.image, &b.image, 0, &d, NULL), ES_OK);
    assert_true(d.changed);
    draw(&b, OTHER_SCREEN);
    assert_int_equal(es_compare_images(&a.image, &b.image, 255, &d, NULL), ES_OK);
    assert_false(d.changed);
    free(a.image.rgb);
    free(b.image.rgb);
}

static void test_hashes_tell_equal_from_different_and_near_from_far(void **state)
{
    (void)state;
    char hex[3][ES_CONTENT_HEX + 1];
    screen a = make_screen(&kinds[2]), b = make_screen(&kinds[2]);
    draw(&a, NOTHING);
    draw(&b, NOTHING);
    es_content_hash(&a.image, hex[0]);
    es_content_hash(&b.image, hex[1]);
    assert_string_equal(hex[0], hex[1]);
    assert_int_equal(strlen(hex[0]), ES_CONTENT_HEX);
    b.image.rgb[12345] ^= 1;
    es_content_hash(&b.image, hex[1]);
    assert_string_not_equal(hex[0], hex[1]);
    draw(&b, WORD_CHANGED);
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
