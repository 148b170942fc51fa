#include "serve/forms.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void free_form(es_form *f)
{
    if (f == NULL)
        return;
    es_matcher_free(f->matcher);
    es_grammar_free(f->grammar);
    free(f->name);
    free(f);
}

/* An empty place, or that of the form unused for longest; NULL when all are in use. */
static es_form **place_for(es_forms *forms)
{
    es_form **best = NULL;
    for (int i = 0; i < ES_FORMS; i++) {
        es_form **f = &forms->items[i];
        if (*f == NULL)
            return f;
        if ((*f)->users == 0 && (best == NULL || (*f)->used < (*best)->used))
            best = f;
    }
    return best;
}

es_status es_forms_open(es_forms *forms, const es_tokenizer *tokenizer, int32_t vocab, es_error *err)
{
    return es_lexicon_create(&forms->lexicon, tokenizer, vocab, err);
}

es_status es_forms_take(es_forms *forms, const char *name, es_grammar **grammar, es_form **form, es_error *err)
{
    for (int i = 0; i < ES_FORMS; i++) {
        es_form *f = forms->items[i];
        if (f == NULL || strcmp(f->name, name) != 0)
            continue;
        f->broken = f->broken || es_matcher_is_worn(f->matcher);
        if (f->broken)
            continue;
        f->used = ++forms->clock;
        f->users++;
        *form = f;
        return ES_OK;
    }
    es_form *f = es_calloc(1, sizeof *f);
    if (f == NULL || (f->name = es_strdup(name)) == NULL) {
        free(f);
        return es_fail_memory(err, "the answer's form", 0);
    }
    es_status status = es_matcher_create(&f->matcher, *grammar, forms->lexicon, err);
    if (status != ES_OK) {
        free_form(f);
        return status;
    }
    f->grammar = *grammar;
    *grammar = NULL;
    f->users = 1;
    f->used = ++forms->clock;
    es_form **place = place_for(forms);
    if (place != NULL) {
        free_form(*place);
        *place = f;
    }
    *form = f;
    return ES_OK;
}

void es_forms_release(es_forms *forms, es_form *form, bool broken)
{
    bool kept = false;
    form->broken = form->broken || broken;
    form->users--;
    for (int i = 0; i < ES_FORMS; i++) {
        if (forms->items[i] != form)
            continue;
        kept = !form->broken || form->users > 0;
        if (!kept)
            forms->items[i] = NULL;
    }
    if (!kept && form->users == 0)
        free_form(form);
}

void es_forms_close(es_forms *forms)
{
    for (int i = 0; i < ES_FORMS; i++) {
        free_form(forms->items[i]);
        forms->items[i] = NULL;
    }
    es_lexicon_free(forms->lexicon);
    forms->lexicon = NULL;
}
