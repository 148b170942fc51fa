/* test_preprocess.c - pixels to patches: bit for bit what the reference processor makes of the same pictures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "drawn.h"
#include "faults.h"
#include "model/preprocess.h"

static const es_preprocess usual = {16, 2, 2, 65536, 16777216, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};

/* --- helpers --- */

static json_t *read_vectors(const char *name)
{
    char path[1024];
    const char *root = getenv("ESCRIBA_SOURCE_ROOT");
    es_error err = {0};
    json_t *json;
    snprintf(path, sizeof path, "%s/tests/vectors/image/%s", root == NULL ? "." : root, name);
    if (es_json_read(&json, path, 16 << 20, &err) != ES_OK)
        fail_msg("%s", err.message);
    return json;
}

static int64_t whole(const json_t *array, size_t i)
{
    assert_true(json_is_integer(json_array_get(array, i)));
    return json_integer_value(json_array_get(array, i));
}

static int64_t member(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

/* --- the size --- */

static void sizes_are_those_of_the_reference(void **state)
{
    (void)state;
    json_t *json = read_vectors("smart.json"), *group, *size;
    size_t i, k, seen = 0;
    json_array_foreach(json_object_get(json, "cases"), i, group)
    {
        const json_t *settings = json_object_get(group, "config");
        es_preprocess config = usual;
        config.merge_size = 1;
        config.patch_size = (int32_t)whole(settings, 0);
        config.min_pixels = whole(settings, 1);
        config.max_pixels = whole(settings, 2);
        json_array_foreach(json_object_get(group, "sizes"), k, size)
        {
            es_error err = {0};
            int32_t width = 0, height = 0;
            es_status status =
                es_smart_resize(&config, (int32_t)whole(size, 0), (int32_t)whole(size, 1), &width, &height, &err);
            if (status != (whole(size, 2) == 0 ? ES_ERR_LIMIT : ES_OK) || width != whole(size, 2) ||
                height != whole(size, 3))
                fail_msg("factor %d, %d x %d: %d x %d instead of %d x %d", (int)config.patch_size, (int)whole(size, 0),
                         (int)whole(size, 1), (int)width, (int)height, (int)whole(size, 2), (int)whole(size, 3));
            seen++;
        }
    }
    assert_true(seen > 1000);
    json_decref(json);
}

static void known_frames_get_known_sizes(void **state)
{
    static const int32_t frames[][4] = {
        {1024, 576, 1024, 576}, {1280, 720, 1280, 704}, {768, 432, 768, 448}, {1920, 1080, 1920, 1088}};
    (void)state;
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        int32_t width, height;
        assert_int_equal(es_smart_resize(&usual, frames[i][0], frames[i][1], &width, &height, NULL), ES_OK);
        assert_int_equal(width, frames[i][2]);
        assert_int_equal(height, frames[i][3]);
    }
}

static void a_picture_too_narrow_or_empty_is_refused(void **state)
{
    (void)state;
    es_error err = {0};
    int32_t width, height;
    assert_int_equal(es_smart_resize(&usual, 30000, 1, &width, &height, &err), ES_ERR_LIMIT);
    assert_non_null(strstr(err.message, "30000 x 1"));
    assert_int_equal(es_smart_resize(&usual, 1, 201, &width, &height, &err), ES_ERR_LIMIT);
    assert_int_equal(es_smart_resize(&usual, 1, 200, &width, &height, &err), ES_OK);
    assert_int_equal(es_smart_resize(&usual, 0, 10, &width, &height, &err), ES_ERR_LIMIT);
    assert_int_equal(es_smart_resize(&usual, 10, -1, &width, &height, &err), ES_ERR_LIMIT);
    es_image image = drawn_picture("noise", 1, 30000, 1);
    es_patches patches;
    assert_int_equal(es_preprocess_image(&usual, &image, &patches, &err), ES_ERR_LIMIT);
    assert_null(patches.data);
    es_image_free(&image);
}

/* --- resizing --- */

static void resized_pixels_are_those_of_the_reference_bit_for_bit(void **state)
{
    (void)state;
    json_t *json = read_vectors("resize.json"), *one;
    size_t i;
    json_array_foreach(json_object_get(json, "cases"), i, one)
    {
        es_error err = {0};
        const char *kind = json_string_value(json_array_get(one, 0));
        es_image from = drawn_picture(kind, (uint32_t)whole(one, 1), (uint32_t)whole(one, 2), (uint32_t)whole(one, 3)),
                 to;
        assert_non_null(from.rgb);
        assert_int_equal(es_resize_bicubic(&to, &from, (int32_t)whole(one, 4), (int32_t)whole(one, 5), &err), ES_OK);
        assert_int_equal(to.width, whole(one, 4));
        assert_int_equal(to.height, whole(one, 5));
        if (drawn_crc32(to.rgb, (size_t)to.width * (size_t)to.height * 3) != (uint32_t)whole(one, 6))
            fail_msg("%s %d: %d x %d to %d x %d differs", kind, (int)whole(one, 1), (int)from.width, (int)from.height,
                     (int)to.width, (int)to.height);
        es_image_free(&from);
        es_image_free(&to);
    }
    assert_true(i > 100);
    json_decref(json);
}

static void resizing_keeps_a_plain_colour(void **state)
{
    (void)state;
    es_image from = drawn_picture("noise", 1, 77, 53), to;
    memset(from.rgb, 200, 77 * 53 * 3);
    for (int32_t side = 1; side < 300; side += 13) {
        assert_int_equal(es_resize_bicubic(&to, &from, side, 301 - side, NULL), ES_OK);
        for (int32_t i = 0; i < side * (301 - side) * 3; i++)
            assert_int_equal(to.rgb[i], 200);
        es_image_free(&to);
    }
    es_image_free(&from);
}

static void a_senseless_size_is_refused(void **state)
{
    (void)state;
    es_error err = {0};
    es_image from = drawn_picture("noise", 1, 4, 4), to;
    assert_int_equal(es_resize_bicubic(&to, &from, 0, 4, &err), ES_ERR_LIMIT);
    assert_int_equal(es_resize_bicubic(&to, &from, 4, -4, &err), ES_ERR_LIMIT);
    assert_int_equal(es_resize_bicubic(&to, &from, INT32_MAX, INT32_MAX, &err), ES_ERR_LIMIT);
    assert_null(to.rgb);
    es_image_free(&from);
}

/* --- patches --- */

static void read_floats(float to[3], const json_t *array)
{
    for (size_t c = 0; c < 3; c++)
        to[c] = (float)json_number_value(json_array_get(array, c));
}

static void patches_are_those_of_the_reference_bit_for_bit(void **state)
{
    (void)state;
    json_t *json = read_vectors("patches.json"), *one;
    size_t i;
    json_array_foreach(json_object_get(json, "cases"), i, one)
    {
        es_error err = {0};
        es_patches patches;
        es_preprocess config = {(int32_t)member(one, "patch"),
                                (int32_t)member(one, "merge"),
                                (int32_t)member(one, "temporal"),
                                member(one, "min"),
                                member(one, "max"),
                                {0},
                                {0}};
        read_floats(config.mean, json_object_get(one, "mean"));
        read_floats(config.std, json_object_get(one, "std"));
        es_image image = drawn_picture(json_string_value(json_object_get(one, "kind")), (uint32_t)member(one, "seed"),
                                       (uint32_t)member(one, "width"), (uint32_t)member(one, "height"));
        assert_int_equal(es_preprocess_image(&config, &image, &patches, &err), ES_OK);
        const json_t *grid = json_object_get(one, "grid"), *first = json_object_get(one, "first");
        assert_int_equal(patches.grid_h, whole(grid, 0));
        assert_int_equal(patches.grid_w, whole(grid, 1));
        assert_int_equal(patches.count, whole(grid, 0) * whole(grid, 1));
        assert_int_equal(patches.dim, 3 * config.temporal_patch_size * config.patch_size * config.patch_size);
        size_t size = (size_t)(patches.count * patches.dim) * sizeof(float);
        float *numbers = malloc(size);
        assert_non_null(numbers);
        es_patches_floats(&patches, 0, patches.count, numbers);
        for (size_t k = 0; k < json_array_size(first); k++)
            assert_true(numbers[k] == (float)json_number_value(json_array_get(first, k)));
        if (drawn_crc32(numbers, size) != (uint32_t)member(one, "crc"))
            fail_msg("case %d: the patches differ", (int)i);
        free(numbers);
        es_patches_free(&patches);
        es_image_free(&image);
    }
    assert_true(i > 10);
    json_decref(json);
}

static int preprocess_once(void *context)
{
    es_error err = {0};
    es_patches patches;
    es_status status = es_preprocess_image(&usual, context, &patches, &err);
    es_patches_free(&patches);
    return status == ES_OK ? 0 : status == ES_ERR_MEMORY && err.message[0] != '\0' ? 1 : -1;
}

static void any_failed_allocation_is_an_error_and_no_leak(void **state)
{
    (void)state;
    es_image image = drawn_picture("text", 1, 333, 217);
    assert_true(faults_sweep(preprocess_once, &image, false) > 8);
    assert_true(faults_sweep(preprocess_once, &image, true) > 8);
    es_image_free(&image);
}

/* --- settings --- */

static char directory[] = "/tmp/escriba-preprocess-XXXXXX";

static int make_directory(void **state)
{
    (void)state;
    faults_begin();
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

/* What a directory with these files (NULL: none) is taken to ask for. */
static es_status open_with(es_preprocess *config, const char *own, const char *both, es_error *err)
{
    char *paths[2] = {es_path_join(directory, "preprocessor_config.json"),
                      es_path_join(directory, "processor_config.json")};
    const char *texts[2] = {own, both};
    for (size_t i = 0; i < 2; i++)
        if (texts[i] != NULL)
            assert_int_equal(es_file_write(paths[i], texts[i], strlen(texts[i]), 0600, NULL), ES_OK);
    *err = (es_error){0};
    es_status status = es_preprocess_open(config, directory, err);
    for (size_t i = 0; i < 2; i++) {
        remove(paths[i]);
        free(paths[i]);
    }
    return status;
}

static void assert_same(const es_preprocess *a, const es_preprocess *b)
{
    assert_int_equal(a->patch_size, b->patch_size);
    assert_int_equal(a->merge_size, b->merge_size);
    assert_int_equal(a->temporal_patch_size, b->temporal_patch_size);
    assert_int_equal(a->min_pixels, b->min_pixels);
    assert_int_equal(a->max_pixels, b->max_pixels);
    assert_memory_equal(a->mean, b->mean, sizeof a->mean);
    assert_memory_equal(a->std, b->std, sizeof a->std);
}

static void a_published_file_is_read_and_silence_means_qwen3_vl(void **state)
{
    (void)state;
    es_error err;
    es_preprocess config;
    assert_int_equal(open_with(&config, "{}", NULL, &err), ES_OK);
    assert_same(&config, &usual);
    assert_int_equal(open_with(&config,
                               "{\"size\": {\"longest_edge\": 16777216, \"shortest_edge\": 65536}, \"patch_size\": 16,"
                               " \"temporal_patch_size\": 2, \"merge_size\": 2, \"image_mean\": [0.5, 0.5, 0.5],"
                               " \"image_std\": [0.5, 0.5, 0.5], \"processor_class\": \"Qwen3VLProcessor\","
                               " \"image_processor_type\": \"Qwen2VLImageProcessorFast\"}",
                               NULL, &err),
                     ES_OK);
    assert_same(&config, &usual);
    assert_int_equal(
        open_with(&config,
                  "{\"size\": {\"longest_edge\": 5000, \"shortest_edge\": 70}, \"min_pixels\": 60,"
                  " \"max_pixels\": 6000, \"patch_size\": 14, \"temporal_patch_size\": 1, \"merge_size\": 3,"
                  " \"image_mean\": [0.1, 0.2, 0.3], \"image_std\": 0.25, \"resample\": 3,"
                  " \"rescale_factor\": 0.00392156862745098, \"do_resize\": true, \"do_pad\": null}",
                  NULL, &err),
        ES_OK);
    const es_preprocess odd = {14, 3, 1, 60, 6000, {0.1f, 0.2f, 0.3f}, {0.25f, 0.25f, 0.25f}};
    assert_same(&config, &odd);
}

static void the_newer_file_wins_where_it_has_the_section(void **state)
{
    (void)state;
    es_error err;
    es_preprocess config;
    assert_int_equal(open_with(&config, "{\"patch_size\": 14}",
                               "{\"image_processor\": {\"patch_size\": 8}, \"video_processor\": {\"patch_size\": 9}}",
                               &err),
                     ES_OK);
    assert_int_equal(config.patch_size, 8);
    assert_int_equal(open_with(&config, NULL, "{\"image_processor\": {\"patch_size\": 8}}", &err), ES_OK);
    assert_int_equal(config.patch_size, 8);
    assert_int_equal(open_with(&config, "{\"patch_size\": 14}", "{\"processor_class\": \"x\"}", &err), ES_OK);
    assert_int_equal(config.patch_size, 14);
    assert_int_equal(open_with(&config, NULL, "{\"processor_class\": \"x\"}", &err), ES_ERR_IO);
    assert_non_null(strstr(err.message, "preprocessor_config.json"));
    assert_int_equal(open_with(&config, NULL, NULL, &err), ES_ERR_IO);
}

static void nonsense_and_other_recipes_are_refused_by_name(void **state)
{
    static const struct {
        const char *text, *says;
        es_status status;
    } cases[] = {
        {"[]", "object", ES_ERR_FORMAT},
        {"{", "JSON", ES_ERR_FORMAT},
        {"{\"patch_size\": 0}", "patch_size", ES_ERR_FORMAT},
        {"{\"patch_size\": -16}", "patch_size", ES_ERR_FORMAT},
        {"{\"patch_size\": 1000000000}", "patch_size", ES_ERR_FORMAT},
        {"{\"patch_size\": \"16\"}", "patch_size", ES_ERR_FORMAT},
        {"{\"merge_size\": 0}", "merge_size", ES_ERR_FORMAT},
        {"{\"temporal_patch_size\": 1e30}", "temporal_patch_size", ES_ERR_FORMAT},
        {"{\"size\": [1, 2]}", "size", ES_ERR_FORMAT},
        {"{\"size\": {\"shortest_edge\": 0}}", "shortest_edge", ES_ERR_FORMAT},
        {"{\"size\": {\"shortest_edge\": 99999999999}}", "shortest_edge", ES_ERR_FORMAT},
        {"{\"min_pixels\": 500, \"max_pixels\": 400}", "500", ES_ERR_FORMAT},
        {"{\"image_mean\": [0.5, 0.5]}", "image_mean", ES_ERR_FORMAT},
        {"{\"image_mean\": [0.5, 0.5, \"x\"]}", "image_mean", ES_ERR_FORMAT},
        {"{\"image_mean\": {}}", "image_mean", ES_ERR_FORMAT},
        {"{\"image_std\": [0.5, 0.5, 0]}", "image_std", ES_ERR_FORMAT},
        {"{\"image_std\": [0.5, 0.5, 1e300]}", "image_std", ES_ERR_FORMAT},
        {"{\"do_resize\": false}", "do_resize", ES_ERR_UNSUPPORTED},
        {"{\"do_rescale\": false}", "do_rescale", ES_ERR_UNSUPPORTED},
        {"{\"do_normalize\": false}", "do_normalize", ES_ERR_UNSUPPORTED},
        {"{\"do_normalize\": 1}", "do_normalize", ES_ERR_FORMAT},
        {"{\"resample\": 2}", "resample", ES_ERR_UNSUPPORTED},
        {"{\"rescale_factor\": 1}", "rescale_factor", ES_ERR_UNSUPPORTED},
        {"{\"rescale_factor\": 0}", "rescale_factor", ES_ERR_UNSUPPORTED},
        {"{\"image_processor_type\": \"CLIPImageProcessor\"}", "CLIPImageProcessor", ES_ERR_UNSUPPORTED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        es_error err;
        es_preprocess config;
        es_status status = open_with(&config, cases[i].text, NULL, &err);
        if (status != cases[i].status || strstr(err.message, cases[i].says) == NULL)
            fail_msg("%s: %s: %s", cases[i].text, es_status_name(status), err.message);
    }
}

static int open_once(void *context)
{
    es_error err = {0};
    es_preprocess config;
    es_status status = es_preprocess_open(&config, context, &err);
    /* A string it has no memory for, jansson calls a wrong token. */
    bool memory = status == ES_ERR_MEMORY || (status == ES_ERR_FORMAT && strstr(err.message, "not valid JSON") != NULL);
    return status == ES_OK ? 0 : memory ? 1 : -1;
}

static void reading_settings_survives_any_failed_allocation(void **state)
{
    (void)state;
    char *path = es_path_join(directory, "preprocessor_config.json");
    const char *text = "{\"size\": {\"longest_edge\": 500000}, \"image_mean\": [0.1, 0.2, 0.3]}";
    assert_int_equal(es_file_write(path, text, strlen(text), 0600, NULL), ES_OK);
    assert_true(faults_sweep(open_once, directory, false) > 5);
    assert_true(faults_sweep(open_once, directory, true) > 5);
    remove(path);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_those_of_the_reference),
        cmocka_unit_test(known_frames_get_known_sizes),
        cmocka_unit_test(a_picture_too_narrow_or_empty_is_refused),
        cmocka_unit_test(resized_pixels_are_those_of_the_reference_bit_for_bit),
        cmocka_unit_test(resizing_keeps_a_plain_colour),
        cmocka_unit_test(a_senseless_size_is_refused),
        cmocka_unit_test(patches_are_those_of_the_reference_bit_for_bit),
        cmocka_unit_test(any_failed_allocation_is_an_error_and_no_leak),
        cmocka_unit_test(a_published_file_is_read_and_silence_means_qwen3_vl),
        cmocka_unit_test(the_newer_file_wins_where_it_has_the_section),
        cmocka_unit_test(nonsense_and_other_recipes_are_refused_by_name),
        cmocka_unit_test(reading_settings_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
