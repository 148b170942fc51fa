/* test_image.c - picture files to pixels: as the reference loader has them, or one clear line and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../fuzz/replay.h"
#include "base/file.h"
#include "base/json.h"
#include "faults.h"
#include "drawn.h"
#include "model/image.h"

/* --- helpers --- */

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

static char *source_path(const char *folder, const char *name)
{
    const char *root = getenv("ESCRIBA_SOURCE_ROOT");
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/%s", root == NULL ? "." : root, folder);
    char *joined = es_path_join(path, name);
    assert_non_null(joined);
    return joined;
}

static bytes read_source(const char *folder, const char *name)
{
    char *path = source_path(folder, name), *data;
    bytes file;
    es_error err = {0};
    if (es_file_read(path, 16 << 20, &data, &file.size, &err) != ES_OK)
        fail_msg("%s", err.message);
    file.data = (uint8_t *)data;
    free(path);
    return file;
}

/* Calls fn with each picture of the vectors: its file, its pixels ([height, width, 3], NULL when it has none). */
static void each_vector(void (*fn)(const json_t *one, const char *name, bytes file, const uint8_t *pixels))
{
    bytes all = read_source("vectors/image", "pixels.bin"), text = read_source("vectors/image", "files.json");
    json_t *json, *one;
    size_t i;
    assert_int_equal(es_json_parse(&json, (const char *)text.data, text.size, "files.json", NULL), ES_OK);
    json_array_foreach(json_object_get(json, "cases"), i, one)
    {
        const char *name = json_string_value(json_object_get(one, "file"));
        const json_t *offset = json_object_get(one, "offset");
        bytes file = read_source("vectors/image", name);
        fn(one, name, file, offset == NULL ? NULL : all.data + json_integer_value(offset));
        free(file.data);
    }
    assert_true(i > 80);
    json_decref(json);
    free(all.data);
    free(text.data);
}

/* Decodes a copy in memory of just its size, so that a sanitizer sees any step beyond it. */
static es_status decode_exactly(es_image *image, const uint8_t *data, size_t size, es_error *err)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    memcpy(copy, data, size);
    *err = (es_error){0};
    es_status status = es_image_decode(image, copy, size, "a file", err);
    free(copy);
    if (status == ES_OK) {
        assert_non_null(image->rgb);
    } else {
        assert_null(image->rgb);
        assert_int_equal(err->status, status);
        assert_non_null(strstr(err->message, "a file"));
        assert_null(strchr(err->message, '\n'));
    }
    return status;
}

static uint32_t random_below(uint32_t *state, uint32_t below)
{
    *state = *state * 1664525u + 1013904223u; /* Numerical Recipes */
    return (uint32_t)(((uint64_t)*state * below) >> 32);
}

/* --- good files --- */

static void check_pixels(const json_t *one, const char *name, bytes file, const uint8_t *pixels)
{
    es_error err;
    es_image image;
    es_status status = decode_exactly(&image, file.data, file.size, &err);
    if (pixels == NULL) {
        assert_string_equal(es_status_name(status), json_string_value(json_object_get(one, "error")));
        return;
    }
    if (status != ES_OK)
        fail_msg("%s: %s", name, err.message);
    assert_int_equal(image.width, json_integer_value(json_object_get(one, "width")));
    assert_int_equal(image.height, json_integer_value(json_object_get(one, "height")));
    /* Another version of libjpeg-turbo may round otherwise by one; the other formats leave no choice. */
    const int allowed = strstr(name, ".jpg") != NULL ? 1 : 0;
    for (int64_t i = 0; i < (int64_t)image.width * image.height * 3; i++)
        if (abs(image.rgb[i] - pixels[i]) > allowed)
            fail_msg("%s: sample %d is %d instead of %d", name, (int)i, image.rgb[i], pixels[i]);
    es_image_free(&image);
}

static void every_kind_of_file_gives_the_pixels_of_the_reference_loader(void **state)
{
    (void)state;
    each_vector(check_pixels);
}

static void a_file_is_known_by_its_bytes_not_by_its_name(void **state)
{
    (void)state;
    char path[] = "/tmp/escriba-image-XXXXXX.txt";
    bytes file = read_source("vectors/image", "plain.jpg");
    es_error err = {0};
    es_image image;
    int fd = mkstemps(path, 4);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(es_file_write(path, file.data, file.size, 0600, &err), ES_OK);
    assert_int_equal(es_image_load(&image, path, &err), ES_OK);
    assert_int_equal(image.width, 37);
    assert_int_equal(image.height, 29);
    es_image_free(&image);
    remove(path);
    free(file.data);
}

/* --- bad files --- */

static void check_truncated(const json_t *one, const char *name, bytes file, const uint8_t *pixels)
{
    (void)one;
    const size_t step = file.size / 200 + 1;
    for (size_t n = 0; n < file.size; n += n + 40 < file.size ? step : 1) {
        es_error err;
        es_image image;
        if (decode_exactly(&image, file.data, n, &err) != ES_OK)
            continue;
        /* Accepted only where nothing of the picture is missing (the end mark of a JPEG, say). */
        if (n + 40 < file.size || pixels == NULL)
            fail_msg("%s: %zu of %zu bytes pass for a picture", name, n, file.size);
        const int allowed = strstr(name, ".jpg") != NULL ? 1 : 0;
        for (int64_t i = 0; i < (int64_t)image.width * image.height * 3; i++)
            if (abs(image.rgb[i] - pixels[i]) > allowed)
                fail_msg("%s: cut at %zu of %zu bytes, and other pixels", name, n, file.size);
        es_image_free(&image);
    }
}

static void a_truncated_file_is_an_error_never_half_a_picture(void **state)
{
    (void)state;
    each_vector(check_truncated);
}

static void check_flipped(const json_t *one, const char *name, bytes file, const uint8_t *pixels)
{
    (void)one;
    (void)pixels;
    uint32_t seed = drawn_crc32(name, strlen(name));
    if (strcmp(name, "row.png") == 0)
        return; /* only slow */
    for (int round = 0; round < 60; round++) {
        es_error err;
        es_image image;
        bytes copy = {malloc(file.size), file.size};
        assert_non_null(copy.data);
        memcpy(copy.data, file.data, file.size);
        for (uint32_t k = 0; k <= random_below(&seed, 4); k++)
            copy.data[random_below(&seed, (uint32_t)file.size)] ^= (uint8_t)(1u << random_below(&seed, 8));
        /* A header changed to claim a large picture is fine to believe, but not 60 times in a test. */
        decode_exactly(&image, copy.data, copy.size, &err);
        es_image_free(&image);
        free(copy.data);
    }
}

static void flipped_bits_never_crash(void **state)
{
    (void)state;
    each_vector(check_flipped);
}

static void what_is_no_picture_is_said_to_be_none(void **state)
{
    static const char *const texts[] = {"",
                                        "h",
                                        "hello, world\n",
                                        "GIF89a\1\0\1\0\0\0\0;",
                                        "%PDF-1.7\n",
                                        "BM",
                                        "\xff\xd8",
                                        "\xff\xd8\xff",
                                        "\x89PNG\r\n\x1a\n",
                                        "RIFF\4\0\0\0WEBP",
                                        "RIFF\4\0\0\0WAVE",
                                        "{\"a\": 1}"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        es_error err;
        es_image image;
        assert_int_equal(decode_exactly(&image, (const uint8_t *)texts[i], strlen(texts[i]), &err), ES_ERR_FORMAT);
    }
    es_error err;
    es_image image;
    assert_int_equal(es_image_load(&image, "/tmp", &err), ES_ERR_IO);
    assert_int_equal(es_image_load(&image, "/tmp/escriba-no-such-file.png", &err), ES_ERR_IO);
    assert_null(image.rgb);
}

/* Overwrites n bytes at `at`, and the CRC of the PNG header when there is one. */
static void patch_file(bytes file, size_t at, const char *with, size_t n)
{
    memcpy(file.data + at, with, n);
    if (file.data[0] == 0x89) {
        const uint32_t crc = drawn_crc32(file.data + 12, 17);
        for (size_t i = 0; i < 4; i++)
            file.data[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
}

static void a_header_that_claims_too_much_is_refused_before_memory_is_taken(void **state)
{
    (void)state;
    es_error err;
    es_image image;
    bytes png = read_source("vectors/image", "colour2-depth8.png"), jpeg = read_source("vectors/image", "plain.jpg"),
          webp = read_source("vectors/image", "lossless.webp");
    patch_file(png, 16, "\0\0\xff\xff\0\0\xff\xff", 8);
    assert_int_equal(decode_exactly(&image, png.data, png.size, &err), ES_ERR_LIMIT);
    assert_non_null(strstr(err.message, "65535 x 65535"));
    patch_file(png, 16, "\x7f\xff\xff\xff\x7f\xff\xff\xff", 8);
    assert_int_equal(decode_exactly(&image, png.data, png.size, &err), ES_ERR_LIMIT);
    patch_file(png, 16, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    assert_int_equal(decode_exactly(&image, png.data, png.size, &err), ES_ERR_FORMAT);
    patch_file(png, 16, "\0\0\0\0\0\0\0\1", 8);
    assert_int_equal(decode_exactly(&image, png.data, png.size, &err), ES_ERR_FORMAT);
    /* Within the limit, but the file is far too short for it. */
    patch_file(png, 16, "\0\0\x10\0\0\0\x10\0", 8);
    assert_int_equal(decode_exactly(&image, png.data, png.size, &err), ES_ERR_FORMAT);
    size_t at = 2;
    while (jpeg.data[at + 1] != 0xc0) /* from one marker to the next, to the frame header */
        at += 2 + (size_t)jpeg.data[at + 2] * 256 + jpeg.data[at + 3];
    patch_file(jpeg, at + 5, "\xff\xdc\xff\xdc", 4); /* JPEG_MAX_DIMENSION is 65500 */
    assert_int_equal(decode_exactly(&image, jpeg.data, jpeg.size, &err), ES_ERR_LIMIT);
    patch_file(jpeg, at + 5, "\xff\xff\xff\xff", 4);
    assert_true(decode_exactly(&image, jpeg.data, jpeg.size, &err) != ES_OK);
    patch_file(webp, 21, "\xff\xff\xff\x0f", 4); /* 14 bits for each side less one */
    assert_int_equal(decode_exactly(&image, webp.data, webp.size, &err), ES_ERR_LIMIT);
    free(png.data);
    free(jpeg.data);
    free(webp.data);
}

static void a_callers_own_limit_is_held_to_by_the_header(void **state)
{
    (void)state;
    static const char *const names[] = {"colour2-depth8.png", "plain.jpg", "lossless.webp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bytes file = read_source("vectors/image", names[i]);
        es_error err;
        es_image image;
        assert_int_equal(decode_exactly(&image, file.data, file.size, &err), ES_OK);
        int64_t pixels = (int64_t)image.width * image.height;
        es_image_free(&image);
        assert_int_equal(es_image_decode_within(&image, file.data, file.size, pixels, "a file", &err), ES_OK);
        es_image_free(&image);
        assert_int_equal(es_image_decode_within(&image, file.data, file.size, pixels - 1, "a file", &err),
                         ES_ERR_LIMIT);
        assert_null(image.rgb);
        free(file.data);
    }
}

static void saved_fuzz_cases_hold(void **state)
{
    (void)state;
    replay_saved_cases("corpus-image", 20);
}

/* --- memory --- */

static int load_once(void *context)
{
    es_error err = {0};
    es_image image;
    es_status status = es_image_load(&image, context, &err);
    es_image_free(&image);
    return status == ES_OK ? 0 : status == ES_ERR_MEMORY && err.message[0] != '\0' ? 1 : -1;
}

static void any_failed_allocation_is_an_error_and_no_leak(void **state)
{
    static const char *const names[] = {"plain.jpg", "orientation6.jpg", "colour6-depth16-interlaced.png",
                                        "orientation5.png", "lossy-alpha.webp"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = source_path("vectors/image", names[i]);
        assert_true(faults_sweep(load_once, path, false) >= 2);
        assert_true(faults_sweep(load_once, path, true) >= 2);
        free(path);
    }
}

static int start(void **state)
{
    (void)state;
    faults_begin();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_file_gives_the_pixels_of_the_reference_loader),
        cmocka_unit_test(a_file_is_known_by_its_bytes_not_by_its_name),
        cmocka_unit_test(a_truncated_file_is_an_error_never_half_a_picture),
        cmocka_unit_test(flipped_bits_never_crash),
        cmocka_unit_test(what_is_no_picture_is_said_to_be_none),
        cmocka_unit_test(a_header_that_claims_too_much_is_refused_before_memory_is_taken),
        cmocka_unit_test(a_callers_own_limit_is_held_to_by_the_header),
        cmocka_unit_test(saved_fuzz_cases_hold),
        cmocka_unit_test(any_failed_allocation_is_an_error_and_no_leak),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
