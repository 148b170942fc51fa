/* dot_halves.h - a tile in two parts of up to 6 rows, each group of weights in two halves of 16 columns. Included by
 * the kernels whose registers hold 6 rows of 16 sums.
 *
 * That file first defines INLINE and group_half(d, g, w, row, col, rows, bits): rows [row, row + rows) and
 * columns [col, col + 16) of group g, whose block of weights begins at w. rows and bits are constants where it is
 * called, so the sums stay in registers.
 */
#ifndef ES_COMPUTE_CPU_DOT_HALVES_H
#define ES_COMPUTE_CPU_DOT_HALVES_H

#include <string.h>

#include "compute/cpu/dot.h"

INLINE void part(const es_dot *given, size_t row, const size_t rows, const size_t bits)
{
    const es_dot own = *given, *d = &own; /* which no store can change: else all is read again after each */
    size_t block = es_dot_block_bytes(d->group, bits, d->bf16);
    for (size_t g = 0; g < d->groups; g++) {
        group_half(d, g, d->panel + g * block, row, 0, rows, bits);
        group_half(d, g, d->panel + g * block, row, 16, rows, bits);
    }
}

#define PART_OF(R)                                                                                                     \
    static void part_##R(const es_dot *d, size_t row)                                                                  \
    {                                                                                                                  \
        if (d->bits == 8)                                                                                              \
            part(d, row, R, 8);                                                                                        \
        else                                                                                                           \
            part(d, row, R, 4);                                                                                        \
    }
ES_DOT_EACH_PART(PART_OF)

static void multiply(const es_dot *d)
{
    static void (*const by_rows[ES_DOT_PART])(const es_dot *, size_t) = {part_1, part_2, part_3,
                                                                         part_4, part_5, part_6};
    if (!d->add)
        memset(d->c, 0, d->rows * ES_DOT_COLS * sizeof *d->c);
    size_t first = es_dot_first_part(d->rows);
    by_rows[first - 1](d, 0);
    if (first < d->rows)
        by_rows[d->rows - first - 1](d, first);
}

#endif
