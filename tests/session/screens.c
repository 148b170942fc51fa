#include "screens.h"

#include <stdlib.h>
#include <string.h>

/* Letters are patterns of 3 x 5 dots, each two pixels or one wide. */

static void box(screen *s, int x, int y, int w, int h, const uint8_t colour[3])
{
    for (int r = y; r < y + h && r < s->image.height; r++)
        for (int c = x; c < x + w && c < s->image.width; c++)
            memcpy(s->image.rgb + ((size_t)r * (size_t)s->image.width + (size_t)c) * 3, colour, 3);
}

static void letter(screen *s, int column, int row, char text, const uint8_t ink[3])
{
    int x = column * s->letter_w, y = row * s->letter_h;
    unsigned dots = text == ' ' ? 0 : (unsigned)text * 2654435761u;
    box(s, x, y, s->letter_w, s->letter_h, s->paper);
    for (int k = 0; k < 15; k++)
        if (dots >> (8 + k) & 1)
            box(s, x + k % 3 * s->dot, y + 2 + k / 3 * 2 * s->dot, s->dot, s->dot + 1, ink);
}

void screen_word(screen *s, int column, int row, const char *text)
{
    for (int i = 0; text[i] != '\0'; i++)
        letter(s, column + i, row, text[i], s->ink);
}

void screen_fill(screen *s, int top)
{
    int columns = s->image.width / s->letter_w, rows = s->image.height / s->letter_h;
    box(s, 0, 0, s->image.width, s->image.height, s->paper);
    for (int r = 1; r < rows - 1; r++) {
        unsigned seed = (unsigned)(top + r) * 7919u + 17;
        int indent = (int)(seed >> 5) % 4 * 4, length = indent + 10 + (int)(seed >> 3) % (columns / 2);
        for (int c = indent; c < length && c < columns - 2; c++) {
            seed = seed * 1103515245u + 12345;
            letter(s, c, r, (seed >> 16) % 6 == 0 ? ' ' : (char)('a' + (seed >> 20) % 26), s->ink);
        }
    }
    screen_word(s, columns - 8, 0, "12:41");
}

void screen_pointer(screen *s, int x, int y)
{
    static const uint8_t white[3] = {255, 255, 255}, black[3] = {0, 0, 0};
    for (int r = 0; r < 19; r++) {
        box(s, x, y + r, 1 + r * 11 / 18, 1, black);
        if (r > 2)
            box(s, x + 1, y + r, r * 11 / 18 - 1 > 0 ? r * 11 / 18 - 1 : 0, 1, white);
    }
}

const char *const change_names[] = {
    "nothing",      "pointer moved", "caret moved",       "clock's minute",  "a word",        "two words",
    "a word typed", "a line added",  "one line scrolled", "a line selected", "another screen"};

void screen_draw(screen *s, change what)
{
    static const uint8_t blue[3] = {60, 90, 160};
    int rows = s->image.height / s->letter_h, columns = s->image.width / s->letter_w;
    screen_fill(s, what == LINE_SCROLLED ? 1 : what == OTHER_SCREEN ? 500 : 0);
    if (what == WORD_CHANGED || what == TWO_WORDS_CHANGED)
        screen_word(s, 6, rows / 2, "fix");
    if (what == TWO_WORDS_CHANGED)
        screen_word(s, 20, rows / 3, "passed");
    if (what == WORD_TYPED_IN_LAST_LINE)
        screen_word(s, 2, rows - 1, "make");
    if (what == LINE_ADDED)
        screen_word(s, 0, rows - 1, "error: no such file");
    if (what == CLOCK_MINUTE)
        screen_word(s, columns - 4, 0, "2");
    if (what == LINE_SELECTED) {
        for (int i = 0; i < s->letter_h * s->image.width / 3; i++) {
            uint8_t *p =
                s->image.rgb + ((size_t)(rows / 4 * s->letter_h + i / (s->image.width / 3)) * (size_t)s->image.width +
                                (size_t)(i % (s->image.width / 3))) *
                                   3;
            if (memcmp(p, s->paper, 3) == 0)
                memcpy(p, blue, 3);
        }
    }
    box(s, (what == CARET_MOVED ? 9 : 5) * s->letter_w, (rows - 1) * s->letter_h, s->letter_w, s->letter_h, s->ink);
    screen_pointer(s, what == POINTER_MOVED ? 200 : 340, what == POINTER_MOVED ? 300 : 220);
}

const screen_kind screen_kinds[SCREEN_KINDS] = {
    {"dark terminal, 1080 lines", 1920, 1080, 8, 16, 2, {30, 30, 30}, {200, 200, 200}},
    {"light page, 1080 lines", 1920, 1080, 9, 18, 2, {255, 255, 255}, {50, 50, 60}},
    {"pale grey, 720 lines", 1280, 720, 8, 16, 2, {40, 44, 52}, {130, 137, 151}},
    {"small letters, 576 lines", 1024, 576, 6, 12, 1, {0, 0, 0}, {220, 220, 220}},
    {"4K at 100 %", 3840, 2160, 8, 16, 2, {30, 30, 30}, {200, 200, 200}},
};

screen screen_make(const screen_kind *k)
{
    screen s = {.letter_w = k->letter_w, .letter_h = k->letter_h, .dot = k->dot};
    s.image = (es_image){k->width, k->height, malloc((size_t)k->width * (size_t)k->height * 3)};
    memcpy(s.paper, k->paper, 3);
    memcpy(s.ink, k->ink, 3);
    return s;
}
