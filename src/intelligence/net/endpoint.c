/* endpoint.c - addresses, by libcurl's own reader of URLs: what it sends to is what was checked. */
#include "intelligence/net/endpoint.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define OLLAMA_PORT "11434"

bool es_endpoint_is_one(const char *text)
{
    return text == NULL || (text[0] != '@' && text[strcspn(text, " \t,")] == '\0');
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

/* Keys in an address would be shown with it: an error about one does not repeat it. */
static const char *fault_of(CURLU *url, const char *text)
{
    char *scheme = NULL;
    if (strlen(text) > 2000 || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
        return "is not an address of a server";
    bool http = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    if (!http)
        return "is not an http or https address";
    if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD))
        return "holds a user name or password: a key belongs in OPENAI_API_KEY";
    if (has_part(url, CURLUPART_QUERY) || has_part(url, CURLUPART_FRAGMENT))
        return "has a query or fragment: give the address that requests' paths are added to";
    return NULL;
}

/* The address in its normal form without a trailing slash. */
static es_status compose(CURLU *url, const char *path, char **base, es_error *err)
{
    char *text = NULL;
    if ((path != NULL && curl_url_set(url, CURLUPART_PATH, path, 0) != CURLUE_OK) ||
        curl_url_get(url, CURLUPART_URL, &text, 0) != CURLUE_OK)
        return es_fail_memory(err, "an address", 0);
    size_t n = strlen(text);
    while (n > 0 && text[n - 1] == '/')
        n--;
    *base = es_strndup(text, n);
    curl_free(text);
    return *base != NULL ? ES_OK : es_fail_memory(err, "an address", n);
}

static es_status normal(const char *text, const char *shown, bool v1, char **base, es_error *err)
{
    CURLU *url = curl_url();
    char *path = NULL, *host = NULL;
    *base = NULL;
    if (url == NULL)
        return es_fail_memory(err, "an address", 0);
    const char *fault = fault_of(url, text);
    es_status status = ES_OK;
    if (fault != NULL)
        status = es_fail(err, ES_ERR_ARGUMENT, "the endpoint %.100s %s", strchr(shown, '@') != NULL ? "given" : shown,
                         fault);
    if (status == ES_OK && curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK && strcmp(host, "0.0.0.0") == 0)
        curl_url_set(url, CURLUPART_HOST, "127.0.0.1", 0); /* where servers listen is not where clients ask */
    bool bare = curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK && strcmp(path, "/") == 0;
    if (status == ES_OK)
        status = compose(url, v1 && bare ? "/v1" : NULL, base, err);
    curl_free(path);
    curl_free(host);
    curl_url_cleanup(url);
    return status;
}

/* Whether "host:port/path" has its port, seen from behind an IPv6 bracket. */
static bool has_port(const char *text)
{
    const char *bracket = strchr(text, ']');
    const char *from = bracket != NULL ? bracket : text;
    return memchr(from, ':', strcspn(from, "/")) != NULL;
}

es_status es_endpoint_ollama(const char *text, char **base, es_error *err)
{
    *base = NULL;
    text = text != NULL ? text + strspn(text, " \t") : "";
    if (strstr(text, "://") != NULL)
        return normal(text, text, false, base, err);
    es_str full = {0};
    size_t host = strcspn(text, "/");
    es_str_append(&full, "http://");
    es_str_append(&full, *text == ':' || *text == '\0' ? "127.0.0.1" : "");
    es_str_append_n(&full, text, host);
    if (!has_port(text))
        es_str_append(&full, ":" OLLAMA_PORT);
    es_str_append(&full, text + host);
    es_status status = es_str_check(&full, err);
    if (status == ES_OK)
        status = normal(es_str_text(&full), text, false, base, err);
    es_str_free(&full);
    return status;
}

es_status es_endpoint_openai(const char *text, char **base, es_error *err)
{
    *base = NULL;
    if (text == NULL || *text == '\0')
        return es_fail(err, ES_ERR_ARGUMENT,
                       "which server? Give --endpoint URL or OPENAI_BASE_URL, for example http://127.0.0.1:8080/v1");
    if (strstr(text, "://") != NULL)
        return normal(text, text, true, base, err);
    es_str full = {0};
    es_str_append_format(&full, "http://%s", text);
    es_status status = es_str_check(&full, err);
    if (status == ES_OK)
        status = normal(es_str_text(&full), text, true, base, err);
    es_str_free(&full);
    return status;
}
