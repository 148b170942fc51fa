/* report_html.c - one page that needs nothing else: timeline, subjects, apps, searchable observations. */
#include <math.h>
#include <string.h>

#include "base/sha.h"
#include "intelligence/record.h"
#include "session/report_text.h"

static const char style[] =
    ":root{color-scheme:light dark;--page:#fbfbfa;--card:#fff;--ink:#1d2025;--soft:#5d6470;--line:#dfe2e6;"
    "--debugging:#d1495b;--coding:#2f6fde;--review:#8a5cd6;--meeting:#d98a00;--research:#008f83;--reading:#4c9a2a;"
    "--terminal:#56606e;--other:#a3a9b3}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#14161a;--card:#1d2026;--ink:#e8eaed;--soft:#9ba3af;--line:#33383f;"
    "--debugging:#e8707f;--coding:#6c9cf5;--review:#b08cf0;--meeting:#f0ae3c;--research:#35bfb1;--reading:#7dc35b;"
    "--terminal:#8a95a5;--other:#5f6671}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:66rem;padding:2rem 1.25rem 4rem;background:var(--page);"
    "color:var(--ink);font:16px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.6rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2.2rem 0 .7rem}"
    ".soft,time{color:var(--soft);font-size:.9rem}time{font-variant-numeric:tabular-nums}\n"
    ".note{border-left:3px solid var(--meeting);padding:.3rem .8rem;margin:1rem 0}\n"
    ".bar{position:relative;height:3rem;background:var(--line);border-radius:6px;overflow:hidden;margin-top:1.5rem}"
    ".bar a{position:absolute;top:0;bottom:0;min-width:2px;border-right:1px solid var(--page)}"
    ".bar a:hover,.bar a:focus{filter:brightness(1.15)}\n"
    ".axis{position:relative;height:1.5rem}.axis time{position:absolute;transform:translateX(-50%);white-space:nowrap}"
    ".axis time:first-child{transform:none}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;padding:0;list-style:none;font-size:.9rem}"
    ".dot{display:inline-block;width:.75rem;height:.75rem;border-radius:3px;margin-right:.4rem;vertical-align:-1px}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(18rem,1fr));gap:.9rem}"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8rem 1rem;"
    "overflow-wrap:anywhere}"
    ".card h3{font-size:1rem;margin:0 0 .2rem}.card ul{margin:.4rem 0 0;padding-left:1.1rem;font-size:.92rem}\n"
    ".row{display:grid;grid-template-columns:9rem 1fr 5rem;gap:.7rem;align-items:center;font-size:.92rem;"
    "margin:.25rem 0}.row>span{overflow-wrap:anywhere}.row>.soft{white-space:nowrap}.row "
    "i{display:block;height:.7rem;border-radius:4px;"
    "background:var(--coding);min-width:2px}\n"
    ".block{display:flex;gap:1rem;border-top:1px solid var(--line);padding:.8rem 0;scroll-margin-top:1rem}"
    ".block:target{background:color-mix(in srgb,var(--coding) 10%,transparent)}"
    ".block img{width:220px;height:auto;align-self:flex-start;border-radius:4px;border:1px solid var(--line)}"
    ".block p{margin:.2rem 0;overflow-wrap:anywhere}.block>div{min-width:0}"
    ".chip{display:inline-block;border:1px solid var(--line);border-radius:99px;padding:0 .55rem;font-size:.82rem;"
    "margin:.15rem .3rem 0 0;color:var(--soft)}\n"
    "input{width:100%;font:inherit;padding:.5rem .75rem;border:1px solid var(--line);border-radius:8px;"
    "background:var(--card);color:var(--ink)}table{width:100%;border-collapse:collapse;font-size:.9rem;margin-top:."
    "7rem}"
    "td{border-top:1px solid var(--line);padding:.35rem .6rem .35rem 0;vertical-align:top;overflow-wrap:anywhere}"
    "td:first-child{white-space:nowrap;width:4.5rem}td:nth-child(2){width:7rem}td:nth-child(4){width:30%}"
    "tr[hidden]{display:none}tr.again td{opacity:.6}td a,.card a{color:inherit;text-decoration-color:var(--line)}"
    ".find{display:flex;gap:1rem;align-items:center}.find .soft{white-space:nowrap;min-width:5.5rem}\n"
    "@media(max-width:40rem){.block img{width:96px}td:nth-child(4){display:none}.row{grid-template-columns:6rem 1fr "
    "5.2rem}}\n";

static const char script[] =
    "const box=document.getElementById('find'),rows=[...document.querySelectorAll('#seen tr')],"
    "n=document.getElementById('hits');"
    "box.addEventListener('input',()=>{const words=box.value.toLowerCase().split(/\\s+/);let k=0;"
    "for(const r of rows){const t=r.textContent.toLowerCase();r.hidden=!words.every(w=>t.includes(w));k+=!r.hidden}"
    "n.textContent=k+' of '+rows.length});"
    "document.addEventListener('keydown',e=>{if(e.key==='/'&&e.target!==box){e.preventDefault();box.focus()}});";

static void html(es_str *out, const char *text)
{
    es_append_escaped(out, text, ES_ESCAPE_HTML);
}

static void base64(es_str *out, const uint8_t *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        size_t n = size - i < 3 ? size - i : 3;
        uint32_t bits = (uint32_t)data[i] << 16 | (n > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (n > 2 ? data[i + 2] : 0);
        char four[5] = {digits[bits >> 18], digits[bits >> 12 & 63], n > 1 ? digits[bits >> 6 & 63] : '=',
                        n > 2 ? digits[bits & 63] : '=', '\0'};
        es_str_append(out, four);
    }
}

/* Only the script of this page may run, only pictures within it are shown, and nothing is fetched. */
static void append_policy(es_str *out)
{
    es_sha sha;
    char hex[ES_SHA256_HEX + 1];
    uint8_t digest[ES_SHA256_HEX / 2];
    es_sha256_begin(&sha);
    es_sha_update(&sha, script, sizeof script - 1);
    es_sha_finish(&sha, hex);
    for (size_t i = 0; i < sizeof digest; i++) {
        const char *at = hex + 2 * i;
        int high = at[0] <= '9' ? at[0] - '0' : at[0] - 'a' + 10, low = at[1] <= '9' ? at[1] - '0' : at[1] - 'a' + 10;
        digest[i] = (uint8_t)(high * 16 + low);
    }
    es_str_append(out, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
                       "style-src 'unsafe-inline'; script-src 'sha256-");
    base64(out, digest, sizeof digest);
    es_str_append(out, "'\">\n");
}

/* The name of the colour: one of ours, never a word from a screen. */
static const char *colour(const char *activity)
{
    for (size_t i = 0; es_activities[i] != NULL; i++)
        if (activity != NULL && strcmp(es_activities[i], activity) == 0)
            return es_activities[i];
    return "other";
}

static bool may_tell(const es_report *r, const es_block *b)
{
    return !b->personal || r->include_personal;
}

static void append_time(es_str *out, const es_report *r, double seconds)
{
    es_str_append(out, "<time>");
    es_append_clock(out, seconds, es_report_end(r));
    es_str_append(out, "</time>");
}

static void append_head(es_str *out, const es_report *r)
{
    es_str_append(out, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    append_policy(out);
    es_str_append(out, "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    html(out, r->name);
    es_str_append_format(out, "</title>\n<style>\n%s</style>\n<h1>", style);
    html(out, r->name);
    es_str_append(out, "</h1>\n<div class=\"soft\">");
    es_append_length(out, r->outline->seconds);
    es_str_append_format(out, " · %zu blocks · %zu observations", r->outline->block_count, r->count);
    es_str_append(out, r->model != NULL ? " · " : "");
    html(out, r->model);
    es_str_append(out, "</div>\n");
    if (r->truncated)
        es_str_append(out, "<p class=\"note\">The recording breaks off: this is what it holds.</p>\n");
    if (r->notice != NULL) {
        es_str_append(out, "<p class=\"note\">");
        html(out, r->notice);
        es_str_append(out, "</p>\n");
    }
}

static void append_axis(es_str *out, double end)
{
    static const double steps[] = {10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400};
    double step = steps[0];
    for (size_t i = 0; i < sizeof steps / sizeof *steps && end / step > 8; i++)
        step = steps[i];
    while (end / step > 12)
        step *= 2;
    es_str_append(out, "<div class=\"axis\">");
    for (double t = 0; t <= end * 0.97; t += step) {
        es_str_append_format(out, "<time style=\"left:%.3f%%\">", 100 * t / end);
        es_append_clock(out, t, end);
        es_str_append(out, "</time>");
    }
    es_str_append(out, "</div>\n");
}

static void append_timeline(es_str *out, const es_report *r)
{
    const es_outline *o = r->outline;
    double end = fmax(es_report_end(r), 1);
    es_str_append(out, "<div class=\"bar\">\n");
    for (size_t i = 0; i < o->block_count; i++) {
        const es_block *b = &o->blocks[i];
        bool tell = may_tell(r, b);
        es_str_append_format(out, "<a href=\"#b%zu\" style=\"left:%.3f%%;width:%.3f%%;background:var(--%s)\" title=\"",
                             i, 100 * b->start / end, 100 * (b->end - b->start) / end,
                             tell ? colour(b->activity) : "other");
        es_append_clock(out, b->start, end);
        es_str_append(out, "–");
        es_append_clock(out, b->end, end);
        es_str_append(out, " ");
        html(out, tell ? b->activity : "personal");
        for (size_t t = 0; tell && t < b->topic_count; t++) {
            es_str_append(out, t == 0 ? ": " : ", ");
            html(out, b->topics[t]);
        }
        es_str_append(out, "\"></a>\n");
    }
    es_str_append(out, "</div>\n");
    append_axis(out, end);
}

static void append_legend(es_str *out, const es_share *activities, size_t n)
{
    es_str_append(out, "<ul class=\"legend\">");
    for (size_t i = 0; i < n; i++) {
        es_str_append_format(out,
                             "<li><span class=\"dot\" style=\"background:var(--%s)\"></span>%s <span class=\"soft\">",
                             colour(activities[i].name), colour(activities[i].name));
        es_append_length(out, activities[i].seconds);
        es_str_append(out, "</span></li>");
    }
    es_str_append(out, "</ul>\n");
}

static void append_subjects(es_str *out, const es_report *r)
{
    const es_outline *o = r->outline;
    es_str_append(out, "<h2>Subjects</h2>\n<div class=\"cards\">\n");
    for (size_t s = 0; s < o->subject_count; s++) {
        es_str_append(out, "<div class=\"card\"><h3>");
        es_append_brief(out, o->subjects[s].name, ES_ESCAPE_HTML);
        es_str_append(out, "</h3><span class=\"soft\">");
        es_append_length(out, o->subjects[s].seconds);
        es_str_append(out, "</span>");
        bool open = false;
        if (r->texts != NULL && r->texts[s] != NULL) {
            es_str_append(out, "<p>");
            html(out, r->texts[s]);
            es_str_append(out, "</p>");
        }
        for (size_t i = 0; i < o->block_count; i++) {
            const es_block *b = &o->blocks[i];
            size_t best;
            if (b->subject != s || !may_tell(r, b) || es_block_highlights(r, b, 1, &best) == 0)
                continue;
            es_str_append_format(out, "%s<li><a href=\"#b%zu\">", open ? "" : "<ul>", i);
            append_time(out, r, b->start);
            es_str_append(out, "</a> ");
            es_append_brief(out, r->moments[best].description, ES_ESCAPE_HTML);
            es_str_append(out, "</li>");
            open = true;
        }
        es_str_append(out, open ? "</ul></div>\n" : "</div>\n");
    }
    es_str_append(out, "</div>\n");
}

#define APPS_SHOWN 12

static void append_apps(es_str *out, const es_share *apps, size_t n)
{
    if (n == 0)
        return;
    es_str_append(out, "<h2>Apps on screen</h2>\n");
    for (size_t i = 0; i < n && i < APPS_SHOWN; i++) {
        es_str_append(out, "<div class=\"row\"><span>");
        es_append_brief(out, apps[i].name, ES_ESCAPE_HTML);
        es_str_append_format(out, "</span><i style=\"width:%.2f%%\"></i><span class=\"soft\">",
                             100 * apps[i].seconds / fmax(apps[0].seconds, 0.001));
        es_append_length(out, apps[i].seconds);
        es_str_append(out, "</span></div>\n");
    }
}

static void append_chips(es_str *out, const char *const *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        es_str_append(out, "<span class=\"chip\">");
        es_append_brief(out, items[i], ES_ESCAPE_HTML);
        es_str_append(out, "</span>");
    }
}

static void append_block(es_str *out, const es_report *r, size_t number)
{
    const es_block *b = &r->outline->blocks[number];
    size_t best[ES_HIGHLIGHTS];
    bool tell = may_tell(r, b);
    es_str_append_format(out, "<div class=\"block\" id=\"b%zu\">", number);
    if (tell && r->pictures != NULL && r->pictures[number].jpeg != NULL) {
        es_str_append(out, "<img alt=\"\" src=\"data:image/jpeg;base64,");
        base64(out, r->pictures[number].jpeg, r->pictures[number].size);
        es_str_append(out, "\">");
    }
    es_str_append_format(out, "<div><span class=\"dot\" style=\"background:var(--%s)\"></span><b>",
                         tell ? colour(b->activity) : "other");
    html(out, tell ? b->activity : "personal");
    es_str_append(out, "</b> ");
    append_time(out, r, b->start);
    es_str_append(out, "–");
    append_time(out, r, b->end);
    size_t n = tell ? es_block_highlights(r, b, es_highlights_for(b), best) : 0;
    for (size_t i = 0; i < n; i++) {
        es_str_append(out, "<p>");
        es_append_brief(out, r->moments[best[i]].description, ES_ESCAPE_HTML);
        es_str_append(out, "</p>");
    }
    if (tell) {
        append_chips(out, b->apps, b->app_count);
        append_chips(out, b->topics, b->topic_count);
    }
    es_str_append(out, "</div></div>\n");
}

static void append_joined(es_str *out, const char *const *items, size_t n, const char *between)
{
    for (size_t i = 0; i < n; i++) {
        es_str_append(out, i > 0 ? ", " : between);
        es_append_brief(out, items[i], ES_ESCAPE_HTML);
    }
}

static void append_observations(es_str *out, const es_report *r)
{
    size_t told = 0;
    for (size_t k = 0; k < r->outline->block_count; k++)
        told += may_tell(r, &r->outline->blocks[k]) ? r->outline->blocks[k].count : 0;
    es_str_append_format(out,
                         "<h2>Observations</h2>\n<div class=\"find\"><input id=\"find\" type=\"search\" "
                         "placeholder=\"Search what was seen ( / )\" aria-label=\"Search the observations\"> "
                         "<span class=\"soft\" id=\"hits\">%zu of %zu</span></div>\n<table id=\"seen\">\n",
                         told, told);
    for (size_t k = 0; k < r->outline->block_count; k++) {
        const es_block *b = &r->outline->blocks[k];
        for (size_t i = b->first; may_tell(r, b) && i < b->first + b->count; i++) {
            const es_moment *m = &r->moments[i];
            es_str_append_format(out, "<tr%s><td><a href=\"#b%zu\">", m->reused ? " class=\"again\"" : "", k);
            append_time(out, r, m->at);
            es_str_append_format(out, "</a><td><span class=\"dot\" style=\"background:var(--%s)\"></span>",
                                 colour(m->activity));
            html(out, m->activity);
            es_str_append(out, "<td>");
            es_append_brief(out, m->description, ES_ESCAPE_HTML);
            es_str_append(out, "<td class=\"soft\">");
            append_joined(out, m->apps, m->app_count, "");
            append_joined(out, m->topics, m->topic_count, m->app_count > 0 ? " · " : "");
            es_str_append(out, "\n");
        }
    }
    es_str_append_format(out, "</table>\n<script>%s</script>\n</html>\n", script);
}

void es_report_html(es_str *out, const es_report *r, const es_share *apps, size_t app_count, const es_share *activities,
                    size_t activity_count)
{
    append_head(out, r);
    append_timeline(out, r);
    append_legend(out, activities, activity_count);
    append_subjects(out, r);
    append_apps(out, apps, app_count);
    es_str_append(out, "<h2>Blocks</h2>\n");
    for (size_t i = 0; i < r->outline->block_count; i++)
        append_block(out, r, i);
    append_observations(out, r);
}
