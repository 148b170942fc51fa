#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* Opens a regular file for reading and tells its size. */
static es_status open_regular(const char *path, int *fd, size_t *size, es_error *err)
{
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to hang on a FIFO before we know what it is */
    if (*fd < 0)
        return es_fail(err, ES_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 0) {
        close(*fd);
        return es_fail(err, ES_ERR_IO, "cannot read %s: not a regular file", path);
    }
    *size = (size_t)st.st_size;
    return ES_OK;
}

es_status es_map_open(es_map *map, const char *path, es_error *err)
{
    int fd;
    *map = (es_map){0};
    size_t size;
    ES_TRY(open_regular(path, &fd, &size, err));
    if (size > 0) {
        void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
        int saved = errno;
        close(fd);
        if (data == MAP_FAILED)
            return es_fail(err, ES_ERR_IO, "cannot map %s: %s", path, strerror(saved));
        map->data = data;
        map->size = size;
    } else {
        close(fd);
    }
    return ES_OK;
}

void es_map_close(es_map *map)
{
    if (map->data != NULL)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (es_map){0};
}

void es_map_rest(const es_map *map)
{
    if (map->data != NULL)
        madvise((void *)(uintptr_t)map->data, map->size, MADV_DONTNEED); /* a wish */
}

es_status es_file_read_open(int fd, const char *name, size_t limit, char **data, size_t *size, es_error *err)
{
    struct stat about;
    *data = NULL;
    *size = 0;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
        return es_fail(err, ES_ERR_IO, "%s is not a regular file", name);
    size_t expect = (size_t)about.st_size, got = 0;
    if (expect > limit)
        return es_fail(err, ES_ERR_LIMIT, "%s has %zu bytes, more than the %zu allowed for it", name, expect, limit);
    char *buffer = malloc(expect + 1);
    if (buffer == NULL)
        return es_fail_memory(err, name, expect);
    while (got < expect) {
        ssize_t n = read(fd, buffer + got, expect - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    if (got != expect) {
        int saved = errno;
        free(buffer);
        return es_fail(err, ES_ERR_IO, "cannot read %s: %s", name, got == 0 ? strerror(saved) : "it shrank meanwhile");
    }
    buffer[got] = '\0';
    *data = buffer;
    *size = got;
    return ES_OK;
}

es_status es_file_read(const char *path, size_t limit, char **data, size_t *size, es_error *err)
{
    int fd;
    size_t expect;
    *data = NULL;
    *size = 0;
    ES_TRY(open_regular(path, &fd, &expect, err));
    es_status status = es_file_read_open(fd, path, limit, data, size, err);
    close(fd);
    return status;
}

static es_status write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ES_ERR_IO;
        data += n;
        size -= (size_t)n;
    }
    return ES_OK;
}

static es_status sync_file(int fd)
{
    return fsync(fd) == 0 || errno == EINVAL ? ES_OK : ES_ERR_IO; /* EINVAL: no file, nothing to sync */
}

/* Into what is there already and is no file: a terminal, a pipe, /dev/null. It must not be replaced by a file. */
static es_status write_into(const char *path, const void *data, size_t size, es_error *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    es_status status = fd < 0 ? ES_ERR_IO : write_all(fd, data, size);
    if (status == ES_OK)
        status = sync_file(fd);
    int saved = errno;
    if (fd >= 0)
        close(fd);
    return status == ES_OK ? ES_OK : es_fail(err, ES_ERR_IO, "cannot write %s: %s", path, strerror(saved));
}

void es_new_file_begin(es_new_file *file, const char *path)
{
    size_t length = strlen(path) + 16;
    *file = (es_new_file){.fd = -1, .path = es_strdup(path), .temp = malloc(length)};
    if (file->path == NULL || file->temp == NULL) {
        file->failure = ENOMEM;
        return;
    }
    snprintf(file->temp, length, "%s.XXXXXX", path);
    file->fd = mkstemp(file->temp);
    if (file->fd < 0)
        file->failure = errno;
}

void es_new_file_add(es_new_file *file, const void *data, size_t size)
{
    if (file->failure == 0 && write_all(file->fd, data, size) != ES_OK)
        file->failure = errno;
}

es_status es_new_file_end(es_new_file *file, unsigned mode, bool sync, es_error *err)
{
    if (file->failure == 0 && sync && sync_file(file->fd) != ES_OK)
        file->failure = errno;
    if (file->failure == 0 && fchmod(file->fd, (mode_t)mode) != 0)
        file->failure = errno;
    if (file->fd >= 0 && close(file->fd) != 0 && file->failure == 0)
        file->failure = errno;
    if (file->failure == 0 && rename(file->temp, file->path) != 0)
        file->failure = errno;
    es_status status = ES_OK;
    if (file->failure != 0) {
        if (file->fd >= 0)
            unlink(file->temp);
        status = file->failure == ENOMEM
                     ? es_fail_memory(err, "a file's name", 0)
                     : es_fail(err, ES_ERR_IO, "cannot write %s: %s", file->path, strerror(file->failure));
    }
    free(file->path);
    free(file->temp);
    *file = (es_new_file){.fd = -1};
    return status;
}

es_status es_file_write(const char *path, const void *data, size_t size, unsigned mode, es_error *err)
{
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode))
        return write_into(path, data, size, err);
    es_new_file file;
    es_new_file_begin(&file, path);
    es_new_file_add(&file, data, size);
    return es_new_file_end(&file, mode, true, err);
}

bool es_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool es_dir_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

es_status es_mkdirs(const char *path, es_error *err)
{
    char *copy = es_strdup(path);
    if (copy == NULL)
        return es_fail_memory(err, path, 0);
    es_status status = ES_OK;
    for (char *p = copy + 1; status == ES_OK && copy[0] != '\0'; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char keep = *p;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && !es_dir_exists(copy))
            status = es_fail(err, ES_ERR_IO, "cannot make directory %s: %s", copy, strerror(errno));
        *p = keep;
        if (keep == '\0')
            break;
    }
    free(copy);
    return status;
}

es_status es_mkdirs_above(const char *path, es_error *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return ES_OK; /* it exists */
    char *folder = es_strndup(path, (size_t)(slash - path));
    if (folder == NULL)
        return es_fail_memory(err, path, 0);
    es_status status = es_mkdirs(folder, err);
    free(folder);
    return status;
}

char *es_path_join(const char *dir, const char *name)
{
    size_t n = strlen(dir), m = strlen(name);
    char *path = malloc(n + m + 2);
    if (path == NULL)
        return NULL;
    memcpy(path, dir, n);
    if (n > 0 && dir[n - 1] != '/')
        path[n++] = '/';
    memcpy(path + n, name, m + 1);
    return path;
}

es_status es_names_add(es_names *names, const char *name, es_error *err)
{
    void *items = names->items;
    if (es_grow(&items, &names->capacity, names->count + 1, sizeof *names->items) != 0)
        return es_fail_memory(err, "a list of names", 0);
    names->items = items;
    char *copy = es_strdup(name);
    if (copy == NULL)
        return es_fail_memory(err, "a name", 0);
    names->items[names->count++] = copy;
    return ES_OK;
}

void es_names_free(es_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    *names = (es_names){0};
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

es_status es_dir_list(const char *path, es_names *names, es_error *err)
{
    *names = (es_names){0};
    DIR *dir = opendir(path);
    if (dir == NULL)
        return es_fail(err, ES_ERR_IO, "cannot list %s: %s", path, strerror(errno));
    es_status status = ES_OK;
    for (struct dirent *entry; status == ES_OK && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = es_names_add(names, entry->d_name, err);
    }
    closedir(dir);
    if (status != ES_OK)
        es_names_free(names);
    else if (names->count > 1)
        qsort(names->items, names->count, sizeof *names->items, by_bytes);
    return status;
}
