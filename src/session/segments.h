/* segments.h - observations to topic blocks and subjects, without a language model. The method is in docs/session.md.
 *
 * Every moment is in exactly one block, blocks are in time order and don't overlap, and the times of the blocks add up
 * to `seconds`. The same moments give the same outline. */
#ifndef ES_SESSION_SEGMENTS_H
#define ES_SESSION_SEGMENTS_H

#include "base/status.h"
#include "session/moment.h"

#define ES_BLOCK_WORDS 5      /* apps and topics a block is labelled with, at most */
#define ES_SUBJECTS_MAX 6     /* work subjects; personal time is one more */
#define ES_MOMENTS_MAX 200000 /* in one session: 23 days at 10 s */

typedef struct es_segment_options {
    double interval;      /* seconds between samples; 0: the median step, 10 for a single moment */
    double gap_tolerance; /* a later next sample than interval + this is a pause; 5 */
    double min_length;    /* of a block, unless pauses leave no choice; 30 */
    double length;        /* of the recording, where known: nothing lasts beyond it; 0: unknown */
} es_segment_options;
void es_segment_options_init(es_segment_options *options);

typedef struct es_block {
    size_t first, count;                /* moments */
    double start, end;                  /* seconds; a pause within the recording belongs to no block */
    const char *activity;               /* one of es_activities, static */
    const char *apps[ES_BLOCK_WORDS];   /* by time, most first; borrowed from the moments */
    const char *topics[ES_BLOCK_WORDS]; /* the same */
    size_t app_count, topic_count;
    bool personal;
    size_t subject; /* index into subjects */
} es_block;

typedef struct es_subject {
    char *name;     /* owned */
    double seconds; /* the sum of its blocks */
    size_t blocks;
    bool personal;
} es_subject;

typedef struct es_outline {
    es_block *blocks;
    size_t block_count;
    es_subject *subjects; /* most time first, the personal one last */
    size_t subject_count; /* 1 .. ES_SUBJECTS_MAX + 1, 0 only without moments */
    double seconds;
    double interval; /* as used */
} es_outline;

/* Moments must be in time order (equal times allowed): ES_ERR_ARGUMENT otherwise. The outline borrows their strings.
 * options NULL: the defaults. */
es_status es_outline_make(es_outline *outline, const es_moment *moments, size_t count,
                          const es_segment_options *options, es_error *err);
void es_outline_free(es_outline *outline);

/* How long each moment stands for: spans[i] seconds, and whether a pause follows it (breaks[i]; may be NULL). */
double es_moment_spans(const es_moment *moments, size_t count, const es_segment_options *options, double *spans,
                       bool *breaks);

#endif
