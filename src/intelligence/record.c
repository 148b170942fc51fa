/* record.c - the tolerant reader of one record. Finds the fields wherever they are; trusts no order and no case. */
#include "intelligence/record.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/utf8.h"
#include "intelligence/record_text.h"

/* What a record may hold, bytes and items: more is noise or a loop. */
#define DESCRIPTION_MAX 2000
#define ITEM_MAX 120
#define ITEMS_MAX 32
/* How many places of an answer are tried as the beginning of a JSON object. */
#define JSON_TRIES 32

const char *const es_activities[] = {"debugging", "coding",   "review", "meeting", "research",
                                     "reading",   "terminal", "other",  NULL};

typedef enum field { DESCRIPTION, ACTIVITY, APPS, TOPICS, FIELDS } field;

static const struct {
    const char *word;
    field which;
} keys[] = {{"description", DESCRIPTION},
            {"activity", ACTIVITY},
            {"applications", APPS},
            {"application", APPS},
            {"programs", APPS},
            {"apps", APPS},
            {"app", APPS},
            {"topics", TOPICS},
            {"topic", TOPICS},
            {"subjects", TOPICS}};
#define KEYS (sizeof keys / sizeof *keys)

/* A key found in the text: where it begins, and where its value does. */
typedef struct key_place {
    field which;
    const char *begin, *value;
} key_place;

void es_record_free(es_record *record)
{
    free(record->description);
    free(record->activity);
    for (size_t i = 0; i < record->app_count; i++)
        free(record->apps[i]);
    for (size_t i = 0; i < record->topic_count; i++)
        free(record->topics[i]);
    free(record->apps);
    free(record->topics);
    *record = (es_record){0};
}

/* --- values --- */

/* The first n bytes or fewer, so that no character is cut. */
static size_t bounded(const char *text, size_t n, size_t most)
{
    if (n <= most)
        return n;
    size_t kept = 0;
    for (size_t len; kept < n; kept += len) {
        len = es_utf8_length(text + kept, n - kept);
        if (len == 0 || kept + len > most)
            break;
    }
    return kept;
}

/* "<one sentence>", "[<programs in use>]": the question's own form, echoed. */
static bool is_placeholder(es_span s)
{
    while (s.n > 0 && (s.at[0] == '[' || es_is_space(s.at[0]))) {
        s.at++;
        s.n--;
    }
    return s.n > 1 && s.at[0] == '<' && memchr(s.at, '>', s.n) != NULL;
}

/* A copy with runs of white-space made one space, bounded. NULL when memory is short. */
static char *copy_text(es_span s, size_t most)
{
    es_str out = {0};
    bool space = false;
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.at[i] <= 0x20 || s.at[i] == 0x7F) {
            space = out.length > 0;
            continue;
        }
        if (space)
            es_str_append_n(&out, " ", 1);
        space = false;
        es_str_append_n(&out, s.at + i, 1);
    }
    char *text = es_str_take(&out, NULL);
    if (text != NULL)
        text[bounded(text, strlen(text), most)] = '\0';
    return text;
}

static bool same_word(const char *a, const char *b)
{
    while (*a != '\0' && tolower((unsigned char)*a) == tolower((unsigned char)*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

static bool is_nothing(const char *item)
{
    static const char *const words[] = {"", "none", "n/a", "na", "null", "nil", "unknown", "-", "..."};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (same_word(item, words[i]))
            return true;
    return false;
}

/* Adds an item unless it is empty, a placeholder, there already, or one too many. */
static es_status add_item(char ***items, size_t *count, es_span s, es_error *err)
{
    s = es_span_trim(s);
    while (s.n > 1 && (s.at[s.n - 1] == '.' || s.at[s.n - 1] == ','))
        s.n--;
    if (s.n == 0 || is_placeholder(s) || *count >= ITEMS_MAX)
        return ES_OK;
    char *item = copy_text(s, ITEM_MAX);
    if (item == NULL)
        return es_fail_memory(err, "a record", s.n);
    bool drop = is_nothing(item);
    for (size_t i = 0; i < *count && !drop; i++)
        drop = same_word((*items)[i], item);
    char **grown = drop ? NULL : es_realloc(*items, *count + 1, sizeof *grown);
    if (drop || grown == NULL) {
        free(item);
        return drop ? ES_OK : es_fail_memory(err, "a record", 0);
    }
    grown[(*count)++] = item;
    *items = grown;
    return ES_OK;
}

/* How far a list reaches: its closing bracket, or where a field ends. Bullets on the lines below belong to it. */
static es_span list_span(es_span s)
{
    while (s.n > 0 && (es_is_space(s.at[0]) || s.at[0] == '*')) {
        if (s.at[0] == '*' && s.n > 1 && s.at[1] == ' ')
            break; /* a bullet */
        s.at++;
        s.n--;
    }
    if (s.n > 0 && s.at[0] == '[') {
        size_t depth = 0;
        for (size_t i = 0; i < s.n; i++) {
            depth += s.at[i] == '[';
            depth -= s.at[i] == ']';
            if (depth == 0)
                return (es_span){s.at + 1, i - 1};
        }
        s.at++;
        s.n--;
    }
    bool bullets = s.n > 1 && (s.at[0] == '-' || s.at[0] == '*' || s.at[0] == '\xE2');
    for (size_t i = 0; i < s.n; i++) {
        bool blank = s.at[i] == '\n' && i + 1 < s.n && s.at[i + 1] == '\n';
        if (s.at[i] == '|' || blank || (s.at[i] == '\n' && !bullets))
            return (es_span){s.at, i};
    }
    return s;
}

static es_status read_list(es_span s, char ***items, size_t *count, es_error *err)
{
    s = list_span(s);
    if (*count > 0 || is_placeholder(s))
        return ES_OK;
    for (size_t i = 0; i < s.n;) {
        while (i < s.n && es_is_space(s.at[i]))
            i++;
        size_t from = i;
        char quote = i < s.n && (s.at[i] == '"' || s.at[i] == '\'') ? s.at[i] : '\0';
        const char *close = quote != '\0' ? memchr(s.at + i + 1, quote, s.n - i - 1) : NULL;
        if (close != NULL)
            i = (size_t)(close - s.at) + 1; /* commas within quotes are the item's */
        while (i < s.n && s.at[i] != ',' && s.at[i] != ';' && s.at[i] != '\n')
            i++;
        es_span item = {s.at + from, i - from};
        if (item.n > 1 && (item.at[0] == '-' || item.at[0] == '*') && item.at[1] == ' ')
            item = (es_span){item.at + 2, item.n - 2};
        ES_TRY(add_item(items, count, item, err));
        i++;
    }
    return ES_OK;
}

static bool contains(const char *text, const char *word)
{
    return strstr(text, word) != NULL;
}

/* Words that models use for an activity, most telling first. */
static const char *activity_of(const char *text)
{
    static const struct {
        const char *part, *activity;
    } parts[] = {
        {"debug", "debugging"},   {"troubleshoot", "debugging"}, {"review", "review"},      {"pull request", "review"},
        {"meeting", "meeting"},   {"video call", "meeting"},     {"conference", "meeting"}, {"call", "meeting"},
        {"terminal", "terminal"}, {"command", "terminal"},       {"shell", "terminal"},     {"console", "terminal"},
        {"cod", "coding"},        {"program", "coding"},         {"develop", "coding"},     {"implement", "coding"},
        {"research", "research"}, {"search", "research"},        {"brows", "research"},     {"investigat", "research"},
        {"read", "reading"},      {"document", "reading"},       {"docs", "reading"},       {"fix", "debugging"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (contains(text, parts[i].part))
            return parts[i].activity;
    return "other";
}

/* The known activity that a value names, or NULL for an empty value or an echo of the question. */
static const char *read_activity(es_span s)
{
    char word[64];
    size_t n = 0;
    s = es_span_trim(s);
    while (s.n > 0 && strchr("[(", s.at[0]) != NULL) {
        s.at++;
        s.n--;
    }
    s = es_span_trim(s);
    if (s.n > 2 && s.at[0] == '<') {
        const char *close = memchr(s.at, '>', s.n);
        if (close != NULL && memchr(s.at, '|', (size_t)(close - s.at)) != NULL)
            return NULL; /* the question's own choice of words */
        s.at++;
        s.n--;
    }
    while (n < s.n && n < sizeof word - 1 && strchr("|\n;])>", s.at[n]) == NULL) {
        word[n] = (char)tolower((unsigned char)s.at[n]);
        n++;
    }
    word[n] = '\0';
    if (n == 0)
        return NULL;
    size_t first = strspn(word, "abcdefghijklmnopqrstuvwxyz");
    for (size_t i = 0; es_activities[i] != NULL; i++)
        if (strlen(es_activities[i]) == first && strncmp(word, es_activities[i], first) == 0)
            return es_activities[i]; /* "coding", "coding, terminal", "coding/debugging" */
    return strpbrk(word, "abcdefghijklmnopqrstuvwxyz") != NULL ? activity_of(word) : NULL;
}

static es_status set_activity(es_record *record, es_span s, es_error *err)
{
    const char *activity = record->activity == NULL ? read_activity(s) : NULL;
    if (activity == NULL)
        return ES_OK;
    record->activity = es_strdup(activity);
    return record->activity != NULL ? ES_OK : es_fail_memory(err, "a record", 0);
}

/* A description ends at the next field, or at a blank line, or when nothing follows at its own line's end. */
static es_status set_description(es_record *record, es_span s, bool last, es_error *err)
{
    while (s.n > 0 && es_is_space(s.at[0])) {
        s.at++;
        s.n--;
    }
    for (size_t i = 0; i < s.n; i++)
        if (s.at[i] == '\n' && (last || (i + 1 < s.n && s.at[i + 1] == '\n'))) {
            s.n = i;
            break;
        }
    for (size_t before = 0; before != s.n;) {
        before = s.n;
        s = es_span_trim(s);
        while (s.n > 0 && strchr("|,;{}", s.at[s.n - 1]) != NULL)
            s.n--;
    }
    if (s.n == 0 || is_placeholder(s) || record->description != NULL)
        return ES_OK;
    record->description = copy_text(s, DESCRIPTION_MAX);
    return record->description != NULL ? ES_OK : es_fail_memory(err, "a record", s.n);
}

static es_status set_field(es_record *record, field which, es_span s, bool last, es_error *err)
{
    switch (which) {
    case DESCRIPTION:
        return set_description(record, s, last, err);
    case ACTIVITY:
        return set_activity(record, s, err);
    case APPS:
        return read_list(s, &record->apps, &record->app_count, err);
    default:
        return read_list(s, &record->topics, &record->topic_count, err);
    }
}

/* --- where the fields are --- */

/* Whether a field may begin at `at`: after a separator, with only decoration between; loosely: after any white-space.
 */
static bool may_begin(const char *text, const char *at, bool strict)
{
    if (at == text)
        return true;
    if (!strict)
        return !isalnum((unsigned char)at[-1]) && at[-1] != '_';
    if (isalnum((unsigned char)at[-1]))
        return false;
    while (at > text && (at[-1] == ' ' || at[-1] == '\t' || strchr("\"'`*_-#>+", at[-1]) != NULL))
        at--;
    return at == text || strchr("\n|,;{:.)!]", at[-1]) != NULL || (unsigned char)at[-1] >= 0x80;
}

/* The key at `at`, with its colon: fills which and value. */
static bool key_at(const char *at, key_place *place)
{
    size_t n = strnlen(at, 40);
    for (size_t i = 0; i < KEYS; i++) {
        if (!es_starts_with(at, n, keys[i].word))
            continue;
        const char *end = at + strlen(keys[i].word);
        end += strspn(end, "\"'`*_ \t");
        if (*end != ':' && *end != '=')
            continue;
        end++;
        if (strncmp(end, "**", 2) == 0 || strncmp(end, "__", 2) == 0)
            end += 2; /* the end of bold print */
        *place = (key_place){keys[i].which, at, end};
        return true;
    }
    return false;
}

/* Back over what decorates a key: quotes, emphasis, a bullet or a number at the beginning of its line. */
static const char *before_decoration(const char *from, const char *at)
{
    while (at > from && strchr(" \t\"'`*_#>+-", at[-1]) != NULL)
        at--;
    const char *number = at;
    if (number > from && (number[-1] == '.' || number[-1] == ')'))
        number--;
    const char *digits = number;
    while (digits > from && isdigit((unsigned char)digits[-1]))
        digits--;
    return digits < number && digits > from && digits[-1] == '\n' ? digits : at;
}

static bool next_key(const char *text, const char *from, bool strict, key_place *place)
{
    for (const char *at = from; *at != '\0'; at++)
        if (isalpha((unsigned char)*at) && may_begin(text, at, strict) && key_at(at, place)) {
            place->begin = before_decoration(from, at);
            return true;
        }
    return false;
}

static bool value_is_placeholder(const key_place *place)
{
    const char *value = place->value + strspn(place->value, " \t*\"");
    return is_placeholder((es_span){value, strcspn(value, "\n")});
}

/* Reads fields from `from` on until a second description begins. */
static es_status read_fields(es_record *record, const char *from, bool strict, es_error *err)
{
    key_place now, next;
    bool more = next_key(from, from, strict, &now);
    while (more) {
        more = next_key(from, now.value, strict, &next);
        bool again = now.which == DESCRIPTION && record->description != NULL && !value_is_placeholder(&now);
        if (again)
            break;
        const char *end = more ? next.begin : now.value + strlen(now.value);
        es_span value = {now.value, (size_t)(end - now.value)};
        ES_TRY(set_field(record, now.which, value, !more, err));
        now = next;
    }
    return ES_OK;
}

/* --- JSON --- */

static es_status set_json_list(const json_t *value, char ***items, size_t *count, es_error *err)
{
    const char *text = json_string_value(value);
    if (text != NULL)
        return read_list((es_span){text, strlen(text)}, items, count, err);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *item = json_string_value(json_array_get(value, i));
        if (item != NULL)
            ES_TRY(add_item(items, count, (es_span){item, strlen(item)}, err));
    }
    return ES_OK;
}

static es_status read_object(es_record *record, json_t *object, es_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        const char *text = json_string_value(value);
        for (size_t i = 0; i < KEYS; i++) {
            if (!same_word(name, keys[i].word))
                continue;
            field which = keys[i].which;
            if (which == APPS)
                ES_TRY(set_json_list(value, &record->apps, &record->app_count, err));
            else if (which == TOPICS)
                ES_TRY(set_json_list(value, &record->topics, &record->topic_count, err));
            else if (text != NULL)
                ES_TRY(set_field(record, which, (es_span){text, strlen(text)}, false, err));
        }
    }
    return ES_OK;
}

/* Commas before a closing bracket, which JSON does not allow and models write. In place. */
static void drop_trailing_commas(char *text)
{
    size_t out = 0;
    bool quoted = false;
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (text[i] == '"' && (i == 0 || text[i - 1] != '\\'))
            quoted = !quoted;
        size_t next = i + 1;
        while (es_is_space(text[next]))
            next++;
        if (!quoted && text[i] == ',' && (text[next] == ']' || text[next] == '}'))
            continue;
        text[out++] = text[i];
    }
    text[out] = '\0';
}

static es_status read_json(es_record *record, const char *text, es_error *err)
{
    const char *at = strchr(text, '{');
    if (at == NULL)
        return ES_OK;
    char *copy = es_strdup(at);
    if (copy == NULL)
        return es_fail_memory(err, "a record", strlen(at));
    drop_trailing_commas(copy);
    es_status status = ES_OK;
    at = copy;
    for (int i = 0; i < JSON_TRIES && at != NULL && status == ES_OK; i++, at = strchr(at + 1, '{')) {
        json_t *object = json_loads(at, JSON_DISABLE_EOF_CHECK, NULL);
        if (object == NULL)
            continue;
        status = read_object(record, object, err);
        json_decref(object);
        if (record->description != NULL && record->activity != NULL)
            break;
        es_record_free(record);
    }
    free(copy);
    return status;
}

/* --- all together --- */

static bool complete(const es_record *record)
{
    return record->description != NULL && record->activity != NULL;
}

/* The last place where a description begins: what follows thinking that was not closed. */
static const char *last_description(const char *text)
{
    const char *from = text, *last = text;
    key_place place;
    while (next_key(text, from, false, &place)) {
        if (place.which == DESCRIPTION && !value_is_placeholder(&place))
            last = place.begin;
        from = place.value;
    }
    return last;
}

static es_status read_any(es_record *record, const char *text, bool unclosed, es_error *err)
{
    if (unclosed)
        text = last_description(text);
    ES_TRY(read_json(record, text, err));
    if (complete(record))
        return ES_OK;
    for (int strict = 1; strict >= 0; strict--) {
        es_record_free(record);
        ES_TRY(read_fields(record, text, strict == 1, err));
        if (complete(record))
            return ES_OK;
    }
    es_record_free(record);
    return ES_OK;
}

es_status es_record_parse(es_record *record, const char *text, es_error *err)
{
    char *clean = NULL;
    bool unclosed = false;
    *record = (es_record){0};
    es_status status = es_record_clean(text, &clean, &unclosed, err);
    if (status == ES_OK)
        status = read_any(record, clean, unclosed, err);
    free(clean);
    if (status == ES_OK) {
        record->parsed = complete(record);
        if (record->description == NULL)
            record->description = es_strdup("");
        if (record->activity == NULL)
            record->activity = es_strdup("");
        if (!complete(record))
            status = es_fail_memory(err, "a record", 0);
    }
    if (status != ES_OK)
        es_record_free(record);
    return status;
}
