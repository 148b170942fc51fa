/* page.h - the page at /, as embed_page.py embeds it. */
#ifndef ES_SERVE_PAGE_H
#define ES_SERVE_PAGE_H

#include <stddef.h>

extern const unsigned char es_page_html[]; /* NUL-terminated */
extern const size_t es_page_size;
extern const char *const es_page_policy; /* Content-Security-Policy */

#endif
