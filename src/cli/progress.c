/* progress.c - one line that tells how far, how fast and how long still. */
#include <math.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/thread.h"
#include "cli/cli.h"

#define REDRAW_SECONDS 0.1
#define PLAIN_SECONDS 10.0 /* between lines where there is no terminal */
#define LINE_MAX_BYTES 512

static int terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

static void append(char *line, size_t size, int width, const char *part)
{
    size_t n = strlen(line), more = strlen(part);
    if (n + more < size && n + more <= (size_t)width)
        memcpy(line + n, part, more + 1);
}

void es_progress_line(char *line, size_t size, int width, size_t done, size_t total, bool bytes, double elapsed,
                      const char *note)
{
    char part[160], text[2][32];
    double rate = elapsed > 0 ? (double)done / elapsed : 0;
    line[0] = '\0';
    width = width < 2 ? 1 : width - 1; /* a full last column wraps on some terminals */
    if (bytes)
        snprintf(part, sizeof part, "%s of %s", es_human_bytes((double)done, text[0]),
                 total > 0 ? es_human_bytes((double)total, text[1]) : "?");
    else
        snprintf(part, sizeof part, "%zu of %zu", done, total);
    append(line, size, width, part);
    if (total > 0) {
        snprintf(part, sizeof part, " (%d%%)", (int)(100.0 * (double)done / (double)total));
        append(line, size, width, part);
    }
    if (rate > 0) {
        if (bytes)
            snprintf(part, sizeof part, "  %s/s", es_human_bytes(rate, text[0]));
        else if (rate >= 1)
            snprintf(part, sizeof part, "  %.1f a second", rate);
        else
            snprintf(part, sizeof part, "  %.1f s each", 1 / rate);
        append(line, size, width, part);
        if (total > done) {
            snprintf(part, sizeof part, "  %s left", es_human_seconds((double)(total - done) / rate, text[0]));
            append(line, size, width, part);
        }
    }
    if (note != NULL && *note != '\0') {
        snprintf(part, sizeof part, "  %s", note);
        append(line, size, width, part);
    }
}

void es_progress_begin(es_progress *progress, size_t total, bool bytes, bool always)
{
    *progress = (es_progress){.total = total, .unit_is_bytes = bytes, .began = es_now()};
    progress->terminal = isatty(STDERR_FILENO) == 1;
    progress->out = progress->terminal || always ? stderr : NULL;
    progress->drawn = progress->terminal ? -REDRAW_SECONDS : progress->began;
}

void es_progress_show(es_progress *progress, size_t done, const char *note)
{
    double now = es_now();
    progress->done = done;
    if (progress->out == NULL)
        return;
    bool last = progress->total > 0 && done >= progress->total;
    if (!last && now - progress->drawn < (progress->terminal ? REDRAW_SECONDS : PLAIN_SECONDS))
        return;
    progress->drawn = now;
    char line[LINE_MAX_BYTES];
    int width = progress->terminal ? terminal_width() : 200;
    es_progress_line(line, sizeof line, width, done, progress->total, progress->unit_is_bytes != 0,
                     now - progress->began, note);
    if (progress->terminal)
        fprintf(progress->out, "\r%s\033[K", line);
    else
        fprintf(progress->out, "%s\n", line);
    fflush(progress->out);
    progress->width_drawn = (int)strlen(line);
}

void es_progress_clear(es_progress *progress)
{
    if (progress->out == NULL || !progress->terminal || progress->width_drawn == 0)
        return;
    fputs("\r\033[K", progress->out);
    fflush(progress->out);
    progress->width_drawn = 0;
    progress->drawn = 0;
}
