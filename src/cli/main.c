/* main.c - finds the verb. */
#include <signal.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/serving.h"
#include "escriba.h"

typedef struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} verb;

static const verb verbs[] = {
    {"run", es_cmd_run, "from a recording to a card of what was done, by subject, with times"},
    {"describe", es_cmd_describe, "say what the user is doing in each frame of a recording"},
    {"sessions", es_cmd_sessions, "list the recordings that were run"},
    {"show", es_cmd_show, "tell a session again, as card, standup, narrative, json or html"},
    {"export", es_cmd_export, "write all observations of a session as jsonl, csv or markdown"},
    {"search", es_cmd_search, "find what was seen by its words"},
    {"forget", es_cmd_forget, "drop a session from the store"},
    {"generate", es_cmd_generate, "answer a prompt in words"},
    {"serve", es_cmd_serve, "answer programs that talk to Ollama or OpenAI"},
    {"bridge", es_cmd_bridge, "answer Escribano over its own protocol"},
    {"pull", es_cmd_pull, "download a model from the hub"},
    {"models", es_cmd_models, "list the models that are here"},
    {"doctor", es_cmd_doctor, "tell what this machine has and what would run"},
    {"inspect", es_cmd_inspect, "tell what a model's files hold"},
    {"trace", es_cmd_trace, "run one prompt and write everything down, to compare implementations"},
    {"bench", es_cmd_bench, "measure where the time goes, beside what this machine can do"},
    {"config", es_cmd_config, "show each setting and where it came from"},
};
#define VERBS (sizeof verbs / sizeof *verbs)

static const verb *find(const char *name)
{
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int unknown(const char *name)
{
    const char *near = es_nearest(name, verbs, VERBS, sizeof *verbs);
    if (near != NULL)
        es_complain("there is no verb %s: did you mean %s?", name, near);
    else
        es_complain("there is no verb %s: see 'escriba help'", name);
    return ES_EXIT_USAGE;
}

static int help(void)
{
    es_str text = {0};
    es_str_append(&text,
                  "escriba says what a user was doing on screen, with a vision-language model on this machine.\n\n"
                  "usage: escriba VERB [FLAGS] ...\n\n");
    for (size_t i = 0; i < VERBS; i++)
        es_str_append_format(&text, "  %-10s %s\n", verbs[i].name, verbs[i].about);
    es_str_append(
        &text,
        "  help VERB  everything about a verb, with examples\n"
        "  --version  the version\n\n"
        "start with:\n  escriba run samples/recording.mp4\n  escriba describe samples/frames\n  escriba doctor\n");
    bool ok = es_print(es_str_text(&text));
    es_str_free(&text);
    return ok ? ES_EXIT_OK : ES_EXIT_FAILED;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write, answered with a line */
    const char *first = argc > 1 ? argv[1] : NULL;
    if (first == NULL) {
        es_complain("which verb? See 'escriba help'");
        return ES_EXIT_USAGE;
    }
    if (strcmp(first, "--version") == 0 || strcmp(first, "version") == 0) {
        char line[64];
        snprintf(line, sizeof line, "escriba %s\n", escriba_version());
        return es_print(line) ? ES_EXIT_OK : ES_EXIT_FAILED;
    }
    bool asks = strcmp(first, "help") == 0 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0;
    if (asks && argc < 3)
        return help();
    const verb *v = find(asks ? argv[2] : first);
    if (v == NULL)
        return unknown(asks ? argv[2] : first);
    if (asks) {
        char *args[] = {argv[2], "--help", NULL};
        return v->run(2, args);
    }
    return v->run(argc - 1, argv + 1);
}
