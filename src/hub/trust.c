/* trust.c - checking certificates, and what to do when one does not hold. */
#include "hub/trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What OpenSSL finds wrong with a certificate (its verify results; other TLS libraries tell none). */
enum {
    HOLDS = 0,
    NOT_SAID = 1,
    NOT_YET = 9,
    EXPIRED = 10,
    SELF_SIGNED = 18,
    SELF_SIGNED_IN_CHAIN = 19,
    ISSUER_UNKNOWN = 20,
    NO_CHAIN = 21
};

void es_trust_set_up(CURL *curl)
{
    static const char *const names[] = {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value == NULL || value[0] == '\0')
            continue;
        curl_easy_setopt(curl, CURLOPT_CAINFO, value);
        return;
    }
}

bool es_trust_failed(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
}

static const char *advice(CURL *curl, CURLcode code)
{
    long found = 0;
    if (code == CURLE_SSL_CACERT_BADFILE)
        return ": check CURL_CA_BUNDLE or SSL_CERT_FILE";
    if (code != CURLE_PEER_FAILED_VERIFICATION)
        return "";
    curl_easy_getinfo(curl, CURLINFO_SSL_VERIFYRESULT, &found);
    switch (found) {
    case HOLDS: /* for somebody else: that is libcurl's own finding */
    case NOT_SAID:
        return ": use the name that its certificate is made out to";
    case NOT_YET:
    case EXPIRED:
        return ": renew the server's certificate, or set this machine's clock";
    case SELF_SIGNED:
    case SELF_SIGNED_IN_CHAIN:
    case ISSUER_UNKNOWN:
    case NO_CHAIN:
        return ": if you trust the server, name the certificate that signed its own in SSL_CERT_FILE";
    default:
        return "";
    }
}

void es_trust_explain(CURL *curl, CURLcode code, const char *detail, char *out, size_t size)
{
    if (detail == NULL || *detail == '\0')
        detail = curl_easy_strerror(code);
    snprintf(out, size, "%.*s%s", (int)strcspn(detail, "\r\n"), detail, advice(curl, code));
}
