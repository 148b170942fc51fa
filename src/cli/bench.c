/* bench.c - how fast this machine describes frames, phase by phase, beside what the machine can do at all. */
#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "compute/open.h"
#include "intelligence/prompts.h"
#include "intelligence/record_grammar.h"

enum { FLAG_AT_ONCE, FLAG_TOKENS, FLAG_SIZE, FLAG_CACHES, FLAG_BUSY, FLAG_CSV, FLAG_SVG, FLAG_PROMPT };
static const es_flag flags[] = {
    {"--at-once", "N,N,...", "frames at once, one run each (8); 1,2,4,8,16,32 makes a curve"},
    {"--tokens", "N", "tokens each frame's answer has (64)"},
    {"--size", "WxH", "of the frames, where none are given (1024x576)"},
    {"--caches", NULL, "take the frames as a recording: with each cache on and off; --vision-cache adds the disk"},
    {"--busy", NULL, "also put questions to an engine that has 32 frames to describe: how soon, at what cost"},
    {"--csv", "FILE", "write the figures there, too"},
    {"--svg", "FILE", "write the curve of frames a second there"},
    {"--prompt", "TEXT", "the question put to each frame instead of escriba's own"},
};
static const es_usage usage = {
    .verb = "bench",
    .synopsis = "[FLAGS] [FRAME...]",
    .text =
        "Answers frames with our own engine and tells where the time goes: seconds, rates and tokens of each phase,\n"
        "and what share that is of this machine's own peak, measured in the same run. Without --caches every\n"
        "answer has exactly --tokens tokens, and nothing is kept from one frame for another. With it, answers\n"
        "keep to the form of a record, and the run is made with all caches, without each, and without any.\n",
    .flags = flags,
    .flag_count = sizeof flags / sizeof *flags,
    .settings = ES_SET_MODEL,
    .examples = "  escriba bench --model models/escriba-tiny --at-once 1,2,4,8,16,32 --svg curve.svg\n"
                "  escriba bench --model Qwen3-VL-2B-Instruct --precision fast --size 1280x720\n"
                "  escriba bench --precision fast --caches recording/*.png --csv caches.csv\n",
};

/* --- one run --- */

typedef struct job_state {
    const es_bench_frames *frames;
    const es_bench_options *options;
    const es_model *model;
    es_matcher *matcher; /* NULL: answers of a fixed length */
    es_bench_run *run;
    size_t next;
    es_content content[2];
    es_message message;
} job_state;

static es_status next_prompt(void *context, es_prompt *prompt, es_generation *generation, void **tag, bool *more,
                             es_error *err)
{
    job_state *j = context;
    (void)err;
    *tag = NULL;
    *more = j->next < j->run->frames;
    if (!*more)
        return ES_OK;
    *tag = &j->frames->items[j->next];
    *prompt = (es_prompt){&j->message, 1, &j->frames->items[j->next++], 1};
    *generation = (es_generation){.max_tokens = (int32_t)j->options->tokens, .matcher = j->matcher};
    generation->ignore_eos = j->matcher == NULL;
    es_sampling_init(&generation->sampling);
    return ES_OK;
}

static bool finished(void *context, void *tag, const es_answer *answer)
{
    job_state *j = context;
    es_bench_run *r = j->run;
    if (answer->status != ES_OK) {
        if (r->failed++ == 0)
            r->error = answer->error;
        return true;
    }
    int64_t generated = (int64_t)answer->id_count;
    r->prompt_tokens += answer->prompt_tokens;
    r->image_tokens += answer->image_tokens;
    r->generated += generated;
    if (answer->reused)
        return true;
    r->vision_ops += es_bench_vision_ops(j->model, tag);
    r->prefill_ops += es_bench_prefill_ops(j->model, answer->prompt_tokens);
    r->decode_bytes +=
        es_bench_kv_bytes(j->model) * (double)generated * ((double)answer->prompt_tokens + 0.5 * (double)generated);
    return true;
}

static es_status run_once(const es_bench_result *b, const es_engine_options *options, es_matcher *matcher,
                          es_bench_run *run, es_error *err)
{
    job_state j = {.frames = b->frames, .options = b->options, .model = b->model, .matcher = matcher, .run = run};
    j.content[1].text = b->options->prompt != NULL ? b->options->prompt : es_prompt_frame;
    j.message = (es_message){ES_ROLE_USER, j.content, 2};
    es_job job = {.context = &j, .next = next_prompt, .finished = finished};
    es_engine *engine;
    es_engine_options own = *options;
    own.kv_bytes = b->kv_bytes;
    ES_TRY(es_engine_create(&engine, b->model, &own, err));
    double start = es_now();
    es_status status = es_engine_run(engine, &job, err);
    run->seconds = es_now() - start;
    es_engine_get_stats(engine, &run->stats);
    run->decode_bytes += es_bench_weight_bytes(b->model) * (double)run->stats.decode_passes;
    es_engine_free(engine);
    return status;
}

/* Every frame does all of its work. */
static const es_engine_options no_caches = {
    .vision_cache_bytes = -1, .no_prefix_cache = true, .no_answer_cache = true, .no_drafts = true};

static es_status run_points(es_bench_result *b, es_error *err)
{
    const es_bench_options *o = b->options;
    es_bench_run warm = {.at_once = 1, .frames = 1};
    ES_TRY(run_once(b, &no_caches, NULL, &warm, err)); /* the weights come into memory */
    for (size_t i = 0; i < o->points; i++) {
        es_bench_run *r = &b->runs[b->run_count++];
        es_engine_options options = no_caches;
        options.batch = (int32_t)o->at_once[i];
        r->at_once = (size_t)o->at_once[i];
        r->frames = r->at_once < b->frames->count ? r->at_once : b->frames->count;
        snprintf(r->name, sizeof r->name, "%zu at once", r->at_once);
        ES_TRY(run_once(b, &options, NULL, r, err));
    }
    return ES_OK;
}

static void on_note(void *context, const char *line)
{
    (void)context;
    es_complain("%s", line);
}

static es_status run_caches(es_bench_result *b, es_error *err)
{
    const struct {
        const char *name;
        bool one; /* at a time */
        es_engine_options options;
        bool disk; /* only with --vision-cache */
    } ways[] = {
        {"no caches", false, no_caches, false},
        {"all caches", false, {0}, false},
        {"without answers", false, {.no_answer_cache = true}, false},
        {"without vision", false, {.vision_cache_bytes = -1}, false},
        {"without prefixes", false, {.no_prefix_cache = true}, false},
        {"without drafts", false, {.no_drafts = true}, false},
        /* Of frames that repeat, the answer cache leaves the others nothing. */
        {"no answers, no vision", false, {.no_answer_cache = true, .vision_cache_bytes = -1}, false},
        {"no answers, no prefixes", false, {.no_answer_cache = true, .no_prefix_cache = true}, false},
        {"all, one at a time", true, {0}, false},
        {"no caches, one at a time", true, no_caches, false},
        {"disk too, first pass", false, {0}, true},
        {"disk too, second pass", false, {0}, true},
    };
    es_grammar *grammar;
    es_lexicon *lexicon = NULL;
    es_matcher *matcher = NULL;
    ES_TRY(es_record_grammar(&grammar, 1, err));
    es_status status = es_lexicon_create(&lexicon, b->model->tokenizer, b->model->config.text.vocab, err);
    if (status == ES_OK)
        status = es_matcher_create(&matcher, grammar, lexicon, err);
    for (size_t i = 0; i < sizeof ways / sizeof *ways && status == ES_OK; i++) {
        if (ways[i].disk && b->vision_dir == NULL)
            continue;
        es_bench_run *r = &b->runs[b->run_count++];
        es_engine_options options = ways[i].options;
        options.batch = ways[i].one ? 1 : (int32_t)b->options->at_once[0];
        if (ways[i].disk) {
            options.vision_dir = b->vision_dir;
            options.vision_dir_bytes = b->vision_dir_bytes;
            options.note = on_note;
        }
        r->at_once = (size_t)options.batch;
        r->frames = b->frames->count;
        snprintf(r->name, sizeof r->name, "%s", ways[i].name);
        status = run_once(b, &options, matcher, r, err);
    }
    es_matcher_free(matcher);
    es_lexicon_free(lexicon);
    es_grammar_free(grammar);
    return status;
}

/* --- all together --- */

static int64_t peak_memory(void)
{
    struct rusage usage_now;
    if (getrusage(RUSAGE_SELF, &usage_now) != 0)
        return 0;
#if defined(__APPLE__)
    return (int64_t)usage_now.ru_maxrss;
#else
    return (int64_t)usage_now.ru_maxrss * 1024;
#endif
}

static es_status write_file(const char *path, void (*fill)(es_str *, const es_bench_result *), const es_bench_result *b,
                            es_error *err)
{
    es_str text = {0};
    if (path == NULL)
        return ES_OK;
    fill(&text, b);
    es_status status = es_str_check(&text, err);
    if (status == ES_OK)
        status = es_file_write(path, es_str_text(&text), text.length, 0666, err);
    es_str_free(&text);
    return status;
}

static es_status report(const es_bench_result *b, const es_bench_busy *busy, es_error *err)
{
    es_str text = {0};
    es_bench_table(&text, b);
    if (b->options->busy)
        es_bench_busy_table(&text, busy);
    es_status status = es_str_check(&text, err);
    if (status == ES_OK && !es_print(es_str_text(&text)))
        status = ES_ERR_IO;
    es_str_free(&text);
    if (status == ES_OK)
        status = write_file(b->options->csv, es_bench_csv, b, err);
    return status == ES_OK ? write_file(b->options->svg, es_bench_svg, b, err) : status;
}

static es_status measure(es_bench_result *b, const es_settings *settings, es_error *err)
{
    const es_bench_options *o = b->options;
    es_device *device = (es_device *)b->model->device;
    es_bench_frames frames = {0};
    es_bench_busy busy = {0};
    long long most = 1;
    for (size_t i = 0; i < o->points; i++)
        most = o->at_once[i] > most ? o->at_once[i] : most;
    b->vision_dir = es_vision_folder(settings);
    b->vision_dir_bytes = es_vision_folder_bytes(settings);
    b->kv_bytes = (int64_t)(es_settings_number(settings, ES_SETTING_MEMORY) * 1e9);
    size_t size;
    b->bytes = es_matrix_ready(device, b->model->weights.blocks[0].fc1.w, &size) != NULL;
    ES_TRY(es_bench_frames_load(&frames, o, &b->model->preprocess, (size_t)most, err));
    b->frames = &frames;
    es_status status = o->caches ? run_caches(b, err) : run_points(b, err);
    if (status == ES_OK && o->busy)
        status = es_bench_measure_busy(b, &busy, err);
    b->peak_memory = peak_memory(); /* before the peaks take some of their own */
    for (int i = 0; i < 3 && status == ES_OK && !es_device_is_mlx(device); i++)
        status = es_cpu_peaks(device, &b->peaks, err);
    if (status == ES_OK)
        status = report(b, &busy, err);
    es_bench_frames_free(&frames);
    return status;
}

static es_status bench(const es_bench_options *o, const es_settings *settings, es_error *err)
{
    es_bench_run runs[ES_BENCH_POINTS] = {{{0}, 0, 0, 0, {0}, 0, 0, 0, 0, 0, 0, 0, {0}}};
    es_bench_result b = {.options = o, .runs = runs};
    es_device *device = NULL;
    es_model *model = NULL;
    char *dir = NULL;
    es_status status = es_find_model(es_settings_text(settings, ES_SETTING_MODEL), &dir, err);
    double start = es_now();
    if (status == ES_OK)
        status = es_open_device(settings, false, &device, err);
    if (status == ES_OK)
        status = es_model_open_kept(&model, device, dir, es_weight_folder(settings), err);
    b.seconds_open = es_now() - start;
    b.model = model;
    if (status == ES_OK)
        status = measure(&b, settings, err);
    es_model_free(model);
    es_device_free(device);
    free(dir);
    return status;
}

/* --- the command line --- */

static bool read_points(es_bench_options *o, const char *value)
{
    char copy[200], *rest = NULL;
    if (strlen(value) >= sizeof copy)
        return false;
    strcpy(copy, value);
    o->points = 0;
    for (char *word = strtok_r(copy, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        if (o->points == ES_BENCH_POINTS || !es_parse_int(word, 1, 256, &o->at_once[o->points]))
            return false;
        o->points++;
    }
    return o->points > 0;
}

static bool read_size(es_bench_options *o, const char *value)
{
    char copy[40], *x;
    if (strlen(value) >= sizeof copy)
        return false;
    strcpy(copy, value);
    x = strchr(copy, 'x');
    if (x == NULL)
        return false;
    *x = '\0';
    return es_parse_int(copy, 32, 8192, &o->width) && es_parse_int(x + 1, 32, 8192, &o->height);
}

static int bad_value(const char *flag, const char *value, const char *expected)
{
    es_complain("%s: \"%.60s\" is not %s", flag, value, expected);
    return ES_EXIT_USAGE;
}

static int read_flag(void *context, size_t index, const char *value)
{
    es_bench_options *o = context;
    switch (index) {
    case FLAG_AT_ONCE:
        return read_points(o, value) ? ES_EXIT_OK : bad_value("--at-once", value, "up to 16 numbers from 1 to 256");
    case FLAG_TOKENS:
        return es_parse_int(value, 1, 100000, &o->tokens)
                   ? ES_EXIT_OK
                   : bad_value("--tokens", value, "a whole number from 1 to 100000");
    case FLAG_SIZE:
        return read_size(o, value) ? ES_EXIT_OK : bad_value("--size", value, "WIDTHxHEIGHT, each from 32 to 8192");
    case FLAG_CACHES:
        o->caches = true;
        break;
    case FLAG_BUSY:
        o->busy = true;
        break;
    case FLAG_CSV:
        o->csv = value;
        break;
    case FLAG_SVG:
        o->svg = value;
        break;
    default:
        o->prompt = value;
        break;
    }
    return ES_EXIT_OK;
}

static int read_operand(void *context, const char *value)
{
    es_bench_options *o = context;
    void *files = o->files;
    es_error err = {0};
    if (es_grow(&files, &o->file_capacity, o->file_count + 1, sizeof *o->files) != 0) {
        es_fail_memory(&err, "the list of frames", 0);
        return es_complain_error(&err);
    }
    o->files = files;
    o->files[o->file_count++] = value;
    return ES_EXIT_OK;
}

int es_cmd_bench(int argc, char **argv)
{
    es_bench_options o = {.at_once = {8}, .points = 1, .tokens = 64, .width = 1024, .height = 576};
    es_reader reader = {read_flag, read_operand, &o};
    es_settings *settings = NULL;
    es_error err = {0};
    bool done;
    int code = es_read_command_line(argc, argv, &usage, &reader, &settings, &done);
    if (code == ES_EXIT_OK && !done && o.caches && o.file_count == 0) {
        es_complain("--caches needs the frames of a recording, in order: see 'escriba help bench'");
        code = ES_EXIT_USAGE;
    }
    if (code == ES_EXIT_OK && !done && bench(&o, settings, &err) != ES_OK)
        code = es_complain_error(&err);
    es_settings_free(settings);
    free(o.files);
    return code;
}
