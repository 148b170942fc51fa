/* utf8.h - the questions asked of UTF-8 everywhere. Strict: no overlong forms, no surrogates, max U+10FFFF. */
#ifndef ES_BASE_UTF8_H
#define ES_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* The length (1-4) of the whole, valid character that starts at bytes, or 0 when there is none within n. */
size_t es_utf8_length(const char *bytes, size_t n);

/* True when the n < 4 bytes are a proper beginning of a valid character that more bytes could complete. */
bool es_utf8_is_prefix(const char *bytes, size_t n);

/* How many of the n bytes, from the first, are whole, valid characters. */
size_t es_utf8_valid(const char *bytes, size_t n);

/* The length of the broken run at the start of bytes (n > 0, and no valid character there) that one U+FFFD stands for:
 * the longest proper beginning of a character, or one byte. This is Unicode's recommendation (chapter 3, "maximal
 * subparts"), and what Python's errors="replace" and browsers do. */
size_t es_utf8_broken(const char *bytes, size_t n);

#define ES_UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

#endif
