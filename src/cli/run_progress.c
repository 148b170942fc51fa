/* run_progress.c - how far a recording is described: a line on a terminal, lines now and then, or JSON for programs. */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/thread.h"
#include "cli/run.h"

#define REDRAW_SECONDS 0.1
#define JSON_SECONDS 0.5
#define PLAIN_SECONDS 15.0

void es_run_progress_begin(es_run_progress *p, bool quiet, bool json)
{
    *p = (es_run_progress){.json = json, .terminal = isatty(STDERR_FILENO) == 1, .began = es_now()};
    p->out = quiet && !json ? NULL : stderr;
    p->drawn = p->terminal || json ? -1 : p->began;
}

/* Seconds still to go: those left are taken to need a model as often as those done did. Negative: unknown. */
static double seconds_left(const es_run_counts *c, double elapsed)
{
    size_t own = c->asked + c->failed, done = own + c->reused + c->before;
    if (own == 0 || done >= c->expected)
        return done >= c->expected ? 0 : -1;
    double share = (double)own / (double)(own + c->reused);
    return elapsed / (double)own * share * (double)(c->expected - done);
}

static void show_json(const es_run_progress *p, const es_run_counts *c, double elapsed)
{
    es_str line = {0};
    double left = seconds_left(c, elapsed);
    size_t done = c->asked + c->failed + c->reused + c->before;
    es_str_append_format(&line,
                         "{\"done\": %zu, \"total\": %zu, \"described\": %zu, \"reused\": %zu, \"before\": %zu, ", done,
                         c->expected > done ? c->expected : done, c->asked, c->reused, c->before);
    es_str_append_format(&line, "\"failed\": %zu, \"seconds\": %.3f, \"rate\": %.4f, \"eta\": ", c->failed, elapsed,
                         elapsed > 0 ? (double)(c->asked + c->reused) / elapsed : 0);
    if (left < 0)
        es_str_append(&line, "null");
    else
        es_str_append_format(&line, "%.1f", left);
    es_str_append_format(&line, ", \"waited\": %.3f, \"activity\": ", c->waited);
    if (c->activity == NULL)
        es_str_append(&line, "null");
    else
        es_str_append_json(&line, c->activity);
    es_str_append(&line, "}\n");
    fputs(es_str_text(&line), p->out);
    fflush(p->out);
    es_str_free(&line);
}

static void show_line(es_run_progress *p, const es_run_counts *c, double elapsed)
{
    char line[320], time[32];
    size_t done = c->asked + c->failed + c->reused + c->before, total = c->expected > done ? c->expected : done, n = 0;
    struct winsize size;
    double left = seconds_left(c, elapsed);
#define ADD(...) n += (size_t)snprintf(line + n, n < sizeof line ? sizeof line - n : 0, __VA_ARGS__)
    ADD("%zu of %zu (%d%%)  %zu described", done, total, total > 0 ? (int)(100 * done / total) : 0, c->asked);
    if (c->reused > 0)
        ADD(", %zu unchanged", c->reused);
    if (c->before > 0)
        ADD(", %zu known", c->before);
    if (c->failed > 0)
        ADD(", %zu failed", c->failed);
    double rate = elapsed > 0 ? (double)(c->asked + c->reused) / elapsed : 0;
    if (c->asked > 0 && rate >= 1)
        ADD("  %.1f a second", rate);
    else if (c->asked > 0 && rate > 0)
        ADD("  %.1f s each", 1 / rate);
    if (left > 0)
        ADD("  %s left", es_human_seconds(left, time));
    if (c->activity != NULL && *c->activity != '\0')
        ADD("  %s", c->activity);
#undef ADD
    if (!p->terminal) {
        fprintf(p->out, "escriba: %s\n", line);
    } else {
        size_t width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79;
        if (width < sizeof line)
            line[width] = '\0';
        fprintf(p->out, "\r%s\033[K", line);
        p->shown = true;
    }
    fflush(p->out);
}

void es_run_progress_show(es_run_progress *p, const es_run_counts *c, bool now)
{
    double time = es_now(), pause = p->json ? JSON_SECONDS : p->terminal ? REDRAW_SECONDS : PLAIN_SECONDS;
    if (p->out == NULL || (!now && time - p->drawn < pause))
        return;
    p->drawn = time;
    if (p->json)
        show_json(p, c, time - p->began);
    else
        show_line(p, c, time - p->began);
}

void es_run_progress_clear(es_run_progress *p)
{
    if (!p->shown)
        return;
    fputs("\r\033[K", p->out);
    fflush(p->out);
    p->shown = false;
}
