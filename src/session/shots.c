#include "session/shots.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"

#define EPOCH_LEAST 1e9 /* 2001 to 2096: ten digits that are a time and no number of a picture */
#define EPOCH_MOST 4e9

static bool is_picture(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".webp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && name[0] != '.' && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

/* Days from 1970 to a date of the Gregorian calendar. */
static double days(int year, int month, int day)
{
    int y = month <= 2 ? year - 1 : year, m = (month + 9) % 12; /* March first: the leap day comes last */
    return 365.0 * y + floor(y / 4.0) - floor(y / 100.0) + floor(y / 400.0) + (m * 153 + 2) / 5 + day - 1 - 719468;
}

/* `n` digits at *at, which moves past them; -1 when there are fewer. */
static int digits(const char **at, int n)
{
    int value = 0;
    for (int i = 0; i < n; i++) {
        if (!isdigit((unsigned char)(*at)[i]))
            return -1;
        value = value * 10 + ((*at)[i] - '0');
    }
    *at += n;
    return value;
}

/* A date and a time of day from `at` on, with or without marks between their parts. */
static double read_stamp(const char *at)
{
    static const char between_date[] = "-._:/", between_time[] = "-._:hm";
    int value[6];
    for (int i = 0; i < 6; i++) {
        value[i] = digits(&at, i == 0 ? 4 : 2);
        if (value[i] < 0)
            return -1;
        if (i == 2) {
            at += strspn(at, " _-T.,");
            at += strncmp(at, "at ", 3) == 0 || strncmp(at, "um ", 3) == 0 ? 3 : 0;
        } else if (i < 5 && *at != '\0' && strchr(i < 2 ? between_date : between_time, *at) != NULL) {
            at++;
        }
    }
    bool sane = value[0] >= 1970 && value[1] >= 1 && value[1] <= 12 && value[2] >= 1 && value[2] <= 31 &&
                value[3] < 24 && value[4] < 60 && value[5] <= 60 && !isdigit((unsigned char)*at);
    if (!sane)
        return -1;
    double fraction = *at == '.' && isdigit((unsigned char)at[1]) ? strtod(at, NULL) : 0;
    return days(value[0], value[1], value[2]) * 86400 + value[3] * 3600 + value[4] * 60 + value[5] + fraction;
}

static double read_epoch(const char *at, size_t n)
{
    double value = n == 10 || n == 13 ? strtod(at, NULL) / (n == 13 ? 1000 : 1) : -1;
    return value >= EPOCH_LEAST && value <= EPOCH_MOST ? value : -1;
}

double es_stamp_seconds(const char *name)
{
    for (const char *at = name; *at != '\0';) {
        size_t n = strspn(at, "0123456789");
        if (n == 0) {
            at++;
            continue;
        }
        double seconds = read_stamp(at);
        if (seconds < 0)
            seconds = read_epoch(at, n);
        if (seconds >= 0)
            return seconds;
        at += n;
    }
    return -1;
}

static int compare_shots(const void *a, const void *b)
{
    const es_shot_file *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return strcmp(x->path, y->path);
}

static double changed_at(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return -1;
#ifdef __APPLE__
    return (double)st.st_mtimespec.tv_sec + (double)st.st_mtimespec.tv_nsec / 1e9;
#else
    return (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec / 1e9;
#endif
}

enum { BY_STAMPS, BY_SECONDS, BY_FILES };

/* Dates them all by one clock; those that have no time by it are left out. False when that would be half of them. */
static bool date(es_shot_files *shots, int by, double (*seconds_of)(const char *path))
{
    size_t dated = 0, kept = 0;
    for (size_t i = 0; i < shots->count; i++) {
        const char *path = shots->items[i].path, *slash = strrchr(path, '/');
        const char *name = slash != NULL ? slash + 1 : path;
        double at = by == BY_STAMPS ? es_stamp_seconds(name) : by == BY_SECONDS ? seconds_of(path) : changed_at(path);
        shots->items[i].at = at < 0 && by == BY_FILES ? 0 : at; /* gone meanwhile: its turn will tell */
        dated += shots->items[i].at >= 0;
    }
    if (by != BY_FILES && dated * 2 <= shots->count)
        return false;
    for (size_t i = 0; i < shots->count; i++) {
        if (shots->items[i].at >= 0)
            shots->items[kept++] = shots->items[i];
        else
            free(shots->items[i].path);
    }
    shots->undated = shots->count - kept;
    shots->count = kept;
    shots->clock = by == BY_FILES ? "files" : "names";
    return true;
}

es_status es_shots_list(es_shot_files *shots, const char *dir, double (*seconds_of)(const char *path), es_error *err)
{
    es_names names = {0};
    *shots = (es_shot_files){.clock = "names"};
    ES_TRY(es_dir_list(dir, &names, err));
    es_status status = ES_OK;
    for (size_t i = 0; i < names.count && status == ES_OK; i++) {
        void *items = shots->items;
        if (!is_picture(names.items[i]))
            continue;
        char *path = es_path_join(dir, names.items[i]);
        if (path == NULL || es_grow(&items, &shots->capacity, shots->count + 1, sizeof *shots->items) != 0) {
            free(path);
            status = es_fail_memory(err, "the list of screenshots", 0);
            break;
        }
        shots->items = items;
        shots->items[shots->count++] = (es_shot_file){path, 0};
    }
    es_names_free(&names);
    if (status != ES_OK) {
        es_shots_free(shots);
        return status;
    }
    int by = BY_STAMPS;
    while (shots->count > 0 && !date(shots, by, seconds_of))
        by++;
    if (shots->count > 0) {
        qsort(shots->items, shots->count, sizeof *shots->items, compare_shots);
        shots->zero = by == BY_SECONDS ? 0 : shots->items[0].at;
    }
    return ES_OK;
}

void es_shots_free(es_shot_files *shots)
{
    for (size_t i = 0; i < shots->count; i++)
        free(shots->items[i].path);
    free(shots->items);
    *shots = (es_shot_files){0};
}
