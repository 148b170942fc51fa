/* screens.h - drawn terminals and pages, and a labelled set of changes to them: what counts as change and what doesn't.
 */
#ifndef ES_TEST_SCREENS_H
#define ES_TEST_SCREENS_H

#include "model/image.h"

typedef struct screen {
    es_image image;
    int letter_w, letter_h, dot; /* pixels */
    uint8_t paper[3], ink[3];
} screen;

typedef struct screen_kind {
    const char *name;
    int width, height, letter_w, letter_h, dot;
    uint8_t paper[3], ink[3];
} screen_kind;
enum { SCREEN_KINDS = 5 };
extern const screen_kind screen_kinds[SCREEN_KINDS];

typedef enum change {
    NOTHING,
    POINTER_MOVED,
    CARET_MOVED,
    CLOCK_MINUTE,
    LAST_HARMLESS = CLOCK_MINUTE,
    WORD_CHANGED,
    TWO_WORDS_CHANGED,
    WORD_TYPED_IN_LAST_LINE,
    LINE_ADDED,
    LINE_SCROLLED,
    LINE_SELECTED,
    OTHER_SCREEN,
    CHANGES
} change;
extern const char *const change_names[CHANGES];

/* Free the picture with es_image_free; without memory there is none. */
screen screen_make(const screen_kind *kind);
/* Lines of made-up words, the same for the same `top`, the number of the first line shown; a clock on the right. */
void screen_fill(screen *s, int top);
void screen_word(screen *s, int column, int row, const char *text);
void screen_pointer(screen *s, int x, int y);
/* The screen of the set after the change. */
void screen_draw(screen *s, change what);

#endif
