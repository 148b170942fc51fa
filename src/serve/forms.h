/* forms.h - grammars joined to the loaded model's vocabulary, kept for the next answer of the same form. */
#ifndef ES_SERVE_FORMS_H
#define ES_SERVE_FORMS_H

#include "engine/grammar.h"

#define ES_FORMS 8

typedef struct es_form {
    char *name;
    es_grammar *grammar;
    es_matcher *matcher;
    int32_t users;
    bool broken; /* something failed with it: made anew the next time */
    uint64_t used;
} es_form;

typedef struct es_forms {
    es_form *items[ES_FORMS];
    es_lexicon *lexicon; /* of the loaded model; owned */
    uint64_t clock;
} es_forms;

/* For a model just loaded; the tokenizer must outlive them. Zero-initialise before the first. */
es_status es_forms_open(es_forms *forms, const es_tokenizer *tokenizer, int32_t vocab, es_error *err);

/* The form of that name, made from *grammar (which is taken over then) if there is none. Give it back with
 * es_forms_release. */
es_status es_forms_take(es_forms *forms, const char *name, es_grammar **grammar, es_form **form, es_error *err);
void es_forms_release(es_forms *forms, es_form *form, bool broken);
void es_forms_close(es_forms *forms); /* nobody may use one */

#endif
