#include "serve/pictures.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define AT_ONCE 2                   /* pictures being decoded */
#define MOST_PIXELS (7680LL * 4320) /* as sent: a screen of 8K */
#define MOST_FILE ((size_t)64 << 20)

void es_picture_door_open(es_picture_door *door)
{
    pthread_mutex_init(&door->lock, NULL);
    pthread_cond_init(&door->free, NULL);
}

void es_picture_door_close(es_picture_door *door)
{
    pthread_cond_destroy(&door->free);
    pthread_mutex_destroy(&door->lock);
}

void es_picture_door_counts(es_picture_door *door, int64_t *files, int64_t *pictures)
{
    pthread_mutex_lock(&door->lock);
    *files = door->refused_files;
    *pictures = door->refused_pictures;
    pthread_mutex_unlock(&door->lock);
}

/* Whether a picture is given by its place, not by its content. "/9j/" begins every JPEG in base64. */
static bool is_place(const es_picture_door *door, const char *given)
{
    return strncasecmp(given, "file:", 5) == 0 ||
           (strncasecmp(given, "data:", 5) != 0 &&
            (door->any_file || (given[0] == '/' && strlen(given) < PATH_MAX && door->allowed_count > 0 &&
                                strncmp(given, "/9j/", 4) != 0)));
}

es_status es_picture_rules(const es_picture_door *door, const char *dir, es_preprocess *rules, es_error *err)
{
    ES_TRY(es_preprocess_open(rules, dir, err));
    if (door->max_pixels > 0 && door->max_pixels < rules->max_pixels)
        rules->max_pixels = door->max_pixels;
    if (rules->min_pixels > rules->max_pixels)
        rules->min_pixels = rules->max_pixels;
    return ES_OK;
}

static int digit(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

es_status es_base64_decode(const char *text, size_t n, unsigned char **bytes, size_t *size, es_error *err)
{
    unsigned char *out = es_calloc(n / 4 * 3 + 4, 1);
    unsigned bits = 0;
    size_t count = 0; /* digits */
    bool ended = false;
    *bytes = NULL;
    *size = 0;
    if (out == NULL)
        return es_fail_memory(err, "a picture", n);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n' || c == '\r' || c == ' ')
            continue;
        int d = digit(c);
        if (c == '=') {
            ended = true;
            continue;
        }
        if (d < 0 || ended) {
            free(out);
            return es_fail(err, ES_ERR_FORMAT, "not base64 at byte %zu", i);
        }
        bits = (bits << 6 | (unsigned)d) & 0xFFFFFF;
        if (++count % 4 != 1) /* each digit but the first of four completes a byte */
            out[(*size)++] = (unsigned char)(bits >> (2 * (3 - (count + 3) % 4)));
    }
    if (count % 4 == 1) {
        free(out);
        return es_fail(err, ES_ERR_FORMAT, "base64 that ends in the middle of a byte");
    }
    *bytes = out;
    return ES_OK;
}

/* Opens `rest`, "a/b/c", below a directory without following any link: what was resolved a moment ago may be another by
 * now. -1: it cannot be done. */
static int open_below(const char *directory, const char *rest)
{
    int at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (char name[NAME_MAX + 1]; at >= 0; rest += strspn(rest, "/")) {
        size_t n = strcspn(rest, "/");
        bool last = rest[n] == '\0';
        int next = -1;
        if (n > 0 && n < sizeof name) {
            memcpy(name, rest, n);
            name[n] = '\0';
            next = openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (last ? O_NONBLOCK : O_DIRECTORY));
        }
        close(at);
        at = next;
        rest += n;
        if (last)
            break;
    }
    return at;
}

/* Reads a file below an allowed directory. A path that may not be read and one that isn't there are told alike: nobody
 * learns which files exist. */
static es_status read_allowed(const es_picture_door *door, const char *path, unsigned char **bytes, size_t *size,
                              es_error *err)
{
    char real[PATH_MAX];
    int fd = -1;
    if (realpath(path, real) == NULL)
        return es_fail(err, ES_ERR_ARGUMENT, "no such picture below an allowed path");
    for (size_t i = 0; i < door->allowed_count && fd < 0; i++) {
        const char *allowed = door->allowed[i];
        size_t n = strlen(allowed);
        n -= n > 0 && allowed[n - 1] == '/';
        if (strncmp(real, allowed, n) == 0 && real[n] == '/')
            fd = open_below(allowed, real + n + 1);
    }
    if (fd < 0)
        return es_fail(err, ES_ERR_ARGUMENT, "no such picture below an allowed path");
    es_status status = es_file_read_open(fd, "the picture", MOST_FILE, (char **)bytes, size, err);
    close(fd);
    return status;
}

/* Reads a file that the door lets through. */
static es_status read_file(const es_picture_door *door, const char *path, unsigned char **bytes, size_t *size,
                           es_error *err)
{
    if (door->any_file)
        return es_file_read(path, MOST_FILE, (char **)bytes, size, err);
    if (door->allowed_count == 0)
        return es_fail(err, ES_ERR_ARGUMENT,
                       "files are not read here: send the picture as a data URI, or start the "
                       "server with --allow-path");
    return read_allowed(door, path, bytes, size, err);
}

/* "%20" in a file URI. */
static char *percent_decoded(const char *text)
{
    char *out = es_strdup(text), *to = out;
    if (out == NULL)
        return NULL;
    for (const char *s = text; *s != '\0'; s++) {
        unsigned value;
        if (*s == '%' && s[1] != '\0' && s[2] != '\0' && strchr("0123456789abcdefABCDEF", s[1]) != NULL &&
            strchr("0123456789abcdefABCDEF", s[2]) != NULL && sscanf(s + 1, "%2x", &value) == 1 && value != 0) {
            *to++ = (char)value;
            s += 2;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
    return out;
}

static es_status fetch(const es_picture_door *door, const char *given, unsigned char **bytes, size_t *size,
                       es_error *err)
{
    if (strncasecmp(given, "data:", 5) == 0) {
        const char *comma = strchr(given, ',');
        if (comma == NULL || comma - given < 7 || strncasecmp(comma - 7, ";base64", 7) != 0)
            return es_fail(err, ES_ERR_FORMAT, "a data URI without ';base64,'");
        return es_base64_decode(comma + 1, strlen(comma + 1), bytes, size, err);
    }
    if (strncasecmp(given, "http://", 7) == 0 || strncasecmp(given, "https://", 8) == 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, "pictures are not fetched from the network: send a data URI");
    if (strncasecmp(given, "file:", 5) == 0) {
        const char *rest = strncmp(given + 5, "//", 2) == 0 ? given + 7 : given + 5;
        rest = strncasecmp(rest, "localhost/", 10) == 0 ? rest + 9 : rest;
        char *path = percent_decoded(rest);
        es_status status = path != NULL ? read_file(door, path, bytes, size, err) : es_fail_memory(err, "a path", 0);
        free(path);
        return status;
    }
    if (is_place(door, given))
        return read_file(door, given, bytes, size, err);
    return es_base64_decode(given, strlen(given), bytes, size, err);
}

/* Decoded, and of the size the model will see. */
static es_status shape(const es_preprocess *rules, const unsigned char *bytes, size_t size, const char *name,
                       es_image *out, es_error *err)
{
    es_image image = {0};
    int32_t width, height;
    ES_TRY(es_image_decode_within(&image, bytes, size, MOST_PIXELS, name, err));
    es_status status = es_smart_resize(rules, image.width, image.height, &width, &height, err);
    if (status == ES_OK && (width != image.width || height != image.height)) {
        status = es_resize_bicubic(out, &image, width, height, err);
        es_image_free(&image);
        return status;
    }
    if (status != ES_OK)
        es_image_free(&image);
    *out = image;
    return status;
}

es_status es_picture_add(es_picture_door *door, const es_preprocess *rules, const char *given, const char *name,
                         es_ticket *ticket, es_error *err)
{
    unsigned char *bytes = NULL;
    size_t size = 0;
    es_image image = {0};
    if (ticket->image_count >= ES_MAX_PICTURES)
        return es_fail(err, ES_ERR_LIMIT, "more than %d pictures in one request", ES_MAX_PICTURES);
    es_status status = fetch(door, given, &bytes, &size, err);
    pthread_mutex_lock(&door->lock);
    if (status != ES_OK) {
        *(is_place(door, given) ? &door->refused_files : &door->refused_pictures) += 1;
        pthread_mutex_unlock(&door->lock);
        return es_wrap(err, status, "%s", name);
    }
    while (door->busy >= AT_ONCE)
        pthread_cond_wait(&door->free, &door->lock);
    door->busy++;
    pthread_mutex_unlock(&door->lock);
    status = shape(rules, bytes, size, name, &image, err);
    pthread_mutex_lock(&door->lock);
    door->busy--;
    door->refused_pictures += status != ES_OK;
    pthread_cond_signal(&door->free);
    pthread_mutex_unlock(&door->lock);
    free(bytes);
    if (status == ES_OK)
        status = es_ticket_picture(ticket, &image, err);
    es_image_free(&image);
    return status;
}
