/* shots.h - a directory of screenshots as a recording: which pictures, and when each was taken. */
#ifndef ES_SESSION_SHOTS_H
#define ES_SESSION_SHOTS_H

#include "base/status.h"

typedef struct es_shot_file {
    char *path;
    double at; /* seconds by the directory's clock: since 1970, or from the recording's start */
} es_shot_file;

typedef struct es_shot_files {
    es_shot_file *items; /* by time, then name */
    size_t count, capacity;
    double zero;       /* the first one's time: a shot's moment is its time less this */
    const char *clock; /* "names" or "files": what the times were read from; static */
    size_t undated;    /* pictures left out: most have a time in their names, they have none */
} es_shot_files;

/* seconds_of: what a name says of the time from the recording's start, or -1. Times are taken from the names where more
 * than half of them tell (a date and time, seconds since 1970, or what seconds_of knows), else from when the files were
 * last changed. An empty directory is no error. */
es_status es_shots_list(es_shot_files *shots, const char *dir, double (*seconds_of)(const char *path), es_error *err);
void es_shots_free(es_shot_files *shots);

/* Seconds since 1970 that a name tells, taken as UTC: 2026-11-23_10-15-30, "Screenshot 2026-11-23 at 10.15.30",
 * 20261123T101530, 1795429530, 1795429530123 (milliseconds); or -1. */
double es_stamp_seconds(const char *name);

#endif
