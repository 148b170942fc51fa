/* store.h - what was seen, kept: one SQLite file that survives kill -9 and is shared by processes. docs/session.md has
 * the tables.
 *
 * A store is used by one thread at a time; each process (and thread) opens its own. Every call either does all of what
 * it says or nothing. A callback must not call the function it is called from. Errors: ES_ERR_IO (disk full, no
 * permission, locked for too long), ES_ERR_FORMAT (damaged, or not a store), ES_ERR_UNSUPPORTED (of a newer escriba),
 * ES_ERR_MEMORY. */
#ifndef ES_SESSION_STORE_H
#define ES_SESSION_STORE_H

#include <stdint.h>

#include "base/str.h"
#include "session/moment.h"
#include "session/segments.h"

typedef struct es_store es_store;

/* Opens, or makes with mode 0600, the store at path; its directory must exist. */
es_status es_store_open(es_store **store, const char *path, es_error *err);
void es_store_close(es_store *store); /* NULL is fine */
/* How long a call waits for another process to let go of the store: 10,000 unless told. */
void es_store_patience(es_store *store, int milliseconds);
/* Reads everything and says whether it is whole: slow, for doctors. */
es_status es_store_check(es_store *store, es_error *err);

typedef struct es_recording {
    int64_t id;       /* out */
    const char *path; /* the file or directory */
    int64_t size;     /* bytes and time of change tell whether it is still the same one */
    int64_t mtime_ns;
    double seconds; /* 0: unknown */
} es_recording;

/* The id of the recording, added when it is new. */
es_status es_store_recording(es_store *store, es_recording *recording, es_error *err);
es_status es_store_set_length(es_store *store, int64_t recording, double seconds, es_error *err);
/* Who answers and how; what the answer depends on belongs into settings. */
es_status es_store_method(es_store *store, const char *model, const char *prompt, const char *settings, int64_t *id,
                          es_error *err);
/* A directory grows, and loses its oldest pictures: its times count from the earliest one it ever had. *zero is the
 * earliest one now, by any clock, or INFINITY for none; out: what times count from. Where that is earlier than before,
 * the frames there are move. */
es_status es_store_set_zero(es_store *store, int64_t recording, double *zero, es_error *err);

typedef struct es_sample {
    int64_t recording, at_ms;
    const char *content_hash; /* NULL: unknown */
    uint64_t perceptual_hash;
    int64_t source; /* of a picture file (sampler.h); 0: a video's */
    bool filled;    /* taken because the activity changed around it, not by the interval */
} es_sample;
/* The frame of a recording at that time, added when it is new. Where a picture file has other content now, the old
 * frame and all that was seen in it goes. */
es_status es_store_frame(es_store *store, const es_sample *sample, int64_t *id, es_error *err);
/* An observed frame of the recording with that content; 0: none. */
es_status es_store_find_content(es_store *store, int64_t recording, int64_t method, const char *content_hash,
                                int64_t *frame, es_error *err);

typedef enum es_claim {
    ES_CLAIM_MINE,  /* do it: nobody else will for `seconds` */
    ES_CLAIM_TAKEN, /* another process is at it */
    ES_CLAIM_DONE,  /* there is an observation already */
} es_claim;
/* How many frames of a recording other processes are at; 0 too when one of them left a frame to us. */
es_status es_store_others(es_store *store, int64_t recording, int64_t method, size_t *taken, es_error *err);
/* Asks for the right to observe a frame. A dead process's claim, and one whose time is up, is passed on. */
es_status es_store_claim(es_store *store, int64_t frame, int64_t method, double seconds, es_claim *claim,
                         es_error *err);

typedef struct es_stored {
    int64_t frame, method;
    es_moment moment; /* `at` is ignored on writing: it is the frame's */
    const char *raw_text;
    int64_t reused_from; /* the frame it was taken over from; 0: none */
    int64_t source;      /* out: the frame's, as is `filled` */
    bool filled;
} es_stored;
/* Keeps an observation and ends the claim on its frame. *added is false, and nothing is changed, when there was one. */
es_status es_store_put(es_store *store, const es_stored *stored, bool *added, es_error *err);

/* The same for a frame that shows nothing new: takes over the observation of frame `from`. ES_ERR_ARGUMENT when there
 * is none. */
es_status es_store_reuse(es_store *store, int64_t frame, int64_t method, int64_t from, bool *added, es_error *err);

/* A small JPEG of a frame, for pages; a second one of the same frame is passed over. Reading gives NULL and 0 when
 * there is none; free with free. */
es_status es_store_put_thumbnail(es_store *store, int64_t frame, const void *jpeg, size_t size, es_error *err);
es_status es_store_thumbnail(es_store *store, int64_t frame, uint8_t **jpeg, size_t *size, es_error *err);

/* The first sample by the interval that the method has not observed; -1: there is none. */
es_status es_store_first_open(es_store *store, int64_t recording, int64_t method, int64_t *at_ms, es_error *err);

/* Calls back for each observation of a recording in time order, method 0: of all methods; strings live during the
 * call. Return false to stop. */
typedef bool (*es_stored_fn)(void *context, const es_stored *stored);
es_status es_store_each(es_store *store, int64_t recording, int64_t method, es_stored_fn fn, void *context,
                        es_error *err);

/* Calls back for each frame of a recording, observed or not. Return false to stop. */
typedef bool (*es_frame_fn)(void *context, int64_t frame, int64_t at_ms);
es_status es_store_each_frame(es_store *store, int64_t recording, es_frame_fn fn, void *context, es_error *err);
/* Drops frames and all that was seen in them, and the texts made from the recording; words of theirs are not left in
 * the file. */
es_status es_store_forget_frames(es_store *store, int64_t recording, const int64_t *frames, size_t count,
                                 es_error *err);
/* Drops what a method saw in a recording, to see it anew. */
es_status es_store_drop(es_store *store, int64_t recording, int64_t method, es_error *err);
/* The method that observed a recording last, and the model it names (free with free); 0 and NULL when none did. */
es_status es_store_last_method(es_store *store, int64_t recording, int64_t *method, char **model, es_error *err);

/* Observations that hold all the words of text, the last one as a beginning; best first. recording 0: all. */
typedef struct es_hit {
    int64_t recording;
    const char *path;
    es_stored stored;
} es_hit;
typedef bool (*es_hit_fn)(void *context, const es_hit *hit);
es_status es_store_search(es_store *store, const char *text, int64_t recording, int64_t limit, es_hit_fn fn,
                          void *context, es_error *err);

/* Replaces the blocks of a recording by a method's, all at once. */
es_status es_store_put_outline(es_store *store, int64_t recording, int64_t method, const es_outline *outline,
                               es_error *err);
/* A text made from them ("card", "narrative"...). Reading gives NULL when there is none; free with free. */
es_status es_store_put_summary(es_store *store, int64_t recording, int64_t method, const char *form, const char *writer,
                               const char *text, es_error *err);
es_status es_store_summary(es_store *store, int64_t recording, int64_t method, const char *form, char **text,
                           es_error *err);

typedef struct es_listed {
    es_recording recording;
    int64_t frames, observations, blocks;
} es_listed;
/* Recordings, the one added last first. */
typedef bool (*es_listed_fn)(void *context, const es_listed *listed);
es_status es_store_list(es_store *store, es_listed_fn fn, void *context, es_error *err);
/* Drops a recording and all that hangs on it; the freed pages are overwritten with zeros. */
es_status es_store_forget(es_store *store, int64_t recording, es_error *err);

#endif
