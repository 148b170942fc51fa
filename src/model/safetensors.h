/* safetensors.h - a checkpoint's tensors, mapped: one .safetensors file or shards with an index. Trusts nothing. */
#ifndef ES_MODEL_SAFETENSORS_H
#define ES_MODEL_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "compute/compute.h"

#define ES_MAX_DIMS 8

typedef struct es_view {
    const char *name;
    bool usable; /* dtype below holds it; false for the format's other types (I64, F8_E4M3...), which nothing here reads
                  */
    es_dtype dtype;
    char type[12]; /* as the file writes it: "BF16" */
    int n_dims;
    int64_t dims[ES_MAX_DIMS];
    const void *data; /* into the mapping; alignment not promised */
    size_t size;      /* bytes */
    const char *file; /* the shard it lies in, for errors */
} es_view;

typedef struct es_tensors es_tensors;

/* Opens DIR/model.safetensors, or the shards named by DIR/model.safetensors.index.json, or the one *.safetensors there.
 * Checks header length, JSON, every dtype, shape and offset: inside the file, of the right size, not overlapping, no
 * name twice (in or across shards), nothing missing that the index promises. */
es_status es_tensors_open(es_tensors **tensors, const char *dir, es_error *err);
/* One file. */
es_status es_tensors_open_file(es_tensors **tensors, const char *path, es_error *err);
/* The bytes of one file in memory, which stay the caller's and must outlive the tensors; `name` is for errors. */
es_status es_tensors_open_memory(es_tensors **tensors, const void *bytes, size_t size, const char *name, es_error *err);
void es_tensors_close(es_tensors *tensors);

size_t es_tensors_count(const es_tensors *tensors);
const es_view *es_tensors_at(const es_tensors *tensors, size_t i);           /* sorted by name */
const es_view *es_tensors_find(const es_tensors *tensors, const char *name); /* NULL when there is none */
/* Whoever read the data has copied it: the system may take the memory of mapped files back. Reading again is fine. */
void es_tensors_rest(const es_tensors *tensors);
size_t es_tensors_bytes(const es_tensors *tensors); /* of all tensors */

/* How many numbers a view holds (its dims' product, checked when it was opened). */
int64_t es_view_count(const es_view *view);
/* Converts a F32, F16 or BF16 view to float32: es_view_count numbers to out. ES_ERR_FORMAT for another type. */
es_status es_view_floats(const es_view *view, float *out, es_error *err);
/* "[2, 3]" for errors, cut to fit. */
void es_shape_text(char *text, size_t size, const int64_t *dims, int n_dims);

/* Writing, for traces and tools. Whole numbers go as ES_U32 (the ids and counts of a trace are never negative), so that
 * what is written can be read back here; tensors lie in the order in which they were added. */
typedef struct es_tensors_out es_tensors_out;
es_status es_tensors_out_create(es_tensors_out **out, es_error *err);
/* Copies the data. */
es_status es_tensors_out_add(es_tensors_out *out, const char *name, es_dtype dtype, const int64_t *dims, int n_dims,
                             const void *data, es_error *err);
/* The whole file's bytes; free with free. */
es_status es_tensors_out_bytes(const es_tensors_out *out, uint8_t **bytes, size_t *size, es_error *err);
es_status es_tensors_out_write(const es_tensors_out *out, const char *path, es_error *err);
void es_tensors_out_free(es_tensors_out *out);

#endif
