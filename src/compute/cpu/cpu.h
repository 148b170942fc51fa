/* cpu.h - the cpu device: float32 arithmetic by the widest instruction set this processor and system offer. */
#ifndef ES_COMPUTE_CPU_CPU_H
#define ES_COMPUTE_CPU_CPU_H

#include "compute/compute.h"

/* AVXVNNI is AVX2 and AVX-VNNI; AVX2 leaves that unused where it is there. */
typedef enum es_isa { ES_ISA_SCALAR, ES_ISA_AVX2, ES_ISA_AVXVNNI, ES_ISA_AVX512, ES_ISA_NEON } es_isa;

/* The best instruction set usable here (processor and operating system both asked). */
es_isa es_cpu_best_isa(void);
bool es_cpu_has_isa(es_isa isa);     /* compiled in and usable here */
const char *es_isa_name(es_isa isa); /* "scalar", "avx2", "avxvnni", "avx512", "neon" */
bool es_isa_parse(const char *name, es_isa *isa);

/* What products may cost in exactness; docs/quantised.md. */
typedef enum es_precision { ES_PRECISION_EXACT, ES_PRECISION_BALANCED, ES_PRECISION_FAST } es_precision;
bool es_precision_parse(const char *name, es_precision *precision); /* "exact", "balanced", "fast" */

typedef struct es_cpu_options {
    size_t threads; /* 0: one a core */
    bool isa_given; /* use `isa` rather than the best */
    es_isa isa;
    es_precision precision;
    /* Matrices of fewer weights, and attention of heads that together make no larger ones, stay exact under every
     * precision: a model of a few million weights has nothing to spare, and little to gain. 0: none do. */
    size_t exact_below;
} es_cpu_options;

#define ES_EXACT_BELOW ((size_t)1 << 19) /* what the product sets */

/* options NULL means the defaults. */
es_status es_cpu_device_create(es_device **device, const es_cpu_options *options, es_error *err);

/* From now on this cpu device multiplies and attends in float32, by the weights its precision has: what is left of the
 * precision's drift is theirs. Slow: for measuring. To be called before anything else is made on the device. */
void es_cpu_in_floats(es_device *device);

/* es_op_linear, es_op_embed and es_op_attend_segments on memory of the caller's, by an exact cpu device and its
 * matrices: x [rows, w->cols], bias [w->rows] and residual [rows, w->rows], which may be NULL, y [rows, w->rows], which
 * may be the residual. What es_op_... check for shapes and lists is the caller's business; they cannot fail. */
void es_cpu_multiply(es_device *device, float *y, const float *x, int64_t rows, const es_matrix *w, const float *bias,
                     es_activation act, const float *residual);
void es_cpu_look_up(es_device *device, float *y, const es_matrix *table, const int32_t *ids, int64_t n);
void es_cpu_attend(es_device *device, float *y, const float *qkv, int64_t heads, int64_t head_dim,
                   const es_segment *segments, size_t n);
#define ES_HEAD_DIM_MAX 512 /* of attention */

/* Words for doctor: processor name and the features that matter, e.g. "AMD EPYC ...: avx2 fma avx512f avx512_vnni". */
void es_cpu_describe(char *text, size_t size);

#endif
