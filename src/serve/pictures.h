/* pictures.h - pictures as clients send them: base64, data URIs, files below an allowed path. Decoded and brought to
 * the size the model will see them in, a few at a time, by the thread that reads the request. */
#ifndef ES_SERVE_PICTURES_H
#define ES_SERVE_PICTURES_H

#include <pthread.h>
#include <stdbool.h>

#include "model/image.h"
#include "model/preprocess.h"
#include "serve/ticket.h"

#define ES_MAX_PICTURES 64 /* of one request */

typedef struct es_picture_door {
    int64_t max_pixels;   /* of what the model sees; 0: the model's own */
    char *const *allowed; /* directories, links resolved; files below them may be named */
    size_t allowed_count;
    bool any_file; /* the bridge: whoever may connect may read what this user may */
    pthread_mutex_t
        lock; /* guards what follows: so many are decoded at once, since a small file may hold a huge picture */
    pthread_cond_t free;
    int busy;
    int64_t refused_files, refused_pictures; /* paths that are not let through; pictures too large, damaged or none */
} es_picture_door;

void es_picture_door_open(es_picture_door *door);
void es_picture_door_close(es_picture_door *door);
void es_picture_door_counts(es_picture_door *door, int64_t *files, int64_t *pictures);

/* How the pictures of a model are to be sized: its own rules with the door's cap. */
es_status es_picture_rules(const es_picture_door *door, const char *dir, es_preprocess *rules, es_error *err);
/* Adds a picture given as base64, a data URI, a file URI or a path (the last two as far as the door allows). `name` is
 * used in errors. */
es_status es_picture_add(es_picture_door *door, const es_preprocess *rules, const char *given, const char *name,
                         es_ticket *ticket, es_error *err);

/* Decodes base64 (also URL-safe, line breaks skipped, padding optional) in place of *n bytes; *bytes is freed by the
 * caller. Exposed for tests. */
es_status es_base64_decode(const char *text, size_t n, unsigned char **bytes, size_t *size, es_error *err);

#endif
