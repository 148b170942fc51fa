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

/* Writes bytes to path through a temporary file beside it, fsync and rename: the old file or the new one, whole.
 * What is there and no file (a pipe, a device) is written into. */
es_status es_file_write(const char *path, const void *data, size_t size, unsigned mode, es_error *err);

bool es_file_exists(const char *path);
bool es_dir_exists(const char *path);

/* mkdir -p; existing directories are fine. */
es_status es_mkdirs(const char *path, es_error *err);

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
