/* trust.h - whose certificates a server may show: the system's authorities', or those of a file that a variable names.
 */
#ifndef ES_HUB_TRUST_H
#define ES_HUB_TRUST_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

/* Certificates are checked against the file of CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE or SSL_CERT_FILE, the first that is
 * set; else against the system's. */
void es_trust_set_up(CURL *curl);
/* Whether a transfer failed because the server's certificate does not hold, or cannot be checked. */
bool es_trust_failed(CURLcode code);
/* What libcurl says of a transfer that failed, on one line, and what to do when it is about a certificate. */
void es_trust_explain(CURL *curl, CURLcode code, const char *detail, char *out, size_t size);

#endif
