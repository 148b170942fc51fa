#include "cli/results.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static void append_strings(es_str *out, const char *key, const char *const *items, size_t count)
{
    es_str_append_format(out, ", \"%s\": [", key);
    for (size_t i = 0; i < count; i++) {
        es_str_append(out, i > 0 ? ", " : "");
        es_str_append_json(out, items[i]);
    }
    es_str_append(out, "]");
}

static void append_text(es_str *out, const char *key, const char *text)
{
    es_str_append_format(out, ", \"%s\": ", key);
    es_str_append_json(out, text);
}

static void append_timestamp(es_str *out, double seconds)
{
    if (seconds < 0)
        es_str_append(out, "null");
    else
        es_str_append_format(out, "%.10g", seconds);
}

static void append_json(es_str *out, const es_input *input, const escriba_observation *seen, bool raw)
{
    es_str_append_format(out, "{\"index\": %zu, \"timestamp\": ", input->index);
    append_timestamp(out, input->timestamp);
    append_text(out, "image", input->key);
    append_text(out, "description", seen->description);
    append_text(out, "activity", seen->activity);
    append_strings(out, "apps", seen->apps, seen->app_count);
    append_strings(out, "topics", seen->topics, seen->topic_count);
    es_str_append_format(out, ", \"parsed\": %s", seen->parsed ? "true" : "false");
    if (seen->status == ESCRIBA_OK && (raw || !seen->parsed))
        append_text(out, "raw_text", seen->raw_text);
    if (seen->status == ESCRIBA_OK && !seen->parsed)
        append_text(out, "reason", seen->reason);
    es_str_append_format(out, ", \"truncated\": %s, \"prompt_tokens\": %d, \"image_tokens\": %d",
                         seen->truncated ? "true" : "false", seen->prompt_tokens, seen->image_tokens);
    es_str_append_format(out, ", \"generated_tokens\": %d, \"seconds\": {\"decode_image\": ", seen->generated_tokens);
    es_append_seconds(out, seen->seconds_decode_image);
    es_str_append(out, ", \"vision\": ");
    es_append_seconds(out, seen->seconds_vision);
    es_str_append(out, ", \"prefill\": ");
    es_append_seconds(out, seen->seconds_prefill);
    es_str_append(out, ", \"generate\": ");
    es_append_seconds(out, seen->seconds_generate);
    es_str_append(out, "}");
    if (seen->status != ESCRIBA_OK)
        append_text(out, "error", seen->error);
    es_str_append(out, "}");
}

static void append_joined(es_str *out, const char *before, const char *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        es_str_append_format(out, "%s%s", i == 0 ? before : ", ", items[i]);
}

/* "0:30  coding     The user edits a file. [VS Code] #python, tests" */
static void append_line(es_str *out, const es_input *input, const escriba_observation *seen)
{
    char time[32];
    if (input->timestamp >= 0)
        es_str_append_format(out, "%7s  ", es_human_seconds(input->timestamp, time));
    else
        es_str_append_format(out, "%s  ", input->key);
    if (seen->status != ESCRIBA_OK) {
        es_str_append_format(out, "failed: %s", seen->error);
    } else if (!seen->parsed) {
        es_str_append_format(out, "no record: %s", seen->raw_text);
    } else {
        es_str_append_format(out, "%-9s  %s", seen->activity, seen->description);
        append_joined(out, "  [", seen->apps, seen->app_count);
        es_str_append(out, seen->app_count > 0 ? "]" : "");
        append_joined(out, "  #", seen->topics, seen->topic_count);
    }
    for (size_t i = 0; i < out->length; i++)
        if ((unsigned char)out->data[i] < 0x20 || out->data[i] == 0x7F)
            out->data[i] = ' '; /* a model's words and file names are data, not commands to a terminal */
}

void es_result_append(es_str *out, const es_input *input, const escriba_observation *seen, es_result_form form,
                      bool raw)
{
    if (form == ES_RESULT_TEXT)
        append_line(out, input, seen);
    else
        append_json(out, input, seen, raw);
}

static bool write_all(es_results *r, const char *data, size_t n)
{
    while (n > 0 && r->failed_errno == 0) {
        ssize_t got = write(r->fd, data, n);
        if (got < 0 && errno != EINTR)
            r->failed_errno = errno;
        if (got > 0) {
            data += got;
            n -= (size_t)got;
        }
    }
    return r->failed_errno == 0;
}

/* One record with what separates it from the last. Frees it. */
static bool write_record(es_results *r, char *record)
{
    es_str out = {0};
    if (r->form == ES_RESULT_ARRAY)
        es_str_append(&out, r->began ? ",\n" : "[\n");
    es_str_append(&out, record);
    if (r->form != ES_RESULT_ARRAY)
        es_str_append(&out, "\n");
    free(record);
    if (out.failed)
        r->failed_errno = ENOMEM;
    else if (write_all(r, out.data, out.length))
        r->began = true;
    es_str_free(&out);
    return r->failed_errno == 0;
}

bool es_results_put(es_results *results, size_t place, const es_input *input, const escriba_observation *seen)
{
    es_str out = {0};
    es_result_append(&out, input, seen, results->form, results->raw);
    char *record = es_str_take(&out, NULL);
    if (record == NULL) {
        results->failed_errno = ENOMEM;
        return false;
    }
    if (results->waiting == NULL)
        return write_record(results, record);
    results->waiting[place] = record;
    while (results->next < results->total && results->waiting[results->next] != NULL) {
        char *ready = results->waiting[results->next];
        results->waiting[results->next++] = NULL;
        if (!write_record(results, ready))
            return false;
    }
    return true;
}

bool es_results_finish(es_results *results)
{
    for (size_t i = results->next; results->waiting != NULL && i < results->total; i++) {
        char *record = results->waiting[i];
        results->waiting[i] = NULL;
        if (record != NULL && results->failed_errno == 0)
            write_record(results, record); /* interrupted: what is done is kept, gaps and all */
        else
            free(record);
    }
    if (results->form == ES_RESULT_ARRAY && results->failed_errno == 0) {
        const char *end = results->began ? "\n]\n" : "[]\n";
        write_all(results, end, strlen(end));
    }
    return results->failed_errno == 0;
}

void es_results_complain(const es_results *results)
{
    if (results->failed_errno == EPIPE)
        es_complain("stopped: the reader of %s is gone", results->name);
    else if (results->failed_errno != 0)
        es_complain("cannot write to %s: %s", results->name, strerror(results->failed_errno));
}
