/* generate.c - words from words. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "escriba.h"

#define STDIN_LIMIT ((size_t)16 << 20)

static const es_usage usage = {
    .verb = "generate",
    .synopsis = "[FLAGS] PROMPT... | -",
    .text =
        "Answers a prompt (the arguments, joined by spaces, or with - what stdin holds) and prints the answer as it\n"
        "is generated. The model in the box knows nothing but screens: use a larger one here.\n",
    .settings = ES_SET_MODEL | ES_SET_SAMPLING | ES_SET_WORDS,
    .examples = "  escriba generate --model ./Qwen3-VL-2B-Instruct What is a mutex?\n"
                "  git diff | escriba generate --model ./Qwen3-VL-2B-Instruct --max-tokens 100 -\n",
};

static int read_operand(void *context, const char *value)
{
    es_str *prompt = context;
    if (strcmp(value, "-") != 0) {
        if (prompt->length > 0)
            es_str_append(prompt, " ");
        es_str_append(prompt, value);
        return ES_EXIT_OK;
    }
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, stdin)) > 0 && prompt->length < STDIN_LIMIT;)
        es_str_append_n(prompt, block, n);
    if (prompt->length < STDIN_LIMIT && strlen(es_str_text(prompt)) == prompt->length)
        return ES_EXIT_OK;
    es_complain("generate: stdin is not text, or longer than 16 MiB");
    return ES_EXIT_USAGE;
}

static int on_text(void *user_data, const char *piece)
{
    bool *written = user_data;
    *written = es_print(piece);
    return *written ? 0 : 1;
}

static void ask_to_stop(void *context)
{
    escriba_cancel(context);
}

static es_status generate(const es_settings *settings, const char *prompt, es_signals *signals, bool *written,
                          es_error *err)
{
    escriba_request request;
    escriba_error error = {0};
    escriba_model *model = NULL;
    char *text = NULL;
    ES_TRY(es_open_model(settings, true, &model, err));
    es_fill_request(settings, &request);
    request.prompt = prompt;
    es_signals_ask(signals, ask_to_stop, model);
    escriba_status status = escriba_generate_text(model, &request, on_text, written, &text, &error);
    es_signals_ask(signals, NULL, NULL);
    escriba_text_free(text);
    escriba_free(model);
    return status == ESCRIBA_OK ? ES_OK : es_fail(err, (es_status)status, "%s", error.message);
}

static int run(const es_settings *settings, const char *prompt)
{
    es_signals *signals = NULL;
    es_error err = {0};
    bool written = true;
    es_status status = es_signals_begin(&signals, &err);
    if (status == ES_OK)
        status = generate(settings, prompt, signals, &written, &err);
    int code = ES_EXIT_OK;
    if (status == ES_ERR_CANCELLED && signals != NULL && es_signals_caught(signals))
        code = ES_EXIT_INTERRUPTED;
    else if (!written || (status == ES_OK && !es_print("\n")))
        code = ES_EXIT_FAILED;
    else if (status != ES_OK)
        code = es_complain_error(&err);
    es_signals_end(signals);
    return code;
}

int es_cmd_generate(int argc, char **argv)
{
    es_str prompt = {0};
    es_reader reader = {NULL, read_operand, &prompt};
    es_settings *settings = NULL;
    bool done;
    int code = es_read_command_line(argc, argv, &usage, &reader, &settings, &done);
    if (code == ES_EXIT_OK && !done && prompt.length == 0) {
        es_complain("generate: what shall be answered? Give a prompt, or - to read it from stdin");
        code = ES_EXIT_USAGE;
    }
    if (code == ES_EXIT_OK && !done)
        code = run(settings, es_str_text(&prompt));
    es_str_free(&prompt);
    es_settings_free(settings);
    return code;
}
