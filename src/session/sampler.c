#include "session/sampler.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "session/segments.h"
#include "session/shots.h"
#include "session/thumbnail.h"
#include "session/video.h"

#define QUEUE_BYTES ((size_t)128 << 20)
#define QUEUE_SHOTS 256
#define INTERVAL 10.0
#define PARTS 4          /* looks for a scene change within an interval, the sample's own included */
#define THUMB_FAR 24     /* levels by which a cell of the thumbnail must differ to count */
#define POLL_SECONDS 1.0 /* between looks at a followed directory */
#define SETTLES 5.0      /* seconds that an unreadable new picture may still be being written */

typedef struct known {
    char content[ES_CONTENT_HEX + 1];
    int64_t at_ms;
} known;

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
    es_image anchor; /* the last picture that was not `same` */
    int64_t anchor_ms;
    bool has_anchor;
    known *seen; /* open addressing, by content; content[0] == 0: free */
    size_t seen_count, seen_room;
    uint8_t thumb[ES_THUMB_WIDTH * ES_THUMB_HEIGHT]; /* of the last sample */
    bool same_frame;                                 /* the video has not moved on since the last sample */
    es_shot shown;                                   /* that sample, without its picture */
};

void es_sampler_options_init(es_sampler_options *options)
{
    *options = (es_sampler_options){.threshold = ES_SAME_THRESHOLD, .scene = 0.4};
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

static known *find_seen(const es_sampler *s, const char *content)
{
    size_t at = 0;
    for (size_t i = 0; i < 8; i++)
        at = at << 4 | (size_t)(content[i] <= '9' ? content[i] - '0' : content[i] - 'a' + 10);
    for (at &= s->seen_room - 1; s->seen[at].content[0] != '\0'; at = (at + 1) & (s->seen_room - 1))
        if (strcmp(s->seen[at].content, content) == 0)
            break;
    return &s->seen[at];
}

static es_status remember(es_sampler *s, const char *content, int64_t at_ms, es_error *err)
{
    if (s->seen_count * 2 >= s->seen_room) {
        es_sampler grown = {.seen_room = s->seen_room == 0 ? 256 : s->seen_room * 2};
        grown.seen = es_calloc(grown.seen_room, sizeof *grown.seen);
        if (grown.seen == NULL)
            return es_fail_memory(err, "the frames seen", grown.seen_room * sizeof *grown.seen);
        for (size_t i = 0; i < s->seen_room; i++)
            if (s->seen[i].content[0] != '\0')
                *find_seen(&grown, s->seen[i].content) = s->seen[i];
        free(s->seen);
        s->seen = grown.seen;
        s->seen_room = grown.seen_room;
    }
    known *place = find_seen(s, content);
    memcpy(place->content, content, sizeof place->content);
    place->at_ms = at_ms;
    s->seen_count++;
    return ES_OK;
}

static es_status keep_anchor(es_sampler *s, const es_image *image, int64_t at_ms, es_error *err)
{
    size_t bytes = (size_t)image->width * (size_t)image->height * 3;
    es_image copy = {image->width, image->height, es_calloc(bytes, 1)};
    if (copy.rgb == NULL)
        return es_fail_memory(err, "a frame", bytes);
    memcpy(copy.rgb, image->rgb, bytes);
    es_image_free(&s->anchor);
    s->anchor = copy;
    s->anchor_ms = at_ms;
    s->has_anchor = true;
    return ES_OK;
}

/* Decides whether the shot's picture shows something new; where it doesn't, drops the picture. */
static es_status judge(es_sampler *s, es_shot *shot, es_error *err)
{
    es_content_hash(&shot->image, shot->content);
    shot->perceptual = es_perceptual_hash(&shot->image);
    if (s->options.threshold >= 0) {
        const known *equal = s->seen_room > 0 ? find_seen(s, shot->content) : NULL;
        es_difference difference = {.changed = true};
        if (equal != NULL && equal->content[0] != '\0') {
            shot->same = true;
            shot->same_as_ms = equal->at_ms;
        } else if (s->has_anchor) {
            ES_TRY(es_compare_images(&s->anchor, &shot->image, s->options.threshold, &difference, err));
            shot->same = !difference.changed;
            shot->same_as_ms = s->anchor_ms;
        }
    }
    if (shot->same) {
        es_image_free(&shot->image);
        return ES_OK;
    }
    if (s->options.thumbnails)
        ES_TRY(es_thumbnail_make(&shot->image, &shot->jpeg, &shot->jpeg_size, err));
    if (s->options.threshold < 0)
        return ES_OK;
    ES_TRY(remember(s, shot->content, shot->at_ms, err));
    return keep_anchor(s, &shot->image, shot->at_ms, err);
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

static es_status emit_frame(es_sampler *s, double seconds, es_error *err)
{
    es_shot shot = {.at_ms = (int64_t)llround(seconds * 1000)};
    if (is_dropped(s, seconds, NULL))
        return ES_OK;
    if (s->same_frame && s->options.threshold >= 0) {
        shot = s->shown;
        shot.at_ms = (int64_t)llround(seconds * 1000);
        shot.same_as_ms = shot.same ? shot.same_as_ms : s->shown.at_ms;
        shot.same = true;
        return push(s, &shot, err);
    }
    es_status status = es_video_image(s->video, &shot.image, err);
    if (status == ES_OK)
        status = judge(s, &shot, err);
    if (status != ES_OK) {
        es_shot_free(&shot);
        return status;
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

/* The samples from one beat of the interval up to the next. */
static es_status sample_beat(es_sampler *s, size_t beat, double interval, bool *there, es_error *err)
{
    uint8_t thumb[ES_THUMB_WIDTH * ES_THUMB_HEIGHT];
    size_t parts = s->options.scene > 0 ? PARTS : 1;
    for (size_t part = 0; part < parts; part++) {
        double seconds = ((double)beat + (double)part / PARTS) * interval;
        bool same;
        ES_TRY(es_video_seek(s->video, seconds, there, &same, err));
        if (!*there)
            return ES_OK;
        s->same_frame = s->same_frame && same;
        if (part > 0 && s->same_frame)
            continue;
        if (s->options.scene > 0)
            ES_TRY(es_video_thumbnail(s->video, thumb, err));
        if (part > 0 && !is_scene(s->thumb, thumb, s->options.scene))
            continue;
        memcpy(s->thumb, thumb, s->options.scene > 0 ? sizeof thumb : 0);
        ES_TRY(emit_frame(s, seconds, err));
        if (part > 0)
            return ES_OK; /* one in between is enough */
    }
    return ES_OK;
}

static es_status sample_video(es_sampler *s, es_error *err)
{
    double interval = s->options.interval > 0 ? s->options.interval : INTERVAL;
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

/* One picture. *later: it may still be being written. */
static es_status emit_file(es_sampler *s, const es_shot_file *file, double seconds, bool *later, es_error *err)
{
    es_shot shot = {.at_ms = (int64_t)llround(seconds * 1000)};
    *later = false;
    if (is_dropped(s, seconds, file->path))
        return ES_OK;
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

static void expect(es_sampler *s, size_t expected, double seconds)
{
    pthread_mutex_lock(&s->lock);
    s->info.expected = expected;
    s->info.seconds = seconds;
    pthread_mutex_unlock(&s->lock);
}

/* The pictures after *last, in order; *last becomes the time of the last one taken. */
static es_status sample_files(es_sampler *s, double *last, bool *any, es_error *err)
{
    double step = s->options.interval * 0.95; /* recorders are not exact */
    double from = (double)s->options.from_ms / 1000;
    expect(s, s->files.count, s->files.count > 0 ? s->files.items[s->files.count - 1].at - s->files.zero : 0);
    for (size_t i = 0; i < s->files.count && !is_stopped(s); i++) {
        double seconds = s->files.items[i].at - s->files.zero;
        bool later;
        if (*any && (seconds <= *last || seconds < *last + step))
            continue;
        if (seconds < from)
            continue;
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
        double zero = s->files.zero;
        bool keep_zero = s->files.count > 0;
        es_shots_free(&s->files);
        ES_TRY(es_shots_list(&s->files, s->path, s->options.seconds_of, err));
        s->files.zero = keep_zero ? zero : s->files.zero;
        if (!more) /* told to finish: what came meanwhile is taken, unfinished pictures too */
            return sample_files(s, &last, &any, err);
    }
}

/* --- the thread --- */

static void *run(void *context)
{
    es_sampler *s = context;
    es_error err = {0};
    es_status status = s->video != NULL ? sample_video(s, &err) : sample_directory(s, &err);
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
    double interval = s->options.interval > 0 ? s->options.interval : INTERVAL;
    s->info =
        (es_sampler_info){.seconds = info.seconds, .kind = info.codec, .width = info.width, .height = info.height};
    s->info.expected = (size_t)fmin(ceil(info.seconds / interval), ES_MOMENTS_MAX);
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
    es_image_free(&s->anchor);
    free(s->seen);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}
