#include "model/tokenizer_parts.h"

/* The byte-level alphabet (published with GPT-2): bytes that print in Latin-1 are themselves, the other 68 take the
 * characters from U+0100 on in order of their value. */
static bool prints(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

uint32_t es_byte_to_char(uint8_t byte)
{
    if (prints(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100U + byte;
    if (byte == 0xAD)
        return 0x143;
    return 0x121U + byte - 0x7FU; /* 0x7F .. 0xA0 */
}

int es_char_to_byte(uint32_t character)
{
    if (character <= 0xFF)
        return prints(character) ? (int)character : -1;
    if (character <= 0x120)
        return (int)character - 0x100;
    if (character <= 0x142)
        return (int)character - 0x121 + 0x7F;
    return character == 0x143 ? 0xAD : -1;
}

uint32_t es_utf8_value(const char *bytes, size_t length)
{
    const unsigned char *b = (const unsigned char *)bytes;
    switch (length) {
    case 1:
        return b[0];
    case 2:
        return (b[0] & 0x1FU) << 6 | (b[1] & 0x3FU);
    case 3:
        return (b[0] & 0x0FU) << 12 | (b[1] & 0x3FU) << 6 | (b[2] & 0x3FU);
    default:
        return (b[0] & 0x07U) << 18 | (b[1] & 0x3FU) << 12 | (b[2] & 0x3FU) << 6 | (b[3] & 0x3FU);
    }
}

size_t es_utf8_write(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}
