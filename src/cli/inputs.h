/* inputs.h - which frames to describe: files, folders, a list on stdin; and when in the recording each was taken. */
#ifndef ES_CLI_INPUTS_H
#define ES_CLI_INPUTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct es_input {
    char *path;
    char *key;        /* the path as clean UTF-8: what a result names it by */
    double timestamp; /* seconds; negative: unknown */
    size_t index;     /* place among all inputs of the command */
} es_input;

typedef struct es_inputs {
    es_input *items;
    size_t count, capacity;
} es_inputs;

/* A file; or the pictures of a directory in natural order (frame2 before frame10); or with "-" the paths on stdin, one
 * a line. A file need not exist: that is found when it is its turn. */
es_status es_inputs_add(es_inputs *inputs, const char *operand, es_error *err);
void es_inputs_free(es_inputs *inputs);

/* Timestamps: from `list` (comma-separated seconds, or a file with one number a line) when given, else each `interval`
 * seconds when positive, else from the names. */
es_status es_inputs_date(es_inputs *inputs, const char *list, double interval, es_error *err);

/* Seconds that a file's name tells (frame_0030s.png, shot_00-01-30.jpg, clip-1m30s.webp), or -1. */
double es_name_seconds(const char *path);
/* Compares with runs of digits taken as numbers. */
int es_natural_compare(const char *a, const char *b);

#endif
