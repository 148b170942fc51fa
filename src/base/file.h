/* file.h - files as escriba uses them: mapped read-only, read whole within a bound, or written all or nothing. */
#ifndef ES_BASE_FILE_H
#define ES_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct es_map {
    const uint8_t *data; /* NULL for an empty file */
    size_t size;         /* bytes */
} es_map;

/* Maps a regular file read-only and shared. Errors: ES_ERR_IO (missing, a directory, no permission). */
es_status es_map_open(es_map *map, const char *path, es_error *err);
void es_map_close(es_map *map);
/* What was read of it need not stay in memory; it is read from the file again when it is wanted. */
void es_map_rest(const es_map *map);

/* Reads a whole file of at most `limit` bytes; *data gets size bytes and a NUL after them, free with free. */
es_status es_file_read(const char *path, size_t limit, char **data, size_t *size, es_error *err);

/* The same for a file that is open; `name` is used in errors, fd stays the caller's. */
es_status es_file_read_open(int fd, const char *name, size_t limit, char **data, size_t *size, es_error *err);

/* A file on its way: written beside its final name, then put there whole. */
typedef struct es_new_file {
    int fd;
    char *path, *temp; /* owned; both begin alike, temp ends in "." and six letters or digits */
    int failure;       /* errno of the first failure; 0: none yet */
} es_new_file;

/* Begins a file that only its owner may read. A failure here and in es_new_file_add shows at the end. */
void es_new_file_begin(es_new_file *file, const char *path);
void es_new_file_add(es_new_file *file, const void *data, size_t size);
/* Gives the file its mode and its name; `sync`: after it is on the disk. After any failure nothing is left behind and
 * what bore the name before is untouched. */
es_status es_new_file_end(es_new_file *file, unsigned mode, bool sync, es_error *err);

/* Writes bytes to path through a temporary file beside it, fsync and rename: the old file or the new one, whole.
 * What is there and no file (a pipe, a device) is written into. */
es_status es_file_write(const char *path, const void *data, size_t size, unsigned mode, es_error *err);

bool es_file_exists(const char *path);
bool es_dir_exists(const char *path);

/* mkdir -p; existing directories are fine. */
es_status es_mkdirs(const char *path, es_error *err);
/* The same for the folder that holds `path`. */
es_status es_mkdirs_above(const char *path, es_error *err);

/* "dir/name" newly allocated, or NULL when memory is short. */
char *es_path_join(const char *dir, const char *name);

/* The entries of a directory (without . and ..), sorted by bytes; free with es_names_free. */
typedef struct es_names {
    char **items;
    size_t count;
    size_t capacity;
} es_names;
es_status es_dir_list(const char *path, es_names *names, es_error *err);
es_status es_names_add(es_names *names, const char *name, es_error *err);
void es_names_free(es_names *names);

#endif
