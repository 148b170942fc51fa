/* dot_avx2.c - by the byte and 16-bit multiply-adds of AVX2, up to 6 rows x 16 columns at a time.
 *
 * Twelve sums, two vectors of weights, one of activations and one product fill the 16 registers. 4 bits: a step of four
 * inputs is a byte multiply-add, whose sums of 16 bits hold eight steps: 8 * 2 * 15 * 127 = 30,480. 8 bits: bytes would
 * saturate, so a step is two 16-bit multiply-adds, of two inputs each.
 */
#include "compute/cpu/dot_ymm.h"

#define COLS 2 /* vectors of eight columns */
#define RUN 8  /* steps that 16 bits hold */

/* How a block's weights lie: as panels have them, or as `prepare` makes them. */
typedef enum form { PACKED_4, READY_4, PACKED_8, READY_8 } form;

typedef __m256i tile_sums[ES_DOT_PART][COLS];

/* Spelled out because compilers add products up among themselves before they add them to the sums, and then run out of
 * registers. One row's four activations times two vectors of weights: the products, or sums += them. */
#define TWICE(MULTIPLY, ADD)                                                                                           \
    "vpbroadcastd %[a], %[x]\n\t" MULTIPLY " %[x], %[left], %[t]\n\t" ADD " %[t], %[first], %[first]\n\t" MULTIPLY     \
    " %[x], %[right], %[x]\n\t" ADD " %[x], %[second], %[second]"
#define FOUR_BYTES(p) (*(const char(*)[4])(const void *)(p)) /* chars, which may be anything */

INLINE void first_bytes(__m256i sum[COLS], __m256i left, __m256i right, const int8_t *a)
{
    __m256i x = load_step(a);
    sum[0] = _mm256_maddubs_epi16(left, x);
    sum[1] = _mm256_maddubs_epi16(right, x);
}

INLINE void add_bytes(__m256i sum[COLS], __m256i left, __m256i right, const int8_t *a)
{
    __m256i x, t;
    __asm__(TWICE("vpmaddubsw", "vpaddw")
            : [first] "+x"(sum[0]), [second] "+x"(sum[1]), [x] "=&x"(x), [t] "=&x"(t)
            : [left] "x"(left), [right] "x"(right), [a] "m"(FOUR_BYTES(a)));
}

INLINE void add_words(__m256i sum[COLS], __m256i left, __m256i right, const int16_t *a)
{
    __m256i x, t;
    __asm__(TWICE("vpmaddwd", "vpaddd")
            : [first] "+x"(sum[0]), [second] "+x"(sum[1]), [x] "=&x"(x), [t] "=&x"(t)
            : [left] "x"(left), [right] "x"(right), [a] "m"(FOUR_BYTES(a)));
}

/* Weights of a step, [16 columns][4 inputs], of 4 bits as bytes; `step` counts within a group. */
INLINE __m256i load_bytes(const uint8_t *w, size_t step, size_t j, const form f)
{
    if (f == READY_4)
        return load_weights(w + step * 4 * ES_DOT_COLS + 32 * j);
    const __m256i low = _mm256_set1_epi8(15), both = load_weights(w + step / 2 * 4 * ES_DOT_COLS + 32 * j);
    return _mm256_and_si256(step % 2 == 0 ? both : _mm256_srli_epi16(both, 4), low);
}

/* RUN steps, to sums of 32 bits. */
INLINE void run_of_4(tile_sums sums, const uint8_t *w, const int8_t *a, const size_t next, const size_t rows,
                     const bool add, const form f)
{
    const __m256i ones = _mm256_set1_epi16(1);
    tile_sums narrow;
#pragma GCC unroll 8
    for (size_t s = 0; s < RUN; s++, a += next) {
        __m256i left = load_bytes(w, s, 0, f), right = load_bytes(w, s, 1, f);
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            if (s == 0)
                first_bytes(narrow[i], left, right, a + 4 * i);
            else
                add_bytes(narrow[i], left, right, a + 4 * i);
        }
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (size_t j = 0; j < COLS; j++) {
            __m256i whole = _mm256_madd_epi16(narrow[i][j], ones);
            sums[i][j] = add ? _mm256_add_epi32(sums[i][j], whole) : whole;
        }
}

INLINE void group_of_4(tile_sums sums, const uint8_t *w, const int8_t *a, const size_t next, size_t group,
                       const size_t rows, const form f)
{
    const size_t bytes = f == READY_4 ? RUN * 4 * ES_DOT_COLS : RUN * 2 * ES_DOT_COLS;
    run_of_4(sums, w, a, next, rows, false, f);
    for (size_t k = 4 * RUN; k < group; k += 4 * RUN) {
        w += bytes;
        a += RUN * next;
        run_of_4(sums, w, a, next, rows, true, f);
    }
}

/* Of each column's four bytes the first or the last two as numbers of 16 bits. */
INLINE __m256i first_two(__m256i w)
{
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1));
    return _mm256_shuffle_epi8(w, order);
}

INLINE __m256i last_two(__m256i w)
{
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1));
    return _mm256_shuffle_epi8(w, order);
}

/* Two of a step's four inputs. */
INLINE void two_of_8(tile_sums sums, __m256i left, __m256i right, const int16_t *wide, const size_t rows)
{
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
        add_words(sums[i], left, right, wide + 4 * i);
}

/* Onto sums. `wide` [group / 4][rows of the tile][4]. */
INLINE void add_group_of_8(tile_sums sums, const uint8_t *w, const int16_t *wide, const size_t next, size_t group,
                           const size_t rows, const form f)
{
    for (size_t k = 0; k < group; k += 4, wide += next) {
        __m256i left = load_weights(w), right = load_weights(w + 32);
        if (f == READY_8) {
            two_of_8(sums, left, right, wide, rows);
            left = load_weights(w + 4 * ES_DOT_COLS);
            right = load_weights(w + 4 * ES_DOT_COLS + 32);
            w += 8 * ES_DOT_COLS;
        } else {
            two_of_8(sums, first_two(left), first_two(right), wide, rows);
            left = last_two(left);
            right = last_two(right);
            w += 4 * ES_DOT_COLS;
        }
        two_of_8(sums, left, right, wide + 2, rows);
    }
}

INLINE void group_of_8(tile_sums sums, const uint8_t *w, const int16_t *wide, const size_t next, size_t group,
                       const size_t rows, const form f)
{
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
        sums[i][0] = sums[i][1] = _mm256_setzero_si256();
    add_group_of_8(sums, w, wide, next, group, rows, f);
}

static size_t block_bytes(const es_dot *d, const form f)
{
    if (f == PACKED_4 || f == PACKED_8)
        return es_dot_block_bytes(d->group, d->bits, d->bf16);
    return (f == READY_4 ? 1 : 2) * es_dot_weight_bytes(d->group, 8) + 2 * ES_DOT_COLS * sizeof(float);
}

/* Rows [row, row + rows) of `groups` groups from g on; `wide` has the one group's activations of 8 bits. */
INLINE void part(const es_dot *d, size_t g, size_t groups, const int16_t *wide, size_t row, const size_t rows,
                 const form f)
{
    const bool bytes = f == PACKED_4 || f == READY_4, bf16 = d->bf16 && (f == PACKED_4 || f == PACKED_8);
    const size_t block = block_bytes(d, f), scales = block - 2 * ES_DOT_COLS * (bf16 ? 2u : 4u);
    const uint8_t *w = d->panel + g * block;
    for (size_t end = g + groups; g < end; g++, w += block) {
        for (size_t col = 0; col < ES_DOT_COLS; col += 8 * COLS) {
            tile_sums sums;
            if (bytes)
                group_of_4(sums, w + 4 * col, d->a + g * d->group * d->stride + 4 * row, 4 * d->stride, d->group, rows,
                           f);
            else
                group_of_8(sums, w + 4 * col, wide + 4 * row, 4 * d->rows, d->group, rows, f);
            fold(d, w + scales, bf16, g, row, col, sums, rows);
        }
    }
}

#define PART_OF(R)                                                                                                     \
    static void part_##R(const es_dot *d, size_t g, size_t groups, const int16_t *wide, size_t row)                    \
    {                                                                                                                  \
        if (d->bits == 4 && d->ready)                                                                                  \
            part(d, g, groups, wide, row, R, READY_4);                                                                 \
        else if (d->bits == 4)                                                                                         \
            part(d, g, groups, wide, row, R, PACKED_4);                                                                \
        else if (d->ready)                                                                                             \
            part(d, g, groups, wide, row, R, READY_8);                                                                 \
        else                                                                                                           \
            part(d, g, groups, wide, row, R, PACKED_8);                                                                \
    }
ES_DOT_EACH_PART(PART_OF)

static void parts(const es_dot *d, size_t g, size_t groups, const int16_t *wide)
{
    static void (*const by_rows[ES_DOT_PART])(const es_dot *, size_t, size_t, const int16_t *,
                                              size_t) = {part_1, part_2, part_3, part_4, part_5, part_6};
    size_t first = es_dot_first_part(d->rows);
    by_rows[first - 1](d, g, groups, wide, 0);
    if (first < d->rows)
        by_rows[d->rows - first - 1](d, g, groups, wide, first);
}

/* A group's activations, [group / 4][stride][4], as `wide`. */
static void widen(int16_t *wide, const int8_t *a, const es_dot *d)
{
    size_t n = d->group * d->rows; /* a group is a multiple of 32 */
    for (size_t i = 0; i < n && d->stride == d->rows; i += 16)
        _mm256_storeu_si256((void *)(wide + i), _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(a + i))));
    for (size_t k = 0; k < d->group / 4 && d->stride != d->rows; k++, a += 4 * d->stride)
        for (size_t i = 0; i < 4 * d->rows; i++)
            *wide++ = a[i];
}

static void multiply(const es_dot *given)
{
    const es_dot own = *given, *d = &own; /* which no store can change: else all is read again after each */
    int16_t wide[ES_DOT_GROUP * ES_DOT_ROWS];
    if (!d->add)
        memset(d->c, 0, d->rows * ES_DOT_COLS * sizeof *d->c);
    if (d->bits == 4)
        parts(d, 0, d->groups, NULL);
    for (size_t g = 0; g < d->groups && d->bits == 8; g++) {
        widen(wide, d->a + g * d->group * d->stride, d);
        parts(d, g, 1, wide);
    }
}

/* sums += four activations, none below 0, times two vectors of signed weights: 2 * 127 * 128 fits 16 bits. */
INLINE void add_positive(__m256i sum[COLS], __m256i left, __m256i right, const int8_t *a)
{
    static const int16_t ones[16] __attribute__((aligned(32))) = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    __m256i x, t;
    __asm__("vpbroadcastd %[a], %[x]\n\t"
            "vpmaddubsw %[left], %[x], %[t]\n\t"
            "vpmaddubsw %[right], %[x], %[x]\n\t"
            "vpmaddwd %[ones], %[t], %[t]\n\t"
            "vpmaddwd %[ones], %[x], %[x]\n\t"
            "vpaddd %[t], %[first], %[first]\n\t"
            "vpaddd %[x], %[second], %[second]"
            : [first] "+x"(sum[0]), [second] "+x"(sum[1]), [x] "=&x"(x), [t] "=&x"(t)
            : [left] "x"(left), [right] "x"(right), [a] "m"(FOUR_BYTES(a)), [ones] "m"(ones));
}

/* Rows [row, row + rows) and 16 columns. `wide` as above; of no use where the activations are positive. */
INLINE void centred_half(const es_dot *d, const int16_t *wide, size_t row, size_t col, const size_t rows,
                         const bool positive)
{
    const __m256i flip = _mm256_set1_epi8(-128);
    tile_sums sums;
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
        sums[i][0] = sums[i][1] = positive ? _mm256_setzero_si256() : _mm256_set1_epi32(d->start[row + i]);
    const uint8_t *w = d->panel + 4 * col;
    if (positive) {
        const int8_t *a = d->a + 4 * row;
        const size_t next = 4 * d->stride;
        for (size_t k = 0; k < d->group; k += 4, w += 4 * ES_DOT_COLS, a += next) {
            __m256i left = _mm256_xor_si256(load_weights(w), flip),
                    right = _mm256_xor_si256(load_weights(w + 32), flip);
#pragma GCC unroll 6
            for (size_t i = 0; i < rows; i++)
                add_positive(sums[i], left, right, a + 4 * i);
        }
    } else {
        add_group_of_8(sums, w, wide + 4 * row, 4 * d->rows, d->group, rows, PACKED_8);
    }
    const uint8_t *scales = d->panel + es_dot_weight_bytes(d->group, 8);
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256 scale[COLS] = {d->unscaled ? one : load_scales(scales, col, d->bf16),
                          d->unscaled ? one : load_scales(scales, col + 8, d->bf16)};
    const float *row_scale = d->scale + row;
    const bool add = d->add;
    float *c = d->c + row * ES_DOT_COLS + col;
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++, c += ES_DOT_COLS) {
        __m256 s = _mm256_set1_ps(row_scale[i]);
#pragma GCC unroll 2
        for (size_t j = 0; j < COLS; j++) {
            __m256 scaled = _mm256_mul_ps(scale[j], _mm256_cvtepi32_ps(sums[i][j]));
            __m256 before = add ? _mm256_loadu_ps(c + 8 * j) : _mm256_setzero_ps();
            _mm256_storeu_ps(c + 8 * j, _mm256_fmadd_ps(scaled, s, before));
        }
    }
}

#define CENTRED(R)                                                                                                     \
    static void centred_##R(const es_dot *d, const int16_t *wide, size_t row)                                          \
    {                                                                                                                  \
        for (size_t col = 0; col < ES_DOT_COLS; col += 8 * COLS) {                                                     \
            if (d->positive)                                                                                           \
                centred_half(d, wide, row, col, R, true);                                                              \
            else                                                                                                       \
                centred_half(d, wide, row, col, R, false);                                                             \
        }                                                                                                              \
    }
ES_DOT_EACH_PART(CENTRED)

static void centred(const es_dot *given)
{
    static void (*const by_rows[ES_DOT_PART])(const es_dot *, const int16_t *, size_t) = {
        centred_1, centred_2, centred_3, centred_4, centred_5, centred_6};
    const es_dot own = *given, *d = &own;
    int16_t wide[ES_DOT_GROUP * ES_DOT_ROWS];
    if (!d->positive)
        widen(wide, d->a, d);
    size_t first = es_dot_first_part(d->rows);
    by_rows[first - 1](d, wide, 0);
    if (first < d->rows)
        by_rows[d->rows - first - 1](d, wide, first);
}

/* 4 bits become bytes, 8 bits the first and the last two inputs of each step as numbers of 16 bits; scales float32. */
static void prepare(uint8_t *ready, const uint8_t *panel, size_t group, size_t groups, size_t bits, bool bf16)
{
    const __m256i low = _mm256_set1_epi8(15);
    const size_t step = 4 * ES_DOT_COLS, steps = group * bits / 32;
    for (size_t g = 0; g < groups; g++) {
        for (size_t k = 0; k < steps; k++) {
            for (size_t i = 0; i < step; i += 32) {
                __m256i both = load_weights(panel + i);
                __m256i first = bits == 4 ? _mm256_and_si256(both, low) : first_two(both);
                __m256i second = bits == 4 ? _mm256_and_si256(_mm256_srli_epi16(both, 4), low) : last_two(both);
                _mm256_storeu_si256((void *)(ready + i), first);
                _mm256_storeu_si256((void *)(ready + step + i), second);
            }
            panel += step;
            ready += 2 * step;
        }
        for (size_t i = 0; i < 2 * ES_DOT_COLS; i += 8)
            _mm256_storeu_ps((float *)(void *)ready + i, load_scales(panel, i, bf16));
        panel += 2 * ES_DOT_COLS * (bf16 ? 2u : 4u);
        ready += 2 * ES_DOT_COLS * sizeof(float);
    }
}

void es_dot_avx2(es_dot_kernels *k)
{
    *k = (es_dot_kernels){.name = "avx2",
                          .quick_bytes = true,
                          .quantise = quantise,
                          .multiply = multiply,
                          .centred = centred,
                          .prepare = prepare};
}
