/* fuzz_requests.c - any bytes as the body of a request, in each dialect: read, or refused with a line of text. What is
 * read is not answered: the worker here takes nothing.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -DESCRIBA_VERSION='"0"' -Isrc
 *         -DES_IMAGE_MAX_PIXELS=1048576LL tests/fuzz/fuzz_requests.c
 *         src/serve/{asking,logprobs,ollama,openai,openai_responses,pictures,routes,ticket,waiting}.c
 *         src/engine/{grammar,json_schema*,lexicon,matcher,sampler}.c
 *         src/model/{added_tokens,bpe,byte_alphabet,nfc,pretokenize,token_table,tokenizer*,image*,resize,preprocess}.c
 *         src/base/{file,hash,json,mem,sha,status,str,thread,utf8}.c
 *         -ljansson -lpcre2-8 -lutf8proc -ljpeg -lpng -lwebp -lpthread -lm
 *   ESCRIBA_SOURCE_ROOT=. ./a.out tests/fuzz/corpus-requests
 *
 * The first byte chooses who is asked. Saved cases are in corpus-requests; tests/serve/test_requests.c replays them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "serve/asking.h"
#include "serve/page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static es_picture_door door;
static es_server_options options;
static char model[4096];

static void must(int holds)
{
    if (!holds)
        abort();
}

/* --- in the place of what lies around the readers --- */

const es_server_options *es_server_options_of(const es_server *server)
{
    (void)server;
    return &options;
}

es_status es_catalog_find(const es_catalog *catalog, const char *asked, char **name, char **dir, es_error *err)
{
    (void)catalog;
    (void)asked;
    (void)err;
    *name = es_strdup("model");
    *dir = es_strdup(model);
    return ES_OK;
}

es_status es_catalog_list(const es_catalog *catalog, es_catalog_entries *entries, es_error *err)
{
    (void)catalog;
    (void)err;
    *entries = (es_catalog_entries){0};
    return ES_OK;
}

void es_catalog_entries_free(es_catalog_entries *entries)
{
    (void)entries;
}

es_status es_worker_file(es_worker *worker, es_ticket *ticket, es_error *err)
{
    (void)worker;
    must(ticket->choices >= 1 && ticket->choices <= ES_MAX_CHOICES && ticket->image_count <= ES_MAX_PICTURES);
    for (size_t i = 0; i < ticket->message_count; i++)
        must(ticket->messages[i].count == 0 || ticket->messages[i].content != NULL);
    return es_fail(err, ES_ERR_LIMIT, "nobody works here");
}

void es_worker_drop(es_worker *worker, es_ticket *ticket)
{
    (void)worker;
    es_ticket_free(ticket);
}

int es_worker_patience(es_worker *worker)
{
    (void)worker;
    return 1;
}

bool es_exchange_gone(const es_exchange *x)
{
    (void)x;
    return false;
}

void es_exchange_forget_body(es_exchange *x)
{
    x->body = "";
}

bool es_guard_host(const es_guard *guard, const char *host)
{
    return guard != NULL && host != NULL;
}

bool es_guard_origin(const es_guard *guard, const es_headers *headers)
{
    return guard != NULL && headers != NULL;
}

bool es_guard_shares(const es_guard *guard, const char *origin)
{
    return guard != NULL && origin != NULL;
}

bool es_guard_key(const es_guard *guard, const char *authorization, const char **name)
{
    *name = NULL;
    return guard != NULL && authorization != NULL;
}

#define NOBODY(name)                                                                                                   \
    es_status name(es_exchange *x, es_error *err)                                                                      \
    {                                                                                                                  \
        (void)x;                                                                                                       \
        return es_fail(err, ES_ERR_UNSUPPORTED, "not here");                                                           \
    }
NOBODY(es_ollama_tags)
NOBODY(es_ollama_show)
NOBODY(es_ollama_ps)
NOBODY(es_ollama_version)
NOBODY(es_ollama_pull)
NOBODY(es_ollama_unsupported)
NOBODY(es_health)
NOBODY(es_tell_ready)
NOBODY(es_metrics)
NOBODY(es_status_json)
NOBODY(es_page)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {"/v1/chat/completions", "/v1/responses", "/api/chat", "/api/generate"};
    if (model[0] == '\0') {
        const char *root = getenv("ESCRIBA_SOURCE_ROOT");
        snprintf(model, sizeof model, "%s/models/escriba-tiny", root != NULL ? root : ".");
        es_picture_door_open(&door);
        door.max_pixels = 65536;
        options = (es_server_options){.door = &door, .max_tokens = 100};
        es_sampling_init(&options.sampling);
    }
    if (size == 0)
        return 0;
    char *body = es_strndup((const char *)data + 1, size - 1);
    must(body != NULL);
    es_exchange x = {.method = "POST", .path = paths[data[0] % 4], .body = body, .size = size - 1};
    x.openai = data[0] % 4 < 2;
    snprintf(x.client, sizeof x.client, "fuzzer");
    es_route(&x, &(es_headers){0});
    must(x.code == 400 || x.code == 503 || x.code == 500);
    if (x.code == 500)
        must(strstr(es_str_text(&x.out), "memory") != NULL);
    must(x.out.length > 0 && x.more == NULL && x.end == NULL);
    json_t *answer = json_loads(es_str_text(&x.out), 0, NULL);
    must(answer != NULL && json_object_get(answer, "error") != NULL);
    json_decref(answer);
    es_str_free(&x.out);
    free(body);
    return 0;
}
