/* The public library as a program uses it: on the model in the box, with pictures in memory and in files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <escriba.h>
#include <png.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WIDTH 320
#define HEIGHT 192

typedef struct fixture {
    char model[4096];
    char folder[64];
    char paths[3][128];
    uint8_t *pixels[3]; /* [HEIGHT, WIDTH, 3] */
} fixture;

/* A window-like picture: bars and boxes that differ with seed. */
static uint8_t *paint(unsigned seed)
{
    uint8_t *rgb = malloc(WIDTH * HEIGHT * 3);
    assert_non_null(rgb);
    for (unsigned y = 0; y < HEIGHT; y++)
        for (unsigned x = 0; x < WIDTH; x++) {
            uint8_t *p = rgb + (y * WIDTH + x) * 3;
            int ink = y > 20 && (y / 8) % 2 == 0 && (x * (seed + 3) / 7 + y * seed) % 11 < 5;
            p[0] = (uint8_t)(y < 16 ? 60 + seed * 40 : ink ? 220 : 30);
            p[1] = (uint8_t)(y < 16 ? 60 : ink ? 200 - seed * 30 : 30);
            p[2] = (uint8_t)(y < 16 ? 80 : ink ? 180 : 40);
        }
    return rgb;
}

static void save_png(const char *path, const uint8_t *rgb)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = PNG_FORMAT_RGB};
    assert_int_not_equal(png_image_write_to_file(&image, path, 0, rgb, 0, NULL), 0);
}

static int set_up(void **state)
{
    static fixture f;
    const char *root = getenv("ESCRIBA_SOURCE_ROOT");
    assert_non_null(root);
    snprintf(f.model, sizeof f.model, "%s/models/escriba-tiny", root);
    snprintf(f.folder, sizeof f.folder, "/tmp/escriba-api-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    for (unsigned i = 0; i < 3; i++) {
        f.pixels[i] = paint(i);
        snprintf(f.paths[i], sizeof f.paths[i], "%s/frame%u.png", f.folder, i);
        save_png(f.paths[i], f.pixels[i]);
    }
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        unlink(f->paths[i]);
        free(f->pixels[i]);
    }
    rmdir(f->folder);
    return 0;
}

static escriba_model *open_model(const fixture *f, int batch)
{
    escriba_options options;
    escriba_error error;
    escriba_model *model;
    escriba_options_init(&options);
    options.model = f->model;
    options.batch = batch;
    escriba_status status = escriba_open(&model, &options, &error);
    if (status != ESCRIBA_OK)
        print_error("%s\n", error.message);
    assert_int_equal(status, ESCRIBA_OK);
    return model;
}

static void opening_what_is_not_there_says_so(void **state)
{
    (void)state;
    escriba_options options;
    escriba_error error;
    escriba_model *model = (escriba_model *)1;
    escriba_options_init(&options);
    options.model = "/no/such/model";
    assert_int_equal(escriba_open(&model, &options, &error), ESCRIBA_ERR_IO);
    assert_null(model);
    assert_non_null(strstr(error.message, "/no/such/model"));
    assert_null(strchr(error.message, '\n'));
    assert_int_equal(escriba_open(&model, &options, NULL), ESCRIBA_ERR_IO); /* nobody need listen */
}

static void options_that_make_no_sense_are_refused(void **state)
{
    const fixture *f = *state;
    escriba_error error;
    escriba_model *model;
    escriba_options options;
    escriba_options_init(&options);
    assert_int_equal(escriba_open(&model, &options, &error), ESCRIBA_ERR_ARGUMENT); /* no model named */
    options.model = f->model;
    options.isa = "mmx";
    assert_int_equal(escriba_open(&model, &options, &error), ESCRIBA_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "mmx"));
    options.isa = NULL;
    options.precision = "roughly";
    assert_int_equal(escriba_open(&model, &options, &error), ESCRIBA_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "roughly"));
    options.precision = NULL;
    options.threads = -1;
    assert_int_equal(escriba_open(&model, &options, &error), ESCRIBA_ERR_ARGUMENT);
    options.threads = 0;
    options.idle_unload = -1.0;
    assert_int_equal(escriba_open(&model, &options, &error), ESCRIBA_ERR_ARGUMENT);
    options.idle_unload = 0.0;
    options.memory = 1; /* not even one page of keys and values */
    assert_int_equal(escriba_open(&model, &options, &error), ESCRIBA_ERR_LIMIT);
    memset(&options, 0, sizeof options); /* never initialised */
    assert_int_equal(escriba_open(&model, &options, &error), ESCRIBA_ERR_ARGUMENT);
    escriba_free(NULL);
    escriba_observation_free(NULL);
}

static void a_file_and_its_pixels_give_the_same_observation(void **state)
{
    const fixture *f = *state;
    escriba_model *model = open_model(f, 0);
    escriba_error error;
    escriba_frame file = {.path = f->paths[0], .timestamp = 10};
    /* The same pixels with rows further apart. */
    size_t stride = WIDTH * 3 + 20;
    uint8_t *spaced = calloc(HEIGHT, stride);
    for (size_t y = 0; y < HEIGHT; y++)
        memcpy(spaced + y * stride, f->pixels[0] + y * WIDTH * 3, WIDTH * 3);
    escriba_frame memory = {.rgb = spaced, .width = WIDTH, .height = HEIGHT, .stride = stride, .timestamp = -1};
    escriba_observation *a, *b;
    assert_int_equal(escriba_classify_frame(model, &file, NULL, &a, &error), ESCRIBA_OK);
    assert_int_equal(escriba_classify_frame(model, &memory, NULL, &b, &error), ESCRIBA_OK);
    assert_string_equal(a->raw_text, b->raw_text);
    assert_true(a->raw_text[0] != '\0');
    assert_string_equal(a->image_path, f->paths[0]);
    assert_null(b->image_path);
    assert_true(a->timestamp == 10 && a->image_tokens > 0 && a->prompt_tokens > a->image_tokens);
    assert_true(a->generated_tokens > 0);
    escriba_observation_free(a);
    escriba_observation_free(b);
    free(spaced);
    escriba_free(model);
}

typedef struct seen_frames {
    char text[8][4096];
    int count, failed, stop_after, progress;
    size_t last_done;
} seen_frames;

static int collect(void *user_data, const escriba_observation *seen)
{
    seen_frames *s = user_data;
    s->count++;
    if (seen->status != ESCRIBA_OK) {
        s->failed++;
        assert_true(seen->error[0] != '\0');
        assert_string_equal(seen->description, "");
    } else {
        snprintf(s->text[seen->index], sizeof s->text[0], "%s", seen->raw_text);
    }
    return s->stop_after > 0 && s->count >= s->stop_after;
}

static void count_progress(void *user_data, size_t done, size_t total)
{
    seen_frames *s = user_data;
    assert_true(done == s->last_done + 1 && done <= total);
    s->last_done = done;
    s->progress++;
}

static void many_frames_are_each_described_as_if_alone(void **state)
{
    const fixture *f = *state;
    escriba_error error;
    escriba_frame frames[5] = {{.path = f->paths[0]},
                               {.path = "/no/such/frame.png"},
                               {.path = f->paths[1]},
                               {.rgb = f->pixels[2], .width = WIDTH, .height = HEIGHT},
                               {.path = f->model}};
    seen_frames together = {.count = 0}, alone = {.count = 0};
    escriba_model *model = open_model(f, 3);
    assert_int_equal(escriba_classify_frames(model, frames, 5, NULL, collect, count_progress, &together, &error),
                     ESCRIBA_OK);
    assert_int_equal(together.count, 5);
    assert_int_equal(together.failed, 2);
    assert_int_equal(together.progress, 5);
    for (size_t i = 0; i < 5; i++) {
        seen_frames one = {.count = 0};
        assert_int_equal(escriba_classify_frames(model, &frames[i], 1, NULL, collect, NULL, &one, &error), ESCRIBA_OK);
        memcpy(alone.text[i], one.text[0], sizeof one.text[0]);
    }
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(together.text[i], alone.text[i]);
    escriba_free(model);
}

static void interleaved_frames_all_come_back(void **state)
{
    const fixture *f = *state;
    escriba_error error;
    escriba_frame frames[3] = {{.path = f->paths[0]}, {.path = f->paths[1], .timestamp = 10}, {.path = f->paths[2]}};
    escriba_request request;
    escriba_request_init(&request);
    request.interleaved = 3;
    request.max_tokens = 60;
    seen_frames seen = {.count = 0};
    escriba_model *model = open_model(f, 0);
    assert_int_equal(escriba_classify_frames(model, frames, 3, &request, collect, count_progress, &seen, &error),
                     ESCRIBA_OK);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.failed, 0);
    escriba_free(model);
}

static void a_callback_can_stop_the_run(void **state)
{
    const fixture *f = *state;
    escriba_error error;
    escriba_frame frames[3] = {{.path = f->paths[0]}, {.path = f->paths[1]}, {.path = f->paths[2]}};
    seen_frames seen = {.stop_after = 1};
    escriba_model *model = open_model(f, 1);
    assert_int_equal(escriba_classify_frames(model, frames, 3, NULL, collect, NULL, &seen, &error),
                     ESCRIBA_ERR_CANCELLED);
    assert_int_equal(seen.count, 1);
    /* And the model is as good as before. */
    seen = (seen_frames){.count = 0};
    assert_int_equal(escriba_classify_frames(model, frames, 3, NULL, collect, NULL, &seen, &error), ESCRIBA_OK);
    assert_int_equal(seen.count, 3);
    escriba_free(model);
}

static void *cancel_soon(void *model)
{
    usleep(30000);
    escriba_cancel(model);
    return NULL;
}

static void another_thread_can_cancel(void **state)
{
    const fixture *f = *state;
    enum { COUNT = 2000 };
    escriba_error error;
    escriba_frame *frames = calloc(COUNT, sizeof *frames);
    for (size_t i = 0; i < COUNT; i++)
        frames[i].path = f->paths[i % 3];
    seen_frames seen = {.count = 0};
    escriba_model *model = open_model(f, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, model), 0);
    /* collect's text[] is indexed by frame: only look at the count. */
    escriba_status status = ESCRIBA_OK;
    for (size_t i = 0; i < COUNT && status == ESCRIBA_OK; i++)
        status = escriba_classify_frames(model, &frames[i], 1, NULL, collect, NULL, &seen, &error);
    pthread_join(thread, NULL);
    assert_int_equal(status, ESCRIBA_ERR_CANCELLED);
    assert_true(seen.count < COUNT);
    free(frames);
    escriba_free(model);
}

typedef struct pieces {
    char text[8192];
} pieces;

static int append(void *user_data, const char *piece)
{
    pieces *p = user_data;
    strncat(p->text, piece, sizeof p->text - strlen(p->text) - 1);
    return 0;
}

static void text_comes_whole_and_in_pieces(void **state)
{
    const fixture *f = *state;
    escriba_error error;
    escriba_request request;
    escriba_request_init(&request);
    request.prompt = "Say what the user is doing.";
    request.max_tokens = 20;
    pieces p = {""};
    char *text;
    escriba_model *model = open_model(f, 0);
    assert_int_equal(escriba_generate_text(model, &request, append, &p, &text, &error), ESCRIBA_OK);
    assert_string_equal(text, p.text);
    escriba_text_free(text);
    request.prompt = NULL;
    assert_int_equal(escriba_generate_text(model, &request, NULL, NULL, &text, &error), ESCRIBA_ERR_ARGUMENT);
    request.prompt = "x";
    request.temperature = -1;
    assert_int_equal(escriba_generate_text(model, &request, NULL, NULL, &text, &error), ESCRIBA_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "temperature"));
    escriba_free(model);
}

static void sampling_repeats_with_its_seed(void **state)
{
    const fixture *f = *state;
    escriba_error error;
    escriba_request request;
    escriba_request_init(&request);
    request.temperature = 5.0f;
    request.max_tokens = 30;
    escriba_frame frame = {.path = f->paths[1]};
    escriba_observation *seen[3];
    escriba_model *model = open_model(f, 0);
    for (int i = 0; i < 3; i++) {
        request.seed = i < 2 ? 7 : 8;
        assert_int_equal(escriba_classify_frame(model, &frame, &request, &seen[i], &error), ESCRIBA_OK);
    }
    assert_string_equal(seen[0]->raw_text, seen[1]->raw_text);
    assert_string_not_equal(seen[0]->raw_text, seen[2]->raw_text);
    for (int i = 0; i < 3; i++)
        escriba_observation_free(seen[i]);
    escriba_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_what_is_not_there_says_so),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
        cmocka_unit_test(a_file_and_its_pixels_give_the_same_observation),
        cmocka_unit_test(many_frames_are_each_described_as_if_alone),
        cmocka_unit_test(interleaved_frames_all_come_back),
        cmocka_unit_test(a_callback_can_stop_the_run),
        cmocka_unit_test(another_thread_can_cancel),
        cmocka_unit_test(text_comes_whole_and_in_pieces),
        cmocka_unit_test(sampling_repeats_with_its_seed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
