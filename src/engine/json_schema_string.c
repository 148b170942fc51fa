/* json_schema_string.c - strings: their length, their pattern, the formats that are known. */
#include <string.h>

#include "engine/json_schema_internal.h"

typedef struct known_format {
    const char *name, *pattern;
} known_format;

#define DAY                                                                                                            \
    "[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"                           \
    "02-(0[1-9]|1[0-9]|2[0-8]))"
#define TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define BYTE "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"

/* RFC 3339 dates and times (without the 29th of February), RFC 4122, RFC 791; other formats are only remarks. */
static const known_format formats[] = {
    {"date", "^" DAY "$"},
    {"time", "^" TIME "$"},
    {"date-time", "^" DAY "T" TIME "$"},
    {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    {"ipv4", "^" BYTE "(\\." BYTE "){3}$"},
};

es_node es_schema_char(es_schema_build *b)
{
    uint8_t escaped[32] = {0};
    for (const char *c = "\"\\bfnrt"; *c != '\0'; c++)
        escaped[*c / 8] = (uint8_t)(escaped[*c / 8] | 1 << (*c % 8));
    es_node escape[] = {es_grammar_text(b->g, "\\"), es_grammar_bytes(b->g, escaped)};
    es_node ways[] = {es_grammar_char(b->g, "\"\\"), es_grammar_sequence(b->g, escape, 2)};
    return es_grammar_choice(b->g, ways, 2);
}

es_node es_schema_string(es_schema_build *b, const json_t *schema)
{
    int32_t min, max;
    if (!es_schema_count(b, schema, "minLength", 0, &min) || !es_schema_count(b, schema, "maxLength", -1, &max))
        return -1;
    if (max >= 0 && max < min)
        return es_schema_fail(b, ES_ERR_ARGUMENT, "maxLength is less than minLength");
    const json_t *given = json_object_get(schema, "pattern");
    const char *pattern = json_string_value(given), *format = json_string_value(json_object_get(schema, "format"));
    bool bounded = min > 0 || max >= 0;
    if (given != NULL && pattern == NULL)
        return es_schema_fail(b, ES_ERR_ARGUMENT, "pattern is not a string");
    for (size_t i = 0; format != NULL && i < sizeof formats / sizeof *formats; i++) {
        if (strcmp(formats[i].name, format) != 0)
            continue;
        if (pattern != NULL || bounded)
            return es_schema_fail(b, ES_ERR_UNSUPPORTED, "format together with pattern or a length is not supported");
        pattern = formats[i].pattern;
    }
    if (pattern != NULL && bounded && given != NULL)
        return es_schema_fail(b, ES_ERR_UNSUPPORTED,
                              "pattern together with minLength or maxLength is not supported: write the length into "
                              "the pattern");
    es_node inside =
        pattern != NULL ? es_schema_pattern(b, pattern) : es_grammar_repeat(b->g, es_schema_char(b), min, max);
    es_node parts[] = {es_grammar_text(b->g, "\""), inside, es_grammar_text(b->g, "\"")};
    return es_grammar_sequence(b->g, parts, 3);
}
