#include "serve/page.h"

#include "serve/exchange.h"

es_status es_page(es_exchange *x, es_error *err)
{
    x->type = "text/html; charset=utf-8";
    x->policy = es_page_policy;
    es_str_append_n(&x->out, (const char *)es_page_html, es_page_size);
    return es_str_check(&x->out, err);
}
