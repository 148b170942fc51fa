/* drawn.h - pictures for tests, the same as tests/vectors/make_image_vectors.py draws, and the sum that compares them.
 */
#ifndef TESTS_MODEL_DRAWN_H
#define TESTS_MODEL_DRAWN_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/image.h"

/* A well-mixed number of each place. */
static inline uint32_t drawn_mixed(uint32_t seed, uint32_t x, uint32_t y, uint32_t c)
{
    uint32_t n = seed + x * 0x9E3779B1u + y * 0x85EBCA77u + c * 0xC2B2AE3Du;
    n ^= n >> 15;
    n *= 0x2C1B3C6Du;
    n ^= n >> 12;
    n *= 0x297A2D39u;
    return n ^ (n >> 15);
}

static inline uint8_t drawn_gradient(uint32_t seed, uint32_t x, uint32_t y, uint32_t c, uint32_t width, uint32_t height)
{
    uint32_t at = c == 0 ? x : c == 1 ? y : x + y;
    uint32_t end = c == 0 ? width - 1 : c == 1 ? height - 1 : width + height - 2;
    return (uint8_t)(at * 255 / (end == 0 ? 1 : end) + seed);
}

/* Lines of 12 rows, glyphs 6 columns wide of random dots, blanks between words, colours changing every 4 lines. */
static inline uint8_t drawn_text(uint32_t seed, uint32_t x, uint32_t y, uint32_t c)
{
    uint8_t paper = (uint8_t)(drawn_mixed(seed + 3, 0, y / 48, c) >> 24);
    int ink = y % 12 >= 2 && y % 12 < 10 && x % 6 < 5 && drawn_mixed(seed + 1, x / 6, y / 12, 0) % 7 != 0 &&
              drawn_mixed(seed + 2, x, y, 0) % 2 == 0;
    return ink ? (uint8_t)(255 - paper) : paper;
}

/* kind: gradient, noise, binary or text. Free with es_image_free; rgb is NULL when memory is short. */
static inline es_image drawn_picture(const char *kind, uint32_t seed, uint32_t width, uint32_t height)
{
    es_image image = {(int32_t)width, (int32_t)height, malloc((size_t)width * height * 3)};
    uint8_t *out = image.rgb;
    for (uint32_t y = 0; out != NULL && y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < 3; c++)
                *out++ = kind[0] == 'g'   ? drawn_gradient(seed, x, y, c, width, height)
                         : kind[0] == 'n' ? (uint8_t)(drawn_mixed(seed, x, y, c) >> 24)
                         : kind[0] == 'b' ? (uint8_t)((drawn_mixed(seed, x, y, c) & 1) * 255)
                                          : drawn_text(seed, x, y, c);
    return image;
}

/* CRC-32 as zlib has it. */
static inline uint32_t drawn_crc32(const void *bytes, size_t size)
{
    uint32_t table[256], crc = 0xffffffffu;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = i;
        for (int bit = 0; bit < 8; bit++)
            v = (v >> 1) ^ (v & 1 ? 0xEDB88320u : 0);
        table[i] = v;
    }
    for (const uint8_t *p = bytes; size > 0; size--, p++)
        crc = (crc >> 8) ^ table[(crc ^ *p) & 255];
    return ~crc;
}

#endif
