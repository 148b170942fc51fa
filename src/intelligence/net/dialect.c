/* dialect.c - what both protocols need. */
#include "intelligence/net/dialect.h"

#include "intelligence/record.h"

void es_append_record_schema(es_str *out)
{
    es_str_append(out, "{\"type\":\"object\",\"properties\":{\"description\":{\"type\":\"string\"},"
                       "\"activity\":{\"type\":\"string\",\"enum\":[");
    for (size_t i = 0; es_activities[i] != NULL; i++)
        es_str_append_format(out, "%s\"%s\"", i > 0 ? "," : "", es_activities[i]);
    es_str_append(out, "]},\"apps\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
                       "\"topics\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}},"
                       "\"required\":[\"description\",\"activity\",\"apps\",\"topics\"],"
                       "\"additionalProperties\":false}");
}

es_status es_reading_add(es_reading *reading, const char *text, es_error *err)
{
    es_str_append(&reading->text, text);
    if (reading->text.length > ES_ANSWER_MAX)
        return es_fail(err, ES_ERR_LIMIT, "the answer has more than %zu bytes of text", ES_ANSWER_MAX);
    return es_str_check(&reading->text, err);
}

const char *es_server_complaint(const json_t *value)
{
    static const char *const keys[] = {"error", "detail", "message"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *item = json_object_get(value, keys[i]);
        if (json_is_object(item))
            item = json_object_get(item, "message");
        if (json_is_string(item) && json_string_length(item) > 0)
            return json_string_value(item);
        if (i == 0 && json_is_object(json_object_get(value, "error")))
            return "an error without a message";
    }
    return NULL;
}

int32_t es_count_of(const json_t *object, const char *key)
{
    const json_t *item = json_object_get(object, key);
    json_int_t value = json_is_integer(item) ? json_integer_value(item) : 0;
    return value < 0 ? 0 : value > INT32_MAX ? INT32_MAX : (int32_t)value;
}
