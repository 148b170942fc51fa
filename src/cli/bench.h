/* bench.h - what the files of `escriba bench` share. */
#ifndef ES_CLI_BENCH_H
#define ES_CLI_BENCH_H

#include "cli/cli.h"
#include "compute/cpu/peak.h"
#include "engine/engine.h"

#define ES_BENCH_POINTS 16

typedef struct es_bench_options {
    const char *model, *csv, *svg, *prompt;
    long long at_once[ES_BENCH_POINTS]; /* frames at once, one run each */
    size_t points;
    long long tokens, width, height;
    bool caches; /* the frames as a recording, with each cache on and off */
    bool busy;   /* interactive requests to an engine that has frames to do */
    const char **files;
    size_t file_count, file_capacity;
} es_bench_options;

/* Frames ready for the tower, and what that took. */
typedef struct es_bench_frames {
    es_patches *items;
    size_t count;
    int32_t width, height; /* of the first */
    double seconds_decode, seconds_preprocess;
    bool drawn; /* not from files */
} es_bench_frames;

/* One run over some frames. */
typedef struct es_bench_run {
    char name[40];
    size_t at_once, frames;
    double seconds;
    es_engine_stats stats;
    int64_t prompt_tokens, image_tokens, generated, failed;
    double vision_ops, prefill_ops, decode_bytes; /* of all frames; of all decoding passes */
    es_error error;                               /* of the first frame that failed */
} es_bench_run;

typedef struct es_bench_result {
    const es_model *model;
    const es_bench_options *options;
    const es_bench_frames *frames;
    es_peaks peaks;
    bool bytes; /* products are of bytes */
    double seconds_open;
    int64_t peak_memory, kv_bytes;
    const char *vision_dir; /* --vision-cache; NULL: none */
    int64_t vision_dir_bytes;
    es_bench_run *runs;
    size_t run_count;
} es_bench_result;

/* Interactive requests to an engine that describes frames; seconds. */
typedef struct es_bench_busy {
    size_t frames, asks;
    double idle, busy, worst;       /* to the first token: on an idle engine, median and worst on a busy one */
    double layer;                   /* of the tower, one frame */
    double alone[2], together, own; /* the frames alone, before and after; with the questions; the questions alone */
} es_bench_busy;

/* --- bench_busy.c --- */
es_status es_bench_measure_busy(const es_bench_result *result, es_bench_busy *busy, es_error *err);
void es_bench_busy_table(es_str *out, const es_bench_busy *busy);

/* --- bench_load.c --- */
es_status es_bench_frames_load(es_bench_frames *frames, const es_bench_options *options, const es_preprocess *config,
                               size_t count, es_error *err);
void es_bench_frames_free(es_bench_frames *frames);
/* Operations of the tower over one picture, of prefilling `rows` tokens; bytes of weights that a pass of decoding
 * reads, and of keys and values for each token of the past. */
double es_bench_vision_ops(const es_model *model, const es_patches *picture);
double es_bench_prefill_ops(const es_model *model, int64_t rows);
double es_bench_weight_bytes(const es_model *model);
double es_bench_kv_bytes(const es_model *model);

/* --- bench_report.c --- */
void es_bench_table(es_str *out, const es_bench_result *result);
void es_bench_csv(es_str *out, const es_bench_result *result);
void es_bench_svg(es_str *out, const es_bench_result *result);

#endif
