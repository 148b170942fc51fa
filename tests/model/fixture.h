/* fixture.h - a checkpoint beside what its authors' implementation computes with it, as make_model_vectors.py wrote
 * them: tests/vectors/model/NAME/, NAME.json and NAME.safetensors. Every call asserts: a broken fixture fails the test.
 */
#ifndef TESTS_MODEL_FIXTURE_H
#define TESTS_MODEL_FIXTURE_H

#include <jansson.h>

#include "compute/cpu/cpu.h"
#include "model/model.h"

#define FIXTURE_PICTURES 16
#define FIXTURE_PROMPTS 16
#define FIXTURE_MESSAGES 8
#define FIXTURE_CONTENT 8

typedef struct fixture {
    json_t *json;
    es_tensors *expected;
    es_device *device;
    es_model *model;
    es_patches pictures[FIXTURE_PICTURES];
    size_t picture_count, prompt_count;
} fixture;

/* One conversation, its pictures in the order in which it shows them. */
typedef struct fixture_prompt {
    es_message messages[FIXTURE_MESSAGES];
    es_content content[FIXTURE_MESSAGES][FIXTURE_CONTENT];
    size_t message_count;
    es_patches pictures[FIXTURE_PICTURES]; /* borrowed */
    size_t used[FIXTURE_PICTURES];         /* which of the fixture's they are */
    size_t picture_count;
    int32_t tokens;          /* in all */
    const char *greedy_text; /* the fixture's, end tokens ignored; like the next, NULL where it has none */
    const char *record;      /* up to the first end token */
    int32_t record_tokens;
    bool record_ends; /* there is an end token */
} fixture_prompt;

/* The source tree, without a slash at its end. */
const char *fixture_root(void);
/* Whether there are vectors of that name. */
bool fixture_exists(const char *name);
/* Opens the vectors and the checkpoint on a cpu device of one instruction set. Vectors of a checkpoint that lies
 * elsewhere name the digests of its files; when the files are others by now, the vectors must be made again. */
void fixture_open(fixture *f, const char *name, es_isa isa);
/* The same on a device of any kind, which the fixture takes over. */
void fixture_open_on(fixture *f, const char *name, es_device *device);
void fixture_close(fixture *f);
void fixture_prompt_get(fixture_prompt *p, const fixture *f, size_t k);

/* A tensor of the vectors, copied; free it. *rows and *cols may be NULL; a vector is one column. */
float *fixture_floats(const fixture *f, int64_t *rows, int64_t *cols, const char *format, ...) ES_PRINTF(4, 5);
int32_t *fixture_ints(const fixture *f, int64_t *count, const char *format, ...) ES_PRINTF(3, 4);
bool fixture_has(const fixture *f, const char *format, ...) ES_PRINTF(2, 3);

#endif
