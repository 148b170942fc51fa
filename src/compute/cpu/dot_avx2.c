/* dot_avx2.c - by the byte and 16-bit multiply-adds of AVX2, at most 3 rows x 16 columns at a time. */
#include "compute/cpu/dot_ymm.h"

/* 4 bits: products of a step are at most 2 * 15 * 127 = 3,810 in each 16-bit lane, so eight steps fit. */
INLINE void group_4(const es_dot *d, size_t g, const uint8_t *w, const int8_t *a, size_t row, size_t col,
                    const size_t rows)
{
    const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    const uint8_t *scales = w + es_dot_weight_bytes(d->group, 4);
    __m256i sums[3][2];
#pragma GCC unroll 3
    for (size_t i = 0; i < rows; i++)
        sums[i][0] = sums[i][1] = _mm256_setzero_si256();
    w += 4 * col;
    a += 4 * row;
    for (size_t k = 0; k < d->group; k += 32) {
        __m256i narrow[3][2];
#pragma GCC unroll 3
        for (size_t i = 0; i < rows; i++)
            narrow[i][0] = narrow[i][1] = _mm256_setzero_si256();
        for (size_t p = 0; p < 4; p++) { /* two steps */
#pragma GCC unroll 2
            for (size_t j = 0; j < 2; j++) {
                __m256i both = load_weights(w + 32 * j), first = _mm256_and_si256(both, low);
                __m256i second = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
#pragma GCC unroll 3
                for (size_t i = 0; i < rows; i++) {
                    __m256i x = load_step(a + 4 * i), y = load_step(a + 4 * d->stride + 4 * i);
                    narrow[i][j] = _mm256_add_epi16(narrow[i][j], _mm256_maddubs_epi16(first, x));
                    narrow[i][j] = _mm256_add_epi16(narrow[i][j], _mm256_maddubs_epi16(second, y));
                }
            }
            w += 4 * ES_DOT_COLS;
            a += 8 * d->stride;
        }
#pragma GCC unroll 3
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < 2; j++)
                sums[i][j] = _mm256_add_epi32(sums[i][j], _mm256_madd_epi16(narrow[i][j], ones));
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < 2; j++)
            fold(d, scales, g, row + i, col + 8 * j, sums[i][j]);
}

/* 8 bits: four columns of a step fill a vector of 16-bit numbers; each column's sum lies in two lanes. `wide` holds the
 * group's activations as 16-bit numbers. */
INLINE void group_8(const es_dot *d, size_t g, const uint8_t *w, const int16_t *wide, size_t row, size_t col,
                    const size_t rows)
{
    const uint8_t *scales = w + es_dot_weight_bytes(d->group, 8);
    __m256i sums[3][4];
#pragma GCC unroll 3
    for (size_t i = 0; i < rows; i++)
        sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = _mm256_setzero_si256();
    w += 4 * col;
    wide += 4 * row;
    for (size_t k = 0; k < d->group; k += 4) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            __m256i four = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)(w + 16 * j)));
#pragma GCC unroll 3
            for (size_t i = 0; i < rows; i++) {
                int64_t x;
                memcpy(&x, wide + 4 * i, sizeof x);
                sums[i][j] = _mm256_add_epi32(sums[i][j], _mm256_madd_epi16(four, _mm256_set1_epi64x(x)));
            }
        }
        w += 4 * ES_DOT_COLS;
        wide += 4 * d->rows;
    }
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < 2; j++) {
            __m256i pairs = _mm256_hadd_epi32(sums[i][2 * j], sums[i][2 * j + 1]); /* columns 0 1 4 5 2 3 6 7 */
            fold(d, scales, g, row + i, col + 8 * j, _mm256_permute4x64_epi64(pairs, 0xd8));
        }
    }
}

/* A group's activations, [group / 4][stride][4], as [group / 4][rows][4]. */
static void widen(int16_t *wide, const int8_t *a, const es_dot *d)
{
    size_t n = d->group * d->rows; /* a group is a multiple of 32 */
    for (size_t i = 0; i < n && d->stride == d->rows; i += 16)
        _mm256_storeu_si256((void *)(wide + i), _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(a + i))));
    for (size_t k = 0; k < d->group / 4 && d->stride != d->rows; k++)
        for (size_t i = 0; i < 4 * d->rows; i++)
            wide[k * 4 * d->rows + i] = a[k * 4 * d->stride + i];
}

INLINE void group_rows(const es_dot *d, size_t g, const uint8_t *w, const int16_t *wide, size_t row, const size_t rows)
{
    for (size_t col = 0; col < ES_DOT_COLS; col += 16) {
        if (d->bits == 4)
            group_4(d, g, w, d->a + g * d->group * d->stride, row, col, rows);
        else
            group_8(d, g, w, wide, row, col, rows);
    }
}

static void multiply(const es_dot *given)
{
    const es_dot own = *given, *d = &own; /* which no store can change: else all is read again after each */
    int16_t wide[ES_DOT_GROUP * ES_DOT_ROWS];
    size_t block = es_dot_block_bytes(d->group, d->bits, d->bf16);
    if (!d->add)
        memset(d->c, 0, d->rows * ES_DOT_COLS * sizeof *d->c);
    for (size_t g = 0; g < d->groups; g++) {
        const uint8_t *w = d->panel + g * block;
        if (d->bits == 8)
            widen(wide, d->a + g * d->group * d->stride, d);
        size_t row = 0;
        for (; row + 3 <= d->rows; row += 3)
            group_rows(d, g, w, wide, row, 3);
        if (d->rows - row == 2)
            group_rows(d, g, w, wide, row, 2);
        else if (d->rows - row == 1)
            group_rows(d, g, w, wide, row, 1);
    }
}

void es_dot_avx2(es_dot_kernels *k)
{
    *k = (es_dot_kernels){.name = "avx2", .quantise = quantise, .multiply = multiply};
}
