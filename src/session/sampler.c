#include "session/sampler.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "session/novelty.h"
#include "session/segments.h"
#include "session/shots.h"
#include "session/thumbnail.h"
#include "session/video.h"

#define QUEUE_BYTES ((size_t)128 << 20)
#define QUEUE_SHOTS 256
#define INTERVAL 10.0
#define FILL 0.3         /* intervals between samples that fill a gap */
#define GAP 1.5          /* intervals: a longer step is one */
#define PARTS 4          /* looks for a scene change within an interval, the sample's own included */
#define THUMB_FAR 24     /* levels by which a cell of the thumbnail must differ to count */
#define POLL_SECONDS 1.0 /* between looks at a followed directory */
#define SETTLES 5.0      /* seconds that an unreadable new picture may still be being written */

typedef struct node {
    es_shot shot;
    struct node *next;
} node;

struct es_sampler {
    char *path;
    es_sampler_options options;
    es_video *video; /* NULL: a directory */
    es_shot_files files;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock; /* guards all from here to info */
    pthread_cond_t changed;
    node *first, *last;
    size_t count, bytes;
    bool stop, finish, ended;
    es_status status; /* how the thread ended */
    es_error error;
    es_sampler_info info;

    /* the thread's own */
    es_novelty novelty;
    char *recent[ES_ANCHORS]; /* pictures described before, not decoded yet, the newest first */
    int64_t recent_ms[ES_ANCHORS];
    uint8_t thumb[ES_THUMB_WIDTH * ES_THUMB_HEIGHT]; /* of the last sample */
    bool same_frame;                                 /* the video has not moved on since the last sample */
    es_shot shown;                                   /* that sample, without its picture */
};

void es_sampler_options_init(es_sampler_options *options)
{
    *options = (es_sampler_options){.threshold = ES_SAME_THRESHOLD, .scene = 0.4, .gap_fill = -1, .zero = INFINITY};
}

static double interval_of(const es_sampler_options *options)
{
    return options->interval > 0 ? options->interval : INTERVAL;
}

double es_sampler_fill(const es_sampler_options *options)
{
    return options->gap_fill >= 0 ? options->gap_fill : FILL * interval_of(options);
}

/* Whether samples so many seconds apart get others in between. */
static bool is_gap(const es_sampler_options *options, double seconds)
{
    double most = options->gap_threshold > 0 ? options->gap_threshold : GAP * interval_of(options);
    return es_sampler_fill(options) > 0 && seconds > most;
}

void es_shot_free(es_shot *shot)
{
    es_image_free(&shot->image);
    free(shot->jpeg);
    *shot = (es_shot){0};
}

/* --- the queue --- */

static bool is_stopped(es_sampler *s)
{
    pthread_mutex_lock(&s->lock);
    bool stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static size_t bytes_of(const es_shot *shot)
{
    return (size_t)shot->image.width * (size_t)shot->image.height * 3 + shot->jpeg_size + sizeof *shot;
}

/* Takes the shot over; waits while the queue is full. */
static es_status push(es_sampler *s, es_shot *shot, es_error *err)
{
    node *n = es_calloc(1, sizeof *n);
    if (n == NULL) {
        es_shot_free(shot);
        return es_fail_memory(err, "a frame", sizeof *n);
    }
    n->shot = *shot;
    size_t bytes = bytes_of(shot);
    pthread_mutex_lock(&s->lock);
    while (!s->stop && s->count > 0 && (s->bytes + bytes > QUEUE_BYTES || s->count >= QUEUE_SHOTS))
        pthread_cond_wait(&s->changed, &s->lock);
    if (s->last != NULL)
        s->last->next = n;
    else
        s->first = n;
    s->last = n;
    s->count++;
    s->bytes += bytes;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return ES_OK;
}

es_status es_sampler_next(es_sampler *s, bool wait, es_shot *shot, bool *ready, bool *end, es_error *err)
{
    es_status status = ES_OK;
    *shot = (es_shot){0};
    *ready = *end = false;
    pthread_mutex_lock(&s->lock);
    while (wait && s->first == NULL && !s->ended)
        pthread_cond_wait(&s->changed, &s->lock);
    node *n = s->first;
    if (n != NULL) {
        s->first = n->next;
        s->last = n->next == NULL ? NULL : s->last;
        s->count--;
        s->bytes -= bytes_of(&n->shot);
        *shot = n->shot;
        *ready = true;
        pthread_cond_broadcast(&s->changed);
    } else if (s->ended) {
        *end = true;
        status = s->status;
        if (status != ES_OK && err != NULL)
            *err = s->error;
    }
    pthread_mutex_unlock(&s->lock);
    free(n);
    return status;
}

void es_sampler_tell(es_sampler *s, es_sampler_info *info)
{
    pthread_mutex_lock(&s->lock);
    *info = s->info;
    pthread_mutex_unlock(&s->lock);
}

void es_sampler_finish(es_sampler *s)
{
    pthread_mutex_lock(&s->lock);
    s->finish = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* --- what is new --- */

/* Decides whether the shot's picture shows something new; where it doesn't, drops the picture. */
static es_status judge(es_sampler *s, es_shot *shot, es_error *err)
{
    int threshold = s->options.threshold;
    es_content_hash(&shot->image, shot->content);
    shot->perceptual = es_perceptual_hash(&shot->image);
    if (threshold >= 0 && shot->known == ES_KNOWN_NOT)
        ES_TRY(es_novelty_judge(&s->novelty, &shot->image, shot->content, shot->perceptual, threshold, &shot->same,
                                &shot->same_as_ms, err));
    if (!shot->same && threshold >= 0)
        ES_TRY(es_novelty_keep(&s->novelty, &shot->image, shot->content, shot->perceptual, shot->at_ms, err));
    if (shot->same || shot->known != ES_KNOWN_NOT) {
        es_image_free(&shot->image);
        return ES_OK;
    }
    return s->options.thumbnails ? es_thumbnail_make(&shot->image, &shot->jpeg, &shot->jpeg_size, err) : ES_OK;
}

static es_known what_is_known(const es_sampler *s, int64_t at_ms, int64_t source)
{
    return s->options.known != NULL ? s->options.known(s->options.known_context, at_ms, source) : ES_KNOWN_NOT;
}

static bool is_dropped(es_sampler *s, double seconds, const char *path)
{
    if (s->options.drop == NULL || !s->options.drop(s->options.context, seconds, path))
        return false;
    pthread_mutex_lock(&s->lock);
    s->info.dropped++;
    pthread_mutex_unlock(&s->lock);
    return true;
}

/* --- a video --- */

/* The frame on screen is the last sample's. */
static es_status emit_again(es_sampler *s, es_shot *shot, es_error *err)
{
    int64_t at_ms = shot->at_ms;
    *shot = s->shown;
    shot->at_ms = at_ms;
    if (!shot->same) /* of one that is known as the same, we don't know as which: it will do itself */
        shot->same_as_ms = s->shown.at_ms;
    shot->same = true;
    shot->known = ES_KNOWN_NOT;
    return push(s, shot, err);
}

static es_status emit_frame(es_sampler *s, double seconds, es_error *err)
{
    es_shot shot = {.at_ms = (int64_t)llround(seconds * 1000)};
    bool comparing = s->options.threshold >= 0;
    if (is_dropped(s, seconds, NULL))
        return ES_OK;
    shot.known = what_is_known(s, shot.at_ms, 0);
    if (shot.known == ES_KNOWN_NOT && s->same_frame && comparing)
        return emit_again(s, &shot, err);
    if (shot.known == ES_KNOWN_NOT || (comparing && (shot.known == ES_KNOWN_OWN || s->options.moments != NULL))) {
        es_status status = es_video_image(s->video, &shot.image, err);
        if (status == ES_OK)
            status = judge(s, &shot, err);
        if (status != ES_OK) {
            es_shot_free(&shot);
            return status;
        }
    }
    s->same_frame = true;
    s->shown = shot;
    s->shown.image = (es_image){0};
    s->shown.jpeg = NULL;
    s->shown.jpeg_size = 0;
    return push(s, &shot, err);
}

static bool is_scene(const uint8_t *a, const uint8_t *b, double share)
{
    size_t far = 0;
    for (size_t i = 0; i < ES_THUMB_WIDTH * ES_THUMB_HEIGHT; i++)
        far += abs(a[i] - b[i]) > THUMB_FAR;
    return (double)far >= share * ES_THUMB_WIDTH * ES_THUMB_HEIGHT;
}

/* Goes to the moment. *there is false at the recording's end. */
static es_status go_to(es_sampler *s, double seconds, bool *there, es_error *err)
{
    bool same;
    ES_TRY(es_video_seek(s->video, seconds, there, &same, err));
    s->same_frame = s->same_frame && same;
    return ES_OK;
}

/* A sample at the first quarter of the interval that shows another scene than the last sample. */
static es_status sample_scene(es_sampler *s, double from, double interval, bool *there, es_error *err)
{
    uint8_t thumb[ES_THUMB_WIDTH * ES_THUMB_HEIGHT];
    for (size_t part = 1; part < PARTS; part++) {
        double seconds = from + (double)part / PARTS * interval;
        ES_TRY(go_to(s, seconds, there, err));
        if (!*there)
            return ES_OK;
        if (s->same_frame)
            continue;
        ES_TRY(es_video_thumbnail(s->video, thumb, err));
        if (is_scene(s->thumb, thumb, s->options.scene))
            return emit_frame(s, seconds, err);
    }
    return ES_OK;
}

/* Samples in between where something moved. */
static es_status sample_gap(es_sampler *s, double from, double interval, bool *there, es_error *err)
{
    double fill = es_sampler_fill(&s->options);
    for (double seconds = from + fill; from + interval - seconds >= fill / 2; seconds += fill) {
        ES_TRY(go_to(s, seconds, there, err));
        if (!*there)
            return ES_OK;
        if (!s->same_frame)
            ES_TRY(emit_frame(s, seconds, err));
    }
    return ES_OK;
}

/* The samples from one beat of the interval up to the next. */
static es_status sample_beat(es_sampler *s, size_t beat, double interval, bool *there, es_error *err)
{
    double seconds = (double)beat * interval;
    ES_TRY(go_to(s, seconds, there, err));
    if (!*there)
        return ES_OK;
    ES_TRY(emit_frame(s, seconds, err));
    if (is_gap(&s->options, interval))
        return sample_gap(s, seconds, interval, there, err);
    if (s->options.scene <= 0)
        return ES_OK;
    ES_TRY(es_video_thumbnail(s->video, s->thumb, err));
    return sample_scene(s, seconds, interval, there, err);
}

static es_status sample_moments(es_sampler *s, es_error *err)
{
    bool there = true;
    for (size_t i = 0; there && i < s->options.moment_count && !is_stopped(s); i++) {
        ES_TRY(go_to(s, s->options.moments[i], &there, err));
        if (there)
            ES_TRY(emit_frame(s, s->options.moments[i], err));
    }
    return ES_OK;
}

static es_status sample_video(es_sampler *s, es_error *err)
{
    double interval = interval_of(&s->options);
    bool there = true;
    size_t beat = (size_t)((double)s->options.from_ms / 1000 / interval);
    for (; there && !is_stopped(s); beat++) {
        if (beat >= ES_MOMENTS_MAX)
            return es_fail(err, ES_ERR_LIMIT, "%s: more than %d samples: use a longer --interval", s->path,
                           ES_MOMENTS_MAX);
        ES_TRY(sample_beat(s, beat, interval, &there, err));
        es_video_info info;
        es_video_tell(s->video, &info);
        pthread_mutex_lock(&s->lock);
        s->info.seconds = info.seconds;
        s->info.truncated = info.truncated;
        pthread_mutex_unlock(&s->lock);
    }
    return ES_OK;
}

/* --- a directory --- */

static bool is_settling(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && difftime(time(NULL), st.st_mtime) < SETTLES;
}

/* Never 0; other bytes under the same name have another one. */
static int64_t source_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return 1;
#ifdef __APPLE__
    uint64_t ns = (uint64_t)st.st_mtimespec.tv_sec * 1000000000u + (uint64_t)st.st_mtimespec.tv_nsec;
#else
    uint64_t ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
#endif
    return (int64_t)((ns * 0x9E3779B97F4A7C15u ^ (uint64_t)st.st_size) >> 1 | 1);
}

/* A picture described before needs no decoding unless a later one is to be compared with it. */
static es_status note_recent(es_sampler *s, const char *path, int64_t at_ms, es_error *err)
{
    char *copy = es_strdup(path);
    if (copy == NULL)
        return es_fail_memory(err, "a path", 0);
    free(s->recent[ES_ANCHORS - 1]);
    memmove(s->recent + 1, s->recent, (ES_ANCHORS - 1) * sizeof *s->recent);
    memmove(s->recent_ms + 1, s->recent_ms, (ES_ANCHORS - 1) * sizeof *s->recent_ms);
    s->recent[0] = copy;
    s->recent_ms[0] = at_ms;
    return ES_OK;
}

static es_status decode_recent(es_sampler *s, es_error *err)
{
    es_status status = ES_OK;
    for (size_t i = ES_ANCHORS; i-- > 0;) {
        es_shot shot = {.at_ms = s->recent_ms[i], .known = ES_KNOWN_OWN};
        char *path = s->recent[i];
        s->recent[i] = NULL;
        if (path != NULL && status == ES_OK && es_image_load(&shot.image, path, NULL) == ES_OK) /* gone: no matter */
            status = judge(s, &shot, err);
        es_shot_free(&shot);
        free(path);
    }
    return status;
}

/* One picture. *later: it may still be being written. */
static es_status emit_file(es_sampler *s, const es_shot_file *file, double seconds, bool *later, es_error *err)
{
    es_shot shot = {.at_ms = (int64_t)llround(seconds * 1000), .source = source_of(file->path)};
    *later = false;
    if (is_dropped(s, seconds, file->path))
        return ES_OK;
    shot.known = what_is_known(s, shot.at_ms, shot.source);
    if (shot.known != ES_KNOWN_NOT) {
        if (shot.known == ES_KNOWN_OWN && s->options.threshold >= 0)
            ES_TRY(note_recent(s, file->path, shot.at_ms, err));
        return push(s, &shot, err);
    }
    ES_TRY(decode_recent(s, err));
    shot.status = es_image_load(&shot.image, file->path, &shot.error);
    if (shot.status == ES_ERR_MEMORY)
        return es_fail_memory(err, file->path, 0);
    if (shot.status != ES_OK && s->options.follow && is_settling(file->path)) {
        *later = true;
        return ES_OK;
    }
    es_status status = shot.status == ES_OK ? judge(s, &shot, err) : ES_OK;
    if (status != ES_OK) {
        es_shot_free(&shot);
        return status;
    }
    return push(s, &shot, err);
}

/* Waits a little for the directory to grow; false when there is nothing more to wait for. */
static bool wait_for_more(es_sampler *s)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)POLL_SECONDS;
    pthread_mutex_lock(&s->lock);
    bool more = s->options.follow && !s->finish;
    if (more && !s->stop)
        pthread_cond_timedwait(&s->changed, &s->lock, &until);
    more = more && !s->stop;
    pthread_mutex_unlock(&s->lock);
    return more;
}

static double time_of(const es_sampler *s, size_t file)
{
    return s->files.items[file].at - s->files.zero;
}

static void expect(es_sampler *s, size_t expected, double seconds)
{
    pthread_mutex_lock(&s->lock);
    s->info.expected = expected;
    s->info.seconds = seconds;
    pthread_mutex_unlock(&s->lock);
}

/* The picture to take after that of `last` seconds, from the i-th on; the count when there is none yet. */
static size_t next_file(const es_sampler *s, size_t i, double last, bool any)
{
    double step = any ? s->options.interval * 0.95 : 0, fill = es_sampler_fill(&s->options); /* recorders vary */
    size_t count = s->files.count, next = i;
    while (next < count && any && (time_of(s, next) <= last || time_of(s, next) < last + step))
        next++;
    if (next < count && any && s->options.interval > 0 && is_gap(&s->options, time_of(s, next) - last))
        for (size_t k = i; k < next; k++)
            if (time_of(s, k) >= last + fill && time_of(s, next) - time_of(s, k) >= fill / 2)
                return k;
    return next;
}

/* The pictures after *last, in order; *last becomes the time of the last one taken. */
static es_status sample_files(es_sampler *s, double *last, bool *any, es_error *err)
{
    double from = (double)s->options.from_ms / 1000;
    expect(s, s->files.count, s->files.count > 0 ? fmax(time_of(s, s->files.count - 1), 0) : 0);
    for (size_t i = 0; !is_stopped(s); i++) {
        bool later = false;
        i = next_file(s, i, *last, *any);
        if (i >= s->files.count)
            break;
        double seconds = time_of(s, i);
        if (seconds >= from)
            ES_TRY(emit_file(s, &s->files.items[i], seconds, &later, err));
        if (later)
            break;
        *last = seconds;
        *any = true;
    }
    return ES_OK;
}

static es_status sample_directory(es_sampler *s, es_error *err)
{
    double last = 0;
    bool any = false;
    for (;;) {
        ES_TRY(sample_files(s, &last, &any, err));
        bool more = wait_for_more(s);
        if (!s->options.follow || is_stopped(s))
            return ES_OK;
        double zero = s->files.count > 0 ? s->files.zero : s->options.zero;
        es_shots_free(&s->files);
        ES_TRY(es_shots_list(&s->files, s->path, s->options.seconds_of, err));
        s->files.zero = isfinite(zero) ? zero : s->files.zero;
        if (!more) /* told to finish: what came meanwhile is taken, unfinished pictures too */
            return sample_files(s, &last, &any, err);
    }
}

/* --- the thread --- */

static void *run(void *context)
{
    es_sampler *s = context;
    es_error err = {0};
    es_status status = s->video == NULL             ? sample_directory(s, &err)
                       : s->options.moments != NULL ? sample_moments(s, &err)
                                                    : sample_video(s, &err);
    pthread_mutex_lock(&s->lock);
    s->status = status;
    s->error = err;
    s->ended = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static double no_seconds(const char *path)
{
    (void)path;
    return -1;
}

static es_status open_directory(es_sampler *s, es_error *err)
{
    if (s->options.seconds_of == NULL)
        s->options.seconds_of = no_seconds;
    ES_TRY(es_shots_list(&s->files, s->path, s->options.seconds_of, err));
    if (isfinite(s->options.zero))
        s->files.zero = s->options.zero;
    if (s->files.count > ES_MOMENTS_MAX)
        return es_fail(err, ES_ERR_LIMIT, "%s: %zu pictures: at most %d in one recording", s->path, s->files.count,
                       ES_MOMENTS_MAX);
    if (s->files.count == 0 && !s->options.follow)
        return es_fail(err, ES_ERR_IO, "%s: no pictures in this directory (.png, .jpg, .jpeg, .webp)", s->path);
    s->info.kind = "screenshots";
    return ES_OK;
}

static es_status open_recording(es_sampler *s, es_error *err)
{
    if (es_dir_exists(s->path))
        return open_directory(s, err);
    if (s->options.follow)
        return es_fail(err, ES_ERR_ARGUMENT, "%s: only a directory of screenshots can be followed", s->path);
    ES_TRY(es_video_open(&s->video, s->path, s->options.threads, err));
    es_video_info info;
    es_video_tell(s->video, &info);
    double interval = interval_of(&s->options);
    s->info =
        (es_sampler_info){.seconds = info.seconds, .kind = info.codec, .width = info.width, .height = info.height};
    s->info.expected = s->options.moments != NULL ? s->options.moment_count
                                                  : (size_t)fmin(ceil(info.seconds / interval), ES_MOMENTS_MAX);
    return ES_OK;
}

es_status es_sampler_open(es_sampler **sampler, const char *path, const es_sampler_options *options, es_error *err)
{
    es_sampler *s = es_calloc(1, sizeof *s);
    *sampler = NULL;
    if (s == NULL)
        return es_fail_memory(err, "a recording", sizeof *s);
    s->options = *options;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->path = es_strdup(path);
    es_status status = s->path == NULL ? es_fail_memory(err, "a recording", 0) : open_recording(s, err);
    if (status == ES_OK && pthread_create(&s->thread, NULL, run, s) != 0)
        status = es_fail(err, ES_ERR_IO, "cannot start a thread: the system's limit on threads is reached");
    s->has_thread = status == ES_OK;
    if (status != ES_OK) {
        es_sampler_close(s);
        return status;
    }
    *sampler = s;
    return ES_OK;
}

void es_sampler_close(es_sampler *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    for (node *n = s->first, *next; n != NULL; n = next) {
        next = n->next;
        es_shot_free(&n->shot);
        free(n);
    }
    es_video_close(s->video);
    es_shots_free(&s->files);
    for (size_t i = 0; i < ES_ANCHORS; i++)
        free(s->recent[i]);
    es_novelty_free(&s->novelty);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}
