#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What comes from hostile files stays one line: control characters become '?'. */
static void one_line(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
    }
}

es_status es_fail(es_error *err, es_status status, const char *format, ...)
{
    if (err == NULL)
        return status;
    va_list args;
    va_start(args, format);
    err->status = status;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    one_line(err->message);
    return status;
}

es_status es_wrap(es_error *err, es_status status, const char *format, ...)
{
    if (err == NULL)
        return status;
    char old[sizeof err->message];
    memcpy(old, err->message, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n;
    if (used < sizeof err->message) {
        int room = (int)(sizeof err->message - used);
        snprintf(err->message + used, (size_t)room, ": %.*s", room, old);
    }
    one_line(err->message);
    err->status = status;
    return status;
}

es_status es_fail_memory(es_error *err, const char *what, size_t bytes)
{
    if (bytes == 0)
        return es_fail(err, ES_ERR_MEMORY, "out of memory for %s", what);
    return es_fail(err, ES_ERR_MEMORY, "out of memory for %s (%zu bytes)", what, bytes);
}

const char *es_status_name(es_status status)
{
    switch (status) {
    case ES_OK:
        return "ok";
    case ES_ERR_MEMORY:
        return "memory";
    case ES_ERR_IO:
        return "io";
    case ES_ERR_FORMAT:
        return "format";
    case ES_ERR_ARGUMENT:
        return "argument";
    case ES_ERR_UNSUPPORTED:
        return "unsupported";
    case ES_ERR_LIMIT:
        return "limit";
    case ES_ERR_CANCELLED:
        return "cancelled";
    case ES_ERR_NETWORK:
        return "network";
    case ES_ERR_INTERNAL:
        return "internal";
    }
    return "unknown";
}
