/* dot.h - products of quantised rows and panels of quantised weights: formats, and one table an instruction set.
 *
 * docs/quantised.md says what is computed and why; here is how it lies in memory. All kernels give the same bits.
 */
#ifndef ES_COMPUTE_CPU_DOT_H
#define ES_COMPUTE_CPU_DOT_H

#include "base/thread.h"
#include "compute/cpu/kernels.h"

#define ES_DOT_COLS 32   /* outputs of a panel */
#define ES_DOT_ROWS 12   /* rows of a tile at most: 12 x 32 whole sums fill 24 of 32 registers of 512 bits */
#define ES_DOT_GROUP 128 /* inputs of a group at most */
#define ES_DOT_DEPTH                                                                                                   \
    512 /* inputs of a panel taken at a time: 16 KB of 8-bit weights, a part of a first-level cache                    \
         */
#define ES_DOT_TINY 0x1p-100f /* groups whose largest number is below this count as zero: 127 / x must stay finite */

/* A tile in two parts, for kernels whose registers hold the sums of no more rows (12 of 16 with 256 bits, 24 of 32 of
 * NEON's); each number of rows has a function of its own, which EACH_PART defines. */
#define ES_DOT_PART (ES_DOT_ROWS / 2)
#define ES_DOT_EACH_PART(DEFINE) DEFINE(1) DEFINE(2) DEFINE(3) DEFINE(4) DEFINE(5) DEFINE(6)
_Static_assert(ES_DOT_PART == 6, "ES_DOT_EACH_PART defines all");

/* Rows of the first part, two being as even as can be; all, where one part holds them. */
static inline size_t es_dot_first_part(size_t rows)
{
    return rows <= ES_DOT_PART ? rows : (rows + 1) / 2;
}

/* A tile of rows times a run of a panel's blocks: c [rows][32] (+)= ... */
typedef struct es_dot {
    size_t rows, group, groups, bits; /* bits 4 or 8 */
    size_t stride;                    /* rows that lie side by side in a, scale and sum: `rows`, or more */
    const int8_t *a;                  /* [groups * group / 4][stride][4] */
    const float *scale, *sum;         /* [groups][stride] */
    const uint8_t *panel;             /* blocks, 64-byte aligned */
    bool bf16;                        /* the blocks' scales and biases are bf16, else float32 */
    bool ready;                       /* the blocks come from `prepare` of the same table */
    float *c;
    bool add;             /* go on from what c holds; otherwise from zero */
    const int32_t *start; /* of `centred` alone: [rows], -128 times a row's sum */
    bool unscaled;        /* of `centred` alone: all scales of the block are 1 */
    bool positive;        /* of `centred` alone: a holds nothing below 0 */
} es_dot;

typedef struct es_dot_kernels {
    const char *name;
    bool quick_bytes; /* 8-bit products are so quick that attention gains by them */
    /* `rows` rows of k numbers, x_row apart, to a tile of `stride` rows or a part of one: a [k / 4][stride][4], scale
     * and sum [k / group][stride]. */
    void (*quantise)(int8_t *a, float *scale, float *sum, const float *x, size_t x_row, size_t rows, size_t k,
                     size_t group, size_t stride);
    void (*multiply)(const es_dot *d);
    /* The same for a single block of 8 bits whose biases are -128 scales, as signed bytes with 128 added have them, but
     * rounded otherwise: c = fma(round(scale_o * (float)(start + dot)), scale, c). NULL where `multiply` does as well.
     */
    void (*centred)(const es_dot *d);
    /* A run of a panel's blocks of 4 bits becomes blocks of 8 with the same scales and biases, so products are the
     * same; both 64-byte aligned. NULL where 8 bits are not quicker to multiply than 4. */
    void (*unpack)(uint8_t *wide, const uint8_t *panel, size_t group, size_t groups, bool bf16);
    /* A run of a panel's blocks, of 4 or 8 bits, becomes what `multiply` of this table takes more quickly, at most
     * ES_DOT_READY_BYTES for ES_DOT_DEPTH inputs; both 64-byte aligned. NULL where `unpack` does it, or nothing. */
    void (*prepare)(uint8_t *ready, const uint8_t *panel, size_t group, size_t groups, size_t bits, bool bf16);
} es_dot_kernels;

/* `unpack` in plain C, for any table. */
void es_dot_unpack(uint8_t *wide, const uint8_t *panel, size_t group, size_t groups, bool bf16);

/* Each file upgrades the table; the processor must have what the name says. */
void es_dot_scalar(es_dot_kernels *k);
void es_dot_avx2(es_dot_kernels *k);
void es_dot_avxvnni(es_dot_kernels *k);
void es_dot_avx512(es_dot_kernels *k);
void es_dot_neon(es_dot_kernels *k);

/* The i-th table usable here, scalar first; false past the last. */
bool es_dot_table(es_dot_kernels *k, size_t i);

static inline size_t es_dot_weight_bytes(size_t group, size_t bits)
{
    return group * ES_DOT_COLS * bits / 8;
}

/* Bytes of one group of a panel: weights, scales, biases. */
static inline size_t es_dot_block_bytes(size_t group, size_t bits, bool bf16)
{
    return es_dot_weight_bytes(group, bits) + 2 * ES_DOT_COLS * (bf16 ? 2u : 4u);
}

/* The largest run of blocks that is taken at a time, DEPTH inputs in the smallest groups, as numbers of 16 bits. */
#define ES_DOT_READY_BYTES (2 * ES_DOT_DEPTH * ES_DOT_COLS + ES_DOT_DEPTH / 32 * 2 * ES_DOT_COLS * sizeof(float))

/* Scale and reciprocal of a group whose largest number has these bits (without sign). */
static inline void es_dot_scales(uint32_t top, float *scale, float *reciprocal)
{
    float size = es_float_of_bits(top);
    *reciprocal = 0.0f;
    if (top >= 0x7f800000u) {
        *scale = es_float_of_bits(0x7fc00000u); /* the row's results become NaN */
    } else if (size < ES_DOT_TINY) {
        *scale = 0.0f;
    } else {
        *scale = size / 127.0f;
        *reciprocal = 127.0f / size;
    }
}

/* --- weights as panels --- */

typedef struct es_panels {
    size_t out, in, group, groups, bits;
    bool bf16;
    bool turned; /* rows of weights were turned (es_turn) before they became groups: so must be what they multiply */
    size_t block_bytes, panel_bytes, bytes;
    const uint8_t *data; /* [(out + 31) / 32] panels */
    bool borrowed;       /* data is the source's, made ready before */
} es_panels;

#define ES_TURN_MAX 32768 /* inputs of a matrix that is turned, at most */

/* Counts changes of how panels lie in memory, or of what is in them for a given source. */
#define ES_PANELS_LAYOUT 3

/* Bytes of a source's panels; 0: it cannot be packed. */
size_t es_panels_bytes(const es_matrix_source *source, int bits);

/* The group in which a source would be packed with so many bits; 0: it cannot be. */
size_t es_panels_group(const es_matrix_source *source, int bits);
/* `bits` 4 or 8 for plain sources; quantised ones keep theirs, 5 and 6 become 8. pool may be NULL. A source made ready
 * before is taken as it is. */
es_status es_panels_create(es_panels **panels, const es_matrix_source *source, int bits, es_pool *pool, es_error *err);
void es_panels_free(es_panels *panels); /* NULL is fine */
/* What the panels hold for inputs [from, from + n) of one output, as float32 (each weight scale * q + bias, fused): of
 * turned ones what they hold for rows turned. */
void es_panels_row(const es_panels *panels, size_t row, size_t from, size_t n, float *y);

#endif
