/* sampler.h - the frames of a recording worth a look, found by a thread that runs ahead on a bounded queue.
 *
 * A recording is a video file or a directory of screenshots, which may still grow. A shot that shows nothing new
 * (same.h) comes without its picture and says which earlier one it equals. The thread holds about QUEUE_BYTES of
 * pictures ready, whatever the recording's length. */
#ifndef ES_SESSION_SAMPLER_H
#define ES_SESSION_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "model/image.h"
#include "session/same.h"

typedef struct es_sampler es_sampler;

/* What is known of a sample before it is looked at. */
typedef enum es_known {
    ES_KNOWN_NOT,
    ES_KNOWN_OWN, /* it was described; others may show the same */
    ES_KNOWN_SAME /* it took over what was said of another */
} es_known;

typedef struct es_sampler_options {
    double interval;       /* seconds between samples; 0: 10 of a video, every picture of a directory */
    double scene;          /* share of the screen that must change for a sample in between, 0: none; video only */
    double gap_threshold;  /* seconds; samples further apart get others in between; 0: one and a half intervals */
    double gap_fill;       /* seconds between those; 0: none */
    int threshold;         /* of same.h; negative: every sample is looked at */
    int64_t from_ms;       /* samples before are passed over */
    const double *moments; /* a video: samples at these seconds only, in order; NULL: by the interval. Borrowed. */
    size_t moment_count;
    double zero;     /* a directory: when its time begins, by the clock of its pictures; INFINITY: with the first one */
    bool follow;     /* a directory: wait for more pictures until told to stop */
    bool thumbnails; /* make them */
    int threads;     /* for decoding; 0: chosen */
    double (*seconds_of)(const char *path); /* a directory: what names say of the time, or -1 */
    /* Called on the sampler's thread before a frame is decoded: true drops it. NULL: none is. */
    bool (*drop)(void *context, double seconds, const char *path);
    void *context;
    /* Called on the sampler's thread: what is known of a sample. source: as in es_shot. NULL: nothing of any. */
    es_known (*known)(void *context, int64_t at_ms, int64_t source);
    void *known_context;
} es_sampler_options;
void es_sampler_options_init(es_sampler_options *options);
/* Seconds between the samples that fill a gap, 3 where those of the interval are 10 apart, unless given. */
double es_sampler_fill(const es_sampler_options *options);

typedef struct es_shot {
    int64_t at_ms;
    int64_t source; /* of a picture file: its size and time of change, mixed; 0: a video's */
    es_known known; /* if it is, there is no more in here */
    es_image image; /* empty when known, `same` or unreadable */
    char content[ES_CONTENT_HEX + 1];
    uint64_t perceptual;
    bool same;
    int64_t same_as_ms; /* of an earlier shot of this sampler that was not `same` */
    uint8_t *jpeg;      /* thumbnail; NULL: none */
    size_t jpeg_size;
    es_status status; /* not ES_OK: this picture could not be read */
    es_error error;
} es_shot;
void es_shot_free(es_shot *shot);

typedef struct es_sampler_info {
    size_t expected; /* samples, as far as is known now, those before from_ms too */
    size_t dropped;
    double seconds;        /* length; 0: unknown */
    bool truncated;        /* known at the end */
    const char *kind;      /* "h264" or "screenshots" */
    int32_t width, height; /* 0: unknown */
} es_sampler_info;

es_status es_sampler_open(es_sampler **sampler, const char *path, const es_sampler_options *options, es_error *err);
void es_sampler_close(es_sampler *sampler); /* NULL is fine; waits for the thread */
/* A followed directory: no more is waited for; what is there still comes. From any thread. */
void es_sampler_finish(es_sampler *sampler);
/* The next shot. *end: there are no more. wait false: *ready says whether one was there. */
es_status es_sampler_next(es_sampler *sampler, bool wait, es_shot *shot, bool *ready, bool *end, es_error *err);
void es_sampler_tell(es_sampler *sampler, es_sampler_info *info);

#endif
