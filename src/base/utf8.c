#include "base/utf8.h"

/* How many bytes a character with this first byte has, and the range its second byte must lie in (RFC 3629, 4). */
static size_t lead(unsigned char c, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (c < 0x80)
        return 1;
    if (c >= 0xC2 && c <= 0xDF)
        return 2;
    if (c >= 0xE0 && c <= 0xEF) {
        if (c == 0xE0)
            *low = 0xA0;
        if (c == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (c >= 0xF0 && c <= 0xF4) {
        if (c == 0xF0)
            *low = 0x90;
        if (c == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

/* How many of the n bytes fit the character begun by the first, up to its full length; 0 when already wrong. */
static size_t matching(const unsigned char *b, size_t n, size_t *full)
{
    unsigned char low, high;
    *full = n == 0 ? 0 : lead(b[0], &low, &high);
    if (*full == 0)
        return 0;
    size_t i = 1;
    for (; i < n && i < *full; i++) {
        if (b[i] < low || b[i] > high)
            return 0;
        low = 0x80;
        high = 0xBF;
    }
    return i;
}

size_t es_utf8_length(const char *bytes, size_t n)
{
    size_t full;
    size_t got = matching((const unsigned char *)bytes, n, &full);
    return got != 0 && got == full ? full : 0;
}

bool es_utf8_is_prefix(const char *bytes, size_t n)
{
    size_t full;
    size_t got = matching((const unsigned char *)bytes, n, &full);
    return got != 0 && got == n && got < full;
}

size_t es_utf8_valid(const char *bytes, size_t n)
{
    size_t i = 0;
    while (i < n) {
        if ((unsigned char)bytes[i] < 0x80) {
            i++;
            continue;
        }
        size_t length = es_utf8_length(bytes + i, n - i);
        if (length == 0)
            break;
        i += length;
    }
    return i;
}

size_t es_utf8_broken(const char *bytes, size_t n)
{
    size_t length = 1;
    while (length < 3 && length < n && es_utf8_is_prefix(bytes, length + 1))
        length++;
    return length;
}
