/* fixture.h - a hub on loopback and a scratch folder, for the tests of src/hub. */
#ifndef ES_TESTS_HUB_FIXTURE_H
#define ES_TESTS_HUB_FIXTURE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "../remove_tree.h"
#include "hub/pull.h"

#define COMMIT "1111111111111111111111111111111111111111"
#define COMMIT_V1 "2222222222222222222222222222222222222222"
#define TINY_SIZE (3 * 1024 * 1024 + 12345) /* bytes of Tiny-VL's model.safetensors, as the server makes it */

typedef struct fixture {
    int pid, stdin_fd;
    int port, cdn_port;
    char endpoint[64];
    char scratch[256]; /* emptied before each test */
    char cache[300];   /* scratch/hub */
} fixture;

/* Starts the server (with a certificate and its key: the hub speaks TLS) and clears the environment of what clients of
 * the hub read. */
void fixture_start(fixture *f, const char *certificate, const char *key);
void fixture_stop(fixture *f);

/* cmocka's group and test functions: *state is a fixture. */
int fixture_group_setup(void **state);
int fixture_group_teardown(void **state);
int fixture_setup(void **state); /* no faults, an empty scratch folder, HF_HUB_CACHE there */

/* Sets the server's faults, "cut=1000&cut_times=2", and zeroes its counts. */
void fixture_faults(const fixture *f, const char *settings);
/* Replaces the listing of every model. */
void fixture_listing(const fixture *f, const char *body, size_t size);
json_t *fixture_stats(const fixture *f);
long fixture_count(const fixture *f, const char *key); /* of the stats; "fetches.NAME" for one file's fetches */

/* Options for tests: short pauses, this server, no token. */
es_pull_options fixture_options(const fixture *f);
/* Pulls into the fixture's cache; *message gets the error's line ("" when fine), 512 bytes. */
es_status fixture_pull(const fixture *f, const char *name, const es_pull_options *options, char *dir, char *message);

void write_text(const char *path, const char *text); /* makes the folders it needs */
long file_size(const char *path);                    /* -1: not there */
/* The path of Tiny-VL's weights in the cache, whole or growing. */
void tiny_blob(const fixture *f, const char *suffix, char *out, size_t size);

#endif
