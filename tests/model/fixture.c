#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/sha.h"
#include "fixture.h"

#define VECTORS_LIMIT ((size_t)16 << 20)
#define MODEL_LIMIT ((size_t)64 << 20)

const char *fixture_root(void)
{
    const char *root = getenv("ESCRIBA_SOURCE_ROOT");
    assert_non_null(root);
    return root;
}

static void must(es_status status, const es_error *err)
{
    if (status != ES_OK)
        fail_msg("%s", err->message);
}

/* Pictures lie beside the vectors, unless their path says otherwise. */
static void load_pictures(fixture *f)
{
    es_error err = {0};
    json_t *list = json_object_get(f->json, "pictures");
    f->picture_count = json_array_size(list);
    assert_true(f->picture_count <= FIXTURE_PICTURES);
    for (size_t i = 0; i < f->picture_count; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        char path[1024];
        es_image image;
        assert_non_null(name);
        snprintf(path, sizeof path, "%s/%s%s", fixture_root(), strchr(name, '/') == NULL ? "tests/vectors/model/" : "",
                 name);
        must(es_image_load(&image, path, &err), &err);
        must(es_preprocess_image(&f->model->preprocess, &image, &f->pictures[i], &err), &err);
        es_image_free(&image);
    }
}

bool fixture_exists(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/vectors/model/%s.json", fixture_root(), name);
    return es_file_exists(path);
}

/* The vectors were made of these very files. */
static void check_digests(json_t *digests, const char *dir)
{
    const char *file;
    json_t *expected;
    json_object_foreach(digests, file, expected)
    {
        char path[1200], hex[ES_SHA256_HEX + 1], *bytes;
        size_t size;
        es_sha sha;
        es_error err = {0};
        snprintf(path, sizeof path, "%s/%s", dir, file);
        must(es_file_read(path, MODEL_LIMIT, &bytes, &size, &err), &err);
        es_sha256_begin(&sha);
        es_sha_update(&sha, bytes, size);
        es_sha_finish(&sha, hex);
        free(bytes);
        if (strcmp(hex, json_string_value(expected)) != 0)
            fail_msg("%s is not what the vectors were made of: make them again with "
                     "tests/vectors/make_model_vectors.py --box",
                     path);
    }
}

void fixture_open(fixture *f, const char *name, es_isa isa)
{
    es_error err = {0};
    es_device *device = NULL;
    es_cpu_options options = {.threads = 2, .isa_given = true, .isa = isa};
    must(es_cpu_device_create(&device, &options, &err), &err);
    fixture_open_on(f, name, device);
}

void fixture_open_on(fixture *f, const char *name, es_device *device)
{
    es_error err = {0};
    char path[1024];
    *f = (fixture){.device = device};
    snprintf(path, sizeof path, "%s/tests/vectors/model/%s.json", fixture_root(), name);
    must(es_json_read(&f->json, path, VECTORS_LIMIT, &err), &err);
    snprintf(path, sizeof path, "%s/tests/vectors/model/%s.safetensors", fixture_root(), name);
    must(es_tensors_open_file(&f->expected, path, &err), &err);
    const char *dir = json_string_value(json_object_get(f->json, "model"));
    if (dir != NULL)
        snprintf(path, sizeof path, "%s/%s", fixture_root(), dir);
    else
        snprintf(path, sizeof path, "%s/tests/vectors/model/%s", fixture_root(), name);
    check_digests(json_object_get(f->json, "sha256"), path);
    must(es_model_open(&f->model, f->device, path, &err), &err);
    load_pictures(f);
    f->prompt_count = json_array_size(json_object_get(f->json, "prompts"));
    assert_true(f->prompt_count > 0 && f->prompt_count <= FIXTURE_PROMPTS);
}

void fixture_close(fixture *f)
{
    for (size_t i = 0; i < f->picture_count; i++)
        es_patches_free(&f->pictures[i]);
    es_model_free(f->model);
    es_device_free(f->device);
    es_tensors_close(f->expected);
    json_decref(f->json);
    *f = (fixture){0};
}

static es_role role_of(const char *name)
{
    assert_non_null(name);
    if (strcmp(name, "system") == 0)
        return ES_ROLE_SYSTEM;
    return strcmp(name, "assistant") == 0 ? ES_ROLE_ASSISTANT : ES_ROLE_USER;
}

void fixture_prompt_get(fixture_prompt *p, const fixture *f, size_t k)
{
    json_t *prompt = json_array_get(json_object_get(f->json, "prompts"), k);
    json_t *messages = json_object_get(prompt, "messages"), *used = json_object_get(prompt, "images");
    *p = (fixture_prompt){.message_count = json_array_size(messages), .picture_count = json_array_size(used)};
    p->tokens = (int32_t)json_integer_value(json_object_get(prompt, "prompt_tokens"));
    p->greedy_text = json_string_value(json_object_get(prompt, "greedy_text"));
    p->record = json_string_value(json_object_get(prompt, "record"));
    p->record_tokens = (int32_t)json_integer_value(json_object_get(prompt, "record_tokens"));
    p->record_ends = json_is_true(json_object_get(prompt, "ends"));
    assert_true(p->message_count <= FIXTURE_MESSAGES && p->picture_count <= FIXTURE_PICTURES);
    for (size_t i = 0; i < p->picture_count; i++) {
        p->used[i] = (size_t)json_integer_value(json_array_get(used, i));
        assert_true(p->used[i] < f->picture_count);
        p->pictures[i] = f->pictures[p->used[i]];
    }
    int32_t shown = 0;
    for (size_t i = 0; i < p->message_count; i++) {
        json_t *message = json_array_get(messages, i), *content = json_object_get(message, "content");
        size_t count = json_array_size(content);
        assert_true(count <= FIXTURE_CONTENT);
        for (size_t j = 0; j < count; j++) {
            const char *text = json_string_value(json_object_get(json_array_get(content, j), "text"));
            p->content[i][j] = (es_content){text, text == NULL ? shown++ : 0};
        }
        p->messages[i] =
            (es_message){role_of(json_string_value(json_object_get(message, "role"))), p->content[i], count};
    }
    assert_int_equal(shown, (int)p->picture_count);
}

static const es_view *view_named(const fixture *f, const char *format, va_list args)
{
    char name[128];
    vsnprintf(name, sizeof name, format, args);
    const es_view *view = es_tensors_find(f->expected, name);
    if (view == NULL)
        fail_msg("the vectors have no tensor \"%s\"", name);
    return view;
}

float *fixture_floats(const fixture *f, int64_t *rows, int64_t *cols, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const es_view *view = view_named(f, format, args);
    va_end(args);
    assert_true(view->n_dims == 1 || view->n_dims == 2);
    if (rows != NULL)
        *rows = view->dims[0];
    if (cols != NULL)
        *cols = view->n_dims == 2 ? view->dims[1] : 1;
    float *numbers = malloc((size_t)es_view_count(view) * sizeof *numbers);
    es_error err = {0};
    assert_non_null(numbers);
    must(es_view_floats(view, numbers, &err), &err);
    return numbers;
}

int32_t *fixture_ints(const fixture *f, int64_t *count, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const es_view *view = view_named(f, format, args);
    va_end(args);
    assert_true(view->usable && view->dtype == ES_U32);
    if (count != NULL)
        *count = es_view_count(view);
    int32_t *numbers = malloc(view->size + 1);
    assert_non_null(numbers);
    memcpy(numbers, view->data, view->size);
    return numbers;
}

bool fixture_has(const fixture *f, const char *format, ...)
{
    char name[128];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return es_tensors_find(f->expected, name) != NULL;
}
