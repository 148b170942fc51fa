/* doctor.c - what this machine has, what is installed, and what would run. */
#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>
#include <webp/decode.h>

#include "base/thread.h"
#include "cli/cli.h"
#include "compute/cpu/cpu.h"
#include "compute/mlx/mlx.h"
#include "engine/shelf.h"
#include "escriba.h"
#include "hub/hub.h"

enum { FLAG_JSON };
static const es_flag flags[] = {{"--json", NULL, "print JSON"}};
static const es_usage usage = {
    .verb = "doctor",
    .synopsis = "[FLAGS]",
    .text = "Tells what this machine has (processor, instruction sets, memory), which models are here, which backends\n"
            "answer, what 'escriba describe' would run, on what and why, and the libraries' versions. Exit 0 when "
            "describe\n"
            "would run.\n",
    .flags = flags,
    .flag_count = 1,
    .settings = ES_SET_MODEL,
    .examples = "  escriba doctor\n"
                "  escriba doctor --model ./Qwen3-VL-2B-Instruct --json\n",
};

static const char *const servers[] = {"ollama", "openai"};

typedef struct findings {
    char cpu[256];
    size_t cores;
    double memory, memory_free; /* bytes; 0: unknown */
    char device[96];            /* "" when there is none */
    es_error device_error;
    es_mlx_info mlx;
    es_error mlx_error; /* why there is no MLX */
    es_hub_models models;
    es_choice choice; /* what would run, where it can */
    bool runs;
    es_error error;         /* why nothing would run */
    const char *fallback;   /* "" when none is named */
    const char *vision_dir; /* NULL: none */
    es_shelf_size vision_size;
    int64_t vision_most; /* bytes */
    char servers[2][4000];
    char libraries[6][2][32];
} findings;

/* Bytes from a line of /proc/meminfo, or 0. */
static double meminfo(const char *key)
{
    char line[128];
    double bytes = 0;
    size_t n = strlen(key);
    FILE *file = fopen("/proc/meminfo", "r");
    if (file == NULL)
        return 0;
    while (bytes <= 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, n) == 0 && line[n] == ':')
            bytes = strtod(line + n + 1, NULL) * 1024;
    fclose(file);
    return bytes;
}

static void find_memory(findings *f)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    f->memory = pages > 0 && size > 0 ? (double)pages * (double)size : 0;
    f->memory_free = meminfo("MemAvailable");
}

static void set_library(findings *f, size_t i, const char *name, const char *version)
{
    snprintf(f->libraries[i][0], sizeof f->libraries[i][0], "%s", name);
    snprintf(f->libraries[i][1], sizeof f->libraries[i][1], "%s", version);
}

static void find_libraries(findings *f)
{
    char text[64] = "?";
    int webp = WebPGetDecoderVersion();
    set_library(f, 0, "jansson", jansson_version_str());
    if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) < (int)sizeof text)
        pcre2_config(PCRE2_CONFIG_VERSION, text);
    text[strcspn(text, " ")] = '\0'; /* a date follows */
    set_library(f, 1, "pcre2", text);
    set_library(f, 2, "utf8proc", utf8proc_version());
    set_library(f, 3, "libpng", png_get_libpng_ver(NULL));
    snprintf(text, sizeof text, "%d.%d.%d", webp >> 16 & 255, webp >> 8 & 255, webp & 255);
    set_library(f, 4, "libwebp", text);
    set_library(f, 5, "libcurl", curl_version_info(CURLVERSION_NOW)->version);
}

static void find(findings *f, const es_settings *settings)
{
    es_device *device = NULL;
    es_cpu_describe(f->cpu, sizeof f->cpu);
    f->cores = es_cpu_count();
    find_memory(f);
    find_libraries(f);
    if (es_open_device(settings, false, &device, &f->device_error) == ES_OK) {
        snprintf(f->device, sizeof f->device, "%s", device->detail);
        es_device_free(device);
    }
    f->vision_dir = es_vision_folder(settings);
    f->vision_most = es_vision_folder_bytes(settings);
    if (f->vision_dir != NULL)
        es_shelf_measure(f->vision_dir, &f->vision_size);
    f->fallback = es_settings_text(settings, ES_SETTING_FALLBACK);
    es_mlx_describe(&f->mlx, &f->mlx_error);
    es_hub_list(&f->models, &f->error);
    bool chosen = es_choose(settings, false, &f->choice, &f->error) == ES_OK;
    for (size_t i = 0; i < 2; i++) {
        bool taken = chosen && strcmp(f->choice.backend, servers[i]) == 0;
        es_server_tells(settings, servers[i], taken ? &f->choice : NULL, f->servers[i], sizeof f->servers[i]);
    }
    if (!chosen)
        return;
    escriba_model *opened = NULL;
    f->runs = es_open_model(settings, false, &opened, &f->error) == ES_OK;
    escriba_free(opened);
}

static void append_verdict(es_str *out, const findings *f)
{
    const es_choice *c = &f->choice;
    bool native = c->backend != NULL && (strcmp(c->backend, "native") == 0 || strcmp(c->backend, "mlx") == 0);
    if (!f->runs)
        es_str_append_format(out, "nothing: %s", f->error.message);
    else if (native)
        es_str_append_format(out, "%s (%s; %s) on %s", c->model, c->backend, c->why, f->device);
    else
        es_str_append_format(out, "%s (%s; %s)", c->model != NULL ? c->model : "the server's model", c->backend,
                             c->why);
    if (*f->fallback != '\0')
        es_str_append_format(out, "; then %s", f->fallback);
}

static void append_sets(es_str *out, const char *between, const char *quote)
{
    bool first = true;
    for (int i = ES_ISA_SCALAR; i <= ES_ISA_NEON; i++) {
        if (!es_cpu_has_isa((es_isa)i))
            continue;
        es_str_append_format(out, "%s%s%s%s", first ? "" : between, quote, es_isa_name((es_isa)i), quote);
        first = false;
    }
}

static void append_mlx(es_str *out, const findings *f)
{
    char memory[32];
    if (f->mlx_error.status != ES_OK)
        es_str_append_format(out, "              mlx: %s\n", f->mlx_error.message);
    else
        es_str_append_format(out, "              mlx: %s on %s (%s), %s of memory\n", f->mlx.version, f->mlx.device,
                             f->mlx.gpu ? "a GPU" : "it has no GPU here", es_human_bytes(f->mlx.memory, memory));
}

static void append_vision_cache(es_str *out, const findings *f)
{
    char bytes[32], most[32];
    es_str_append(out, "vision cache  ");
    if (f->vision_dir == NULL)
        es_str_append(out, "in memory only; --vision-cache DIR keeps it on the disk\n");
    else
        es_str_append_format(out, "%s: %zu pictures, %s of at most %s\n", f->vision_dir, f->vision_size.files,
                             es_human_bytes((double)f->vision_size.bytes, bytes),
                             es_human_bytes((double)f->vision_most, most));
}

static void append_vision_cache_json(es_str *out, const findings *f)
{
    es_str_append(out, ", \"vision_cache\": {\"path\": ");
    es_str_append_json(out, f->vision_dir != NULL ? f->vision_dir : "");
    es_str_append_format(out, ", \"pictures\": %zu, \"bytes\": %" PRId64 ", \"limit\": %" PRId64 "}",
                         f->vision_size.files, f->vision_size.bytes, f->vision_most);
}

static void append_mlx_json(es_str *out, const findings *f)
{
    es_str_append(out, ", \"mlx\": {\"version\": ");
    es_str_append_json(out, f->mlx.version);
    es_str_append(out, ", \"device\": ");
    es_str_append_json(out, f->mlx.device);
    es_str_append_format(out, ", \"gpu\": %s, \"memory\": %.0f, \"error\": ", f->mlx.gpu ? "true" : "false",
                         f->mlx.memory);
    es_str_append_json(out, f->mlx_error.message);
    es_str_append(out, "}");
}

static void append_text(es_str *out, const findings *f)
{
    char a[32], b[32];
    es_str_append_format(out, "escriba       %s\n", escriba_version());
    es_str_append_format(out, "processor     %s\n", f->cpu);
    es_str_append(out, "instructions  ");
    append_sets(out, ", ", "");
    es_str_append_format(out, "; used: %s\n", f->device[0] != '\0' ? f->device : f->device_error.message);
    es_str_append_format(out, "cores         %zu\n", f->cores);
    es_str_append_format(out, "memory        %s, %s free\n", es_human_bytes(f->memory, a),
                         f->memory_free > 0 ? es_human_bytes(f->memory_free, b) : "?");
    es_str_append(out, "libraries     ");
    for (size_t i = 0; i < 6; i++)
        es_str_append_format(out, "%s%s %s", i > 0 ? ", " : "", f->libraries[i][0], f->libraries[i][1]);
    es_str_append(out, "\nmodels        ");
    for (size_t i = 0; i < f->models.count; i++) {
        const es_hub_model *m = &f->models.items[i];
        es_str_append_format(out, "%s%s (%s, %s%s%s)", i > 0 ? "\n              " : "", m->name, m->precision,
                             es_human_bytes((double)m->size, a), m->complete ? "" : ", missing: ", m->missing);
    }
    es_str_append(out, f->models.count > 0 ? "\n" : "none: 'escriba pull' gets one\n");
    append_vision_cache(out, f);
    es_str_append_format(out, "backends      native: %s\n", f->device[0] != '\0' ? "yes" : f->device_error.message);
    append_mlx(out, f);
    for (size_t i = 0; i < 2; i++)
        es_str_append_format(out, "              %s: %s\n", servers[i], f->servers[i]);
    es_str_append(out, "would run     ");
    append_verdict(out, f);
    es_str_append(out, "\n");
}

static void append_json(es_str *out, const findings *f)
{
    es_str verdict = {0};
    append_verdict(&verdict, f);
    es_str_append(out, "{\"version\": ");
    es_str_append_json(out, escriba_version());
    es_str_append(out, ", \"processor\": ");
    es_str_append_json(out, f->cpu);
    es_str_append(out, ", \"instruction_sets\": [");
    append_sets(out, ", ", "\"");
    es_str_append(out, "], \"device\": ");
    es_str_append_json(out, f->device);
    es_str_append_format(out, ", \"cores\": %zu, \"memory\": %.0f, \"memory_free\": %.0f, \"libraries\": {", f->cores,
                         f->memory, f->memory_free);
    for (size_t i = 0; i < 6; i++) {
        es_str_append_format(out, "%s\"%s\": ", i > 0 ? ", " : "", f->libraries[i][0]);
        es_str_append_json(out, f->libraries[i][1]);
    }
    es_str_append(out, "}, \"models\": [");
    for (size_t i = 0; i < f->models.count; i++) {
        const es_hub_model *m = &f->models.items[i];
        es_str_append(out, i > 0 ? ", {\"name\": " : "{\"name\": ");
        es_str_append_json(out, m->name);
        es_str_append(out, ", \"path\": ");
        es_str_append_json(out, m->path);
        es_str_append(out, ", \"precision\": ");
        es_str_append_json(out, m->precision);
        es_str_append_format(out, ", \"bytes\": %" PRIu64 ", \"complete\": %s}", m->size,
                             m->complete ? "true" : "false");
    }
    es_str_append_format(out, "], \"backends\": {\"native\": %s, \"mlx\": %s", f->device[0] != '\0' ? "true" : "false",
                         f->mlx_error.status == ES_OK ? "true" : "false");
    for (size_t i = 0; i < 2; i++) {
        es_str_append_format(out, ", \"%s\": ", servers[i]);
        es_str_append_json(out, f->servers[i]);
    }
    es_str_append(out, "}");
    append_mlx_json(out, f);
    append_vision_cache_json(out, f);
    es_str_append(out, ", \"backend\": ");
    es_str_append_json(out, f->choice.backend != NULL ? f->choice.backend : "");
    es_str_append_format(out, ", \"would_run\": %s, \"verdict\": ", f->runs ? "true" : "false");
    es_str_append_json(out, es_str_text(&verdict));
    es_str_append(out, "}\n");
    es_str_free(&verdict);
}

static int read_flag(void *context, size_t index, const char *value)
{
    (void)index;
    (void)value;
    *(bool *)context = true;
    return ES_EXIT_OK;
}

int es_cmd_doctor(int argc, char **argv)
{
    bool json = false, done;
    es_reader reader = {read_flag, NULL, &json};
    es_settings *settings = NULL;
    int code = es_read_command_line(argc, argv, &usage, &reader, &settings, &done);
    if (code == ES_EXIT_OK && !done) {
        findings f = {0};
        es_str out = {0};
        find(&f, settings);
        if (json)
            append_json(&out, &f);
        else
            append_text(&out, &f);
        code = es_print(es_str_text(&out)) && f.runs ? ES_EXIT_OK : ES_EXIT_FAILED;
        es_str_free(&out);
        es_hub_models_free(&f.models);
        es_choice_free(&f.choice);
    }
    es_settings_free(settings);
    return code;
}
