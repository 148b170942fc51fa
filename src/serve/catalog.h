/* catalog.h - which model a request's name means, and what is told about it. Immutable once opened: any thread may ask.
 */
#ifndef ES_SERVE_CATALOG_H
#define ES_SERVE_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct es_catalog {
    char *name; /* of the model that answers when a request names none */
    char *dir;
} es_catalog;

typedef struct es_catalog_entry {
    char *name, *dir;
    char precision[64];
    uint64_t size;    /* bytes on disk */
    int64_t modified; /* seconds since 1970 */
    char digest[65];  /* of what is told here: tells versions of a name apart */
} es_catalog_entry;

typedef struct es_catalog_entries {
    es_catalog_entry *items;
    size_t count, capacity;
} es_catalog_entries;

/* The usual model: `given` as the user said it, `dir` where it was found. */
es_status es_catalog_open(es_catalog *catalog, const char *given, const char *dir, es_error *err);
void es_catalog_close(es_catalog *catalog);

/* The model a client's name means: NULL or "" the usual one; its name; a name that `escriba models` lists, also without
 * its ORG/ or with ":latest" after it. Never a path. ES_ERR_IO: not here. *name and *dir are freed by the caller. */
es_status es_catalog_find(const es_catalog *catalog, const char *asked, char **name, char **dir, es_error *err);
/* The name a directory is known by; freed by the caller, NULL when memory is short. */
char *es_catalog_name(const es_catalog *catalog, const char *dir);

/* All models that are here and whole, the usual one first. */
es_status es_catalog_list(const es_catalog *catalog, es_catalog_entries *entries, es_error *err);
void es_catalog_entries_free(es_catalog_entries *entries);

#endif
