/* frame_walk.h - a list of frames as prompts, and answers as observations: what every adapter does alike.
 *
 * A walk hands out groups: one frame, or with ask->interleaved several labelled ones. The adapter gets each group
 * answered in whatever order and gives the answer back; the walk tells the listener, exactly once for each frame.
 * Frames that an answer left out come again, singly. Used by one thread.
 */
#ifndef ES_INTELLIGENCE_FRAME_WALK_H
#define ES_INTELLIGENCE_FRAME_WALK_H

#include "engine/engine.h"
#include "intelligence/intelligence.h"

/* What an adapter makes of a decoded picture: `size` bytes a picture, zeroed before. */
typedef struct es_picture_maker {
    void *context;
    size_t size;
    es_status (*make)(void *context, const es_image *image, void *picture, int32_t *tokens, es_error *err);
    void (*free)(void *picture);
} es_picture_maker;

/* One prompt under way. */
typedef struct es_frame_group {
    struct es_frame_group *previous, *next; /* all groups of a walk, so that a cancelled one can free them */
    size_t count;                           /* frames whose pictures could be read */
    size_t *frames;                         /* [count] their indices */
    double *seconds;                        /* [count] reading and preparing the picture */
    int32_t *tokens;                        /* [count] of the picture, as far as its maker knows */
    void *pictures;                         /* [count] of maker->size bytes */
    bool constrained;   /* asked before, without a record: the form of the answer is to be enforced */
    int32_t max_tokens; /* of the whole answer: each frame's own budget, added */
    es_message message; /* the user's turn: [label,] picture, ..., question */
    es_content *content;
    char **texts; /* owned texts that content points to */
    size_t text_count;
    struct es_kept_answer *kept; /* the answer that held no record */
} es_frame_group;

/* A frame to ask again. */
typedef struct es_frame_again {
    size_t frame;
    struct es_kept_answer *kept; /* NULL: it was left out of an interleaved answer */
} es_frame_again;

typedef struct es_frame_walk {
    const es_frame *frames;
    size_t count;
    const es_ask *ask;
    const es_listener *listener;
    es_picture_maker maker;
    bool repair;  /* an answer without a record is asked for once more, constrained */
    size_t at;    /* next frame of the list */
    size_t done;  /* observations given */
    bool stopped; /* the listener asked to stop */
    es_frame_again *again;
    size_t again_at, again_count, again_capacity;
    es_frame_group groups; /* list head */
} es_frame_walk;

void es_frame_walk_begin(es_frame_walk *walk, const es_frame *frames, size_t count, const es_ask *ask,
                         const es_listener *listener, const es_picture_maker *maker);
/* The next prompt, or NULL: nothing more for now (an answer still to come may bring frames again), or the listener
 * stopped. What cannot become a prompt is observed as a failure on the way. */
es_frame_group *es_frame_walk_next(es_frame_walk *walk);
/* Whether es_frame_walk_next has frames to look at. */
bool es_frame_walk_more(const es_frame_walk *walk);
/* The group's answer, well or not; only status, error, text, id_count, truncated, counts and seconds are read. Frees
 * the group. */
void es_frame_walk_answer(es_frame_walk *walk, es_frame_group *group, const es_answer *answer);
/* Frees all, groups without an answer too: their frames stay without observation. */
void es_frame_walk_end(es_frame_walk *walk);

#endif
