/* bench_report.c - what was measured as a table for people, as CSV, and as a curve. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"

static void append_cell(es_str *out, int width, const char *format, ...) ES_PRINTF(3, 4);
static void append_cell(es_str *out, int width, const char *format, ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    es_str_append_format(out, "%*s", width, text);
}

static double per(double amount, double seconds)
{
    return seconds > 0.0 ? amount / seconds : 0.0;
}

/* "123 GOP/s   45 %" of a peak that may not be known. */
static void append_share(es_str *out, double rate, double peak, const char *unit)
{
    char text[32], *end = text;
    double value = rate * 1e-9;
    end += snprintf(text, sizeof text, value < 10 ? "%.2f %s" : "%.0f %s", value, unit);
    (void)end;
    es_str_append_format(out, "%14s", text);
    if (peak > 0.0)
        es_str_append_format(out, "%8.0f %%", 100.0 * rate / peak);
}

static void append_phase(es_str *out, const char *name, double seconds, double frames, double total)
{
    es_str_append_format(out, "  %-14s%10.3f%8.1f %%", name, seconds / frames, 100.0 * per(seconds, total));
}

static void append_phases(es_str *out, const es_bench_result *b, const es_bench_run *r)
{
    double n = (double)r->frames, peak = b->bytes ? b->peaks.byte_ops : b->peaks.float_ops;
    double ready = (double)b->frames->count;
    const es_engine_stats *s = &r->stats;
    es_str_append_format(out, "%zu frames at once, %zu x %lld tokens each:\n  %-14s%10s%10s%13s%10s   %s\n", r->at_once,
                         r->frames, b->options->tokens, "phase", "s/frame", "of all", "rate", "of peak", "tokens/s");
    if (!b->frames->drawn) {
        append_phase(out, "decode image", b->frames->seconds_decode * n / ready, n, r->seconds);
        es_str_append(out, "   (before the run)\n");
    }
    append_phase(out, "preprocess", b->frames->seconds_preprocess * n / ready, n, r->seconds);
    es_str_append(out, "   (before the run)\n");
    append_phase(out, "vision", s->seconds_vision, n, r->seconds);
    append_share(out, per(r->vision_ops, s->seconds_vision), peak, "GOP/s");
    es_str_append_format(out, "%11.1f\n", per((double)r->image_tokens, s->seconds_vision));
    append_phase(out, "prefill", s->seconds_prefill, n, r->seconds);
    append_share(out, per(r->prefill_ops, s->seconds_prefill), peak, "GOP/s");
    es_str_append_format(out, "%11.1f\n", per((double)s->prefilled_rows, s->seconds_prefill));
    append_phase(out, "decode", s->seconds_decode, n, r->seconds);
    append_share(out, per(r->decode_bytes, s->seconds_decode), b->peaks.read, "GB/s");
    es_str_append_format(out, "%11.1f\n", per((double)s->decoded_rows, s->seconds_decode));
    append_phase(out, "sample", s->seconds_sample, n, r->seconds);
    es_str_append(out, "\n");
    append_phase(out, "in all", r->seconds, n, r->seconds);
    es_str_append_format(out, "%32s%12.1f\n\n", "", per((double)r->generated, r->seconds));
}

static void append_curve(es_str *out, const es_bench_result *b)
{
    es_str_append_format(out, "  %-24s%9s%11s%11s%11s%13s%13s\n", "run", "frames", "seconds", "s/frame", "frames/s",
                         "tokens/s", "against 1st");
    for (size_t i = 0; i < b->run_count; i++) {
        const es_bench_run *r = &b->runs[i], *first = &b->runs[0];
        double rate = per((double)r->frames, r->seconds), base = per((double)first->frames, first->seconds);
        es_str_append_format(out, "  %-24s", r->name);
        append_cell(out, 9, "%zu", r->frames);
        append_cell(out, 11, "%.2f", r->seconds);
        append_cell(out, 11, "%.3f", r->seconds / (double)r->frames);
        append_cell(out, 11, "%.3f", rate);
        append_cell(out, 13, "%.1f", per((double)r->generated, r->seconds));
        append_cell(out, 13, "x%.2f", per(rate, base));
        es_str_append(out, "\n");
    }
}

static void append_savings(es_str *out, const es_bench_result *b)
{
    es_str_append_format(out, "\n  %-24s%15s%15s%15s%15s%15s%15s\n", "run", "towers run", "pictures kept", "from disk",
                         "answers kept", "prefix tokens", "guesses right");
    for (size_t i = 0; i < b->run_count; i++) {
        const es_engine_stats *s = &b->runs[i].stats;
        es_str_append_format(out, "  %-24s%15lld%15lld%15lld%15lld%15lld", b->runs[i].name,
                             (long long)s->pictures_encoded, (long long)s->pictures_reused, (long long)s->pictures_read,
                             (long long)s->answers_reused, (long long)s->prefix_tokens_reused);
        append_cell(out, 15, "%lld of %lld", (long long)s->tokens_guessed_right, (long long)s->tokens_guessed);
        es_str_append(out, "\n");
    }
}

void es_bench_table(es_str *out, const es_bench_result *b)
{
    char memory[32];
    es_str_append_format(out, "%s\n%s; opened in %.2f s; peak memory %s\n", b->model->dir, b->model->device->detail,
                         b->seconds_open, es_human_bytes((double)b->peak_memory, memory));
    es_str_append_format(out, "this machine, measured beside the runs: %.0f GFLOP/s in float32, ",
                         b->peaks.float_ops * 1e-9);
    es_str_append_format(out, "%.0f GOP/s in products of bytes, %.1f GB/s read\n", b->peaks.byte_ops * 1e-9,
                         b->peaks.read * 1e-9);
    es_str_append_format(out, "frames of %d x %d, %s; shares are of the peak of %s, and for decode of reading\n\n",
                         b->frames->width, b->frames->height, b->frames->drawn ? "drawn" : "from files",
                         b->bytes ? "products of bytes" : "float32");
    for (size_t i = 0; i < b->run_count && !b->options->caches; i++)
        if (i == 0 || i + 1 == b->run_count)
            append_phases(out, b, &b->runs[i]);
    append_curve(out, b);
    if (b->options->caches)
        append_savings(out, b);
    for (size_t i = 0; i < b->run_count; i++)
        if (b->runs[i].failed > 0)
            es_str_append_format(out, "%s: %lld frames failed, the first with: %s\n", b->runs[i].name,
                                 (long long)b->runs[i].failed, b->runs[i].error.message);
}

void es_bench_csv(es_str *out, const es_bench_result *b)
{
    es_str_append(out,
                  "run,at_once,frames,width,height,tokens,device,seconds,frames_per_s,tokens_per_s,"
                  "decode_image_s,preprocess_s,vision_s,prefill_s,decode_s,sample_s,vision_ops_per_s,"
                  "prefill_ops_per_s,decode_bytes_per_s,peak_float_ops,peak_byte_ops,peak_read,"
                  "towers_run,pictures_read,answers_reused,prefix_tokens_reused,guesses,guesses_right,peak_memory\n");
    for (size_t i = 0; i < b->run_count; i++) {
        const es_bench_run *r = &b->runs[i];
        const es_engine_stats *s = &r->stats;
        double ready = (double)b->frames->count, n = (double)r->frames;
        es_str_append_format(out, "\"%s\",%zu,%zu,%d,%d,%lld,\"%s\",%.4f,%.4f,%.2f,", r->name, r->at_once, r->frames,
                             b->frames->width, b->frames->height, b->options->tokens, b->model->device->detail,
                             r->seconds, per(n, r->seconds), per((double)r->generated, r->seconds));
        es_str_append_format(out, "%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,", b->frames->seconds_decode * n / ready,
                             b->frames->seconds_preprocess * n / ready, s->seconds_vision, s->seconds_prefill,
                             s->seconds_decode, s->seconds_sample);
        es_str_append_format(out, "%.4g,%.4g,%.4g,%.4g,%.4g,%.4g,", per(r->vision_ops, s->seconds_vision),
                             per(r->prefill_ops, s->seconds_prefill), per(r->decode_bytes, s->seconds_decode),
                             b->peaks.float_ops, b->peaks.byte_ops, b->peaks.read);
        es_str_append_format(out, "%lld,%lld,%lld,%lld,%lld,%lld,%lld\n", (long long)s->pictures_encoded,
                             (long long)s->pictures_read, (long long)s->answers_reused,
                             (long long)s->prefix_tokens_reused, (long long)s->tokens_guessed,
                             (long long)s->tokens_guessed_right, (long long)b->peak_memory);
    }
}

#define PLOT_WIDTH 560.0
#define PLOT_HEIGHT 300.0
#define PLOT_LEFT 60.0
#define PLOT_TOP 40.0

/* Frames a second over frames at once; the horizontal axis doubles from step to step as the runs do. */
void es_bench_svg(es_str *out, const es_bench_result *b)
{
    double most = 0.0;
    size_t n = b->run_count;
    for (size_t i = 0; i < n; i++) {
        double rate = per((double)b->runs[i].frames, b->runs[i].seconds);
        most = rate > most ? rate : most;
    }
    es_str_append_format(out,
                         "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 400\" font-family=\"sans-serif\" "
                         "font-size=\"12\">\n<rect width=\"680\" height=\"400\" fill=\"white\"/>\n"
                         "<text x=\"%.0f\" y=\"22\" font-size=\"15\">frames a second over frames at once "
                         "(%d x %d, %lld tokens each)</text>\n",
                         PLOT_LEFT, b->frames->width, b->frames->height, b->options->tokens);
    for (int i = 0; i <= 4; i++) {
        double y = PLOT_TOP + PLOT_HEIGHT * (4 - i) / 4;
        es_str_append_format(out,
                             "<line x1=\"%.0f\" y1=\"%.1f\" x2=\"%.0f\" y2=\"%.1f\" stroke=\"#ccc\"/>"
                             "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n",
                             PLOT_LEFT, y, PLOT_LEFT + PLOT_WIDTH, y, PLOT_LEFT - 6, y + 4, most * i / 4);
    }
    es_str_append(out, "<polyline fill=\"none\" stroke=\"#1667c0\" stroke-width=\"2\" points=\"");
    for (size_t i = 0; i < n; i++) {
        double x = PLOT_LEFT + PLOT_WIDTH * ((double)i + 0.5) / (double)n;
        double y = PLOT_TOP + PLOT_HEIGHT * (1.0 - per(per((double)b->runs[i].frames, b->runs[i].seconds), most));
        es_str_append_format(out, "%.1f,%.1f ", x, y);
    }
    es_str_append(out, "\"/>\n");
    for (size_t i = 0; i < n; i++) {
        double x = PLOT_LEFT + PLOT_WIDTH * ((double)i + 0.5) / (double)n, rate;
        rate = per((double)b->runs[i].frames, b->runs[i].seconds);
        es_str_append_format(out,
                             "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#1667c0\"/><text x=\"%.1f\" y=\"%.0f\" "
                             "text-anchor=\"middle\">%zu</text><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.3g"
                             "</text>\n",
                             x, PLOT_TOP + PLOT_HEIGHT * (1.0 - per(rate, most)), x, PLOT_TOP + PLOT_HEIGHT + 18,
                             b->runs[i].at_once, x, PLOT_TOP + PLOT_HEIGHT * (1.0 - per(rate, most)) - 8, rate);
    }
    es_str_append_format(out, "<text x=\"%.0f\" y=\"%.0f\" fill=\"#555\">", PLOT_LEFT, PLOT_TOP + PLOT_HEIGHT + 42);
    for (const char *p = b->model->device->detail; *p != '\0'; p++)
        es_str_append_n(out, *p == '<' || *p == '&' || *p == '>' ? " " : p, 1);
    es_str_append(out, "</text>\n</svg>\n");
}
