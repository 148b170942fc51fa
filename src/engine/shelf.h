/* shelf.h - the vision cache on the disk: what the tower made of pictures, a file each, in one folder.
 *
 * Reading and writing is a thread's of its own, so nobody who is being answered waits for a disk. A file is written
 * whole or not at all and never trusted: one that is damaged or was made from something else is removed and as good as
 * absent. Several processes may share a folder. Embeddings tell of what the screen showed: folder and files are their
 * owner's alone. One thread at a time calls a shelf.
 */
#ifndef ES_ENGINE_SHELF_H
#define ES_ENGINE_SHELF_H

#include "base/hash.h"
#include "base/sha.h"
#include "model/model.h"

typedef struct es_shelf es_shelf;
typedef struct es_wanted es_wanted; /* a picture asked for */

typedef struct es_shelf_options {
    const char *dir;      /* made when it is not there */
    int64_t limit;        /* bytes of files; the least recently used go */
    const char *identity; /* of what makes the embeddings, ES_SHA256_HEX digits; files of another are left alone */
    int64_t dim;          /* of embeddings */
    int32_t levels;       /* of DeepStack */
} es_shelf_options;

/* Errors: ES_ERR_IO: the folder cannot be used, and what to do. */
es_status es_shelf_open(es_shelf **shelf, const es_shelf_options *options, es_error *err);
/* Finishes what is to be written. Nothing may be wanted any more. NULL is fine. */
void es_shelf_close(es_shelf *shelf);
/* What pictures' hashes must begin with: drawn for each folder, so that strangers cannot prepare equal ones. */
es_hash es_shelf_key(const es_shelf *shelf);

typedef enum es_wanted_state { ES_WANTED_COMING, ES_WANTED_FOUND, ES_WANTED_ABSENT } es_wanted_state;
/* Asks for a picture of so many tokens; NULL without memory: as good as absent. End it with one of the next two. */
es_wanted *es_shelf_want(es_shelf *shelf, es_hash hash, int32_t grid_h, int32_t grid_w);
/* Hands what was found over to the caller (es_vision_output_free). */
void es_shelf_take(es_shelf *shelf, es_wanted *wanted, es_vision_output *output);
void es_shelf_forget(es_shelf *shelf, es_wanted *wanted);
es_wanted_state es_shelf_state(const es_wanted *wanted); /* takes no lock */
/* Waits until something is decided since the last time, or nothing is coming; at most so many seconds. */
void es_shelf_wait(es_shelf *shelf, double seconds);

/* Has a picture written. `output` must stay as it is until es_shelf_kept returns `tag`. False: it is not taken, because
 * too much waits already, or writing has failed before. */
bool es_shelf_keep(es_shelf *shelf, es_hash hash, const es_vision_output *output, void *tag);
/* The tag of a picture that the shelf is done with, *written or not (it may have been there); NULL: none. Takes no lock
 * unless there is one. */
void *es_shelf_kept(es_shelf *shelf, bool *written);
/* Whether writing failed since the last call; *why tells, once in a shelf's life. Takes no lock unless it did. */
bool es_shelf_failed(es_shelf *shelf, es_error *why);

typedef struct es_shelf_size {
    size_t files;
    int64_t bytes;
} es_shelf_size;
/* What lies in a folder, of all models. */
void es_shelf_measure(const char *dir, es_shelf_size *size);

#endif
