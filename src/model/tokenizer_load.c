#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/tokenizer_load.h"

#define FILE_NAME "tokenizer.json"
/* Qwen's file has 11 MB, the largest published ones some 35. */
#define FILE_MAX ((size_t)128 << 20)

static es_status bad(const es_loader *l, const char *what)
{
    return es_fail(l->err, ES_ERR_FORMAT, "%s: %s", l->name, what);
}

static es_status unsupported(const es_loader *l, const char *what)
{
    return es_fail(l->err, ES_ERR_UNSUPPORTED, "%s: %s", l->name, what);
}

/* A member that must be an object when it is there; NULL when it is absent or null. */
static es_status object_member(const es_loader *l, const json_t *object, const char *key, const json_t **value)
{
    *value = json_object_get(object, key);
    if (*value == NULL || json_is_null(*value)) {
        *value = NULL;
        return ES_OK;
    }
    if (!json_is_object(*value))
        return es_fail(l->err, ES_ERR_FORMAT, "%s: \"%s\" must be an object", l->name, key);
    return ES_OK;
}

static es_status type_of(const es_loader *l, const json_t *object, const char *where, const char **type)
{
    *type = "";
    es_status status = es_json_string(object, where, "type", true, type, l->err);
    return status == ES_OK ? ES_OK : es_wrap(l->err, status, "%s", l->name);
}

/* The list within a Sequence, or NULL for anything else. */
static es_status sequence_of(const es_loader *l, const json_t *object, const char *key, const char *where,
                             const json_t **list)
{
    const char *type;
    *list = NULL;
    ES_TRY(type_of(l, object, where, &type));
    if (strcmp(type, "Sequence") != 0)
        return ES_OK;
    *list = json_object_get(object, key);
    if (!json_is_array(*list))
        return es_fail(l->err, ES_ERR_FORMAT, "%s: the Sequence of the %s has no list \"%s\"", l->name, where, key);
    return ES_OK;
}

static es_status read_normalizer_item(es_loader *l, const json_t *item)
{
    const char *type;
    ES_TRY(type_of(l, item, "normalizer", &type));
    if (strcmp(type, "NFC") != 0)
        return es_fail(l->err, ES_ERR_UNSUPPORTED, "%s: the normalizer is %s; escriba knows NFC only", l->name, type);
    l->tokenizer->nfc = true;
    return ES_OK;
}

static es_status read_normalizer(es_loader *l, const json_t *root)
{
    const json_t *item, *list;
    ES_TRY(object_member(l, root, "normalizer", &item));
    if (item == NULL)
        return ES_OK;
    ES_TRY(sequence_of(l, item, "normalizers", "normalizer", &list));
    if (list == NULL)
        return read_normalizer_item(l, item);
    for (size_t i = 0; i < json_array_size(list); i++)
        ES_TRY(read_normalizer_item(l, json_array_get(list, i)));
    return ES_OK;
}

es_status es_loader_flag(const es_loader *l, const json_t *object, const char *where, const char *key, bool *value)
{
    es_status status = es_json_bool(object, where, key, false, value, l->err);
    return status == ES_OK ? ES_OK : es_wrap(l->err, status, "%s", l->name);
}

/* Split: a regular expression, its matches kept as words of their own. */
static es_status read_split(es_loader *l, const json_t *item)
{
    const json_t *pattern, *expression;
    ES_TRY(object_member(l, item, "pattern", &pattern));
    expression = json_object_get(pattern, "Regex");
    if (!json_is_string(expression))
        return unsupported(l, "the pre-tokenizer's Split has no \"pattern\" of the kind {\"Regex\": TEXT}");
    const char *behavior = "";
    es_status status = es_json_string(item, "Split", "behavior", true, &behavior, l->err);
    if (status != ES_OK)
        return es_wrap(l->err, status, "%s", l->name);
    bool invert = false;
    ES_TRY(es_loader_flag(l, item, "Split", "invert", &invert));
    if (strcmp(behavior, "Isolated") != 0 || invert)
        return es_fail(l->err, ES_ERR_UNSUPPORTED, "%s: Split with behavior %s%s; escriba knows Isolated only", l->name,
                       behavior, invert ? ", inverted" : "");
    return es_splits_add(&l->tokenizer->splits, json_string_value(expression), json_string_length(expression), l->name,
                         l->err);
}

static es_status read_byte_level(es_loader *l, const json_t *item)
{
    bool prefix = true, regex = true; /* the library's defaults */
    ES_TRY(es_loader_flag(l, item, "ByteLevel", "add_prefix_space", &prefix));
    ES_TRY(es_loader_flag(l, item, "ByteLevel", "use_regex", &regex));
    if (prefix)
        return unsupported(l, "ByteLevel with \"add_prefix_space\"; escriba knows it without only");
    if (!regex)
        return ES_OK;
    return es_splits_add(&l->tokenizer->splits, es_gpt2_expression, strlen(es_gpt2_expression), l->name, l->err);
}

/* Splits, then ByteLevel as the last. */
static es_status read_pre_tokenizer(es_loader *l, const json_t *root)
{
    const json_t *item, *list;
    ES_TRY(object_member(l, root, "pre_tokenizer", &item));
    if (item == NULL)
        return unsupported(l, "no pre_tokenizer; escriba knows byte-level ones only");
    ES_TRY(sequence_of(l, item, "pretokenizers", "pre_tokenizer", &list));
    size_t count = list == NULL ? 1 : json_array_size(list);
    for (size_t i = 0; i < count; i++) {
        const json_t *one = list == NULL ? item : json_array_get(list, i);
        const char *type;
        ES_TRY(type_of(l, one, "pre_tokenizer", &type));
        bool last = i + 1 == count;
        if (strcmp(type, last ? "ByteLevel" : "Split") != 0)
            return es_fail(l->err, ES_ERR_UNSUPPORTED,
                           "%s: the pre_tokenizer has %s in place %zu of %zu; escriba knows Split, then ByteLevel",
                           l->name, type, i + 1, count);
        ES_TRY(last ? read_byte_level(l, one) : read_split(l, one));
    }
    return count > 0 ? ES_OK : unsupported(l, "an empty pre_tokenizer; escriba knows byte-level ones only");
}

static es_status read_decoder(es_loader *l, const json_t *root)
{
    const json_t *item, *list;
    ES_TRY(object_member(l, root, "decoder", &item));
    if (item == NULL)
        return ES_OK;
    ES_TRY(sequence_of(l, item, "decoders", "decoder", &list));
    size_t count = list == NULL ? 1 : json_array_size(list);
    for (size_t i = 0; i < count; i++) {
        const char *type;
        ES_TRY(type_of(l, list == NULL ? item : json_array_get(list, i), "decoder", &type));
        if (strcmp(type, "ByteLevel") != 0)
            return es_fail(l->err, ES_ERR_UNSUPPORTED, "%s: the decoder is %s; escriba knows ByteLevel only", l->name,
                           type);
    }
    return ES_OK;
}

/* What a BPE model must not have for its merges to be plain. */
static es_status check_model(es_loader *l, const json_t *model)
{
    static const char *const texts[] = {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"};
    const char *type = "BPE";
    es_status status = es_json_string(model, "model", "type", false, &type, l->err);
    if (status != ES_OK)
        return es_wrap(l->err, status, "%s", l->name);
    if (strcmp(type, "BPE") != 0)
        return es_fail(l->err, ES_ERR_UNSUPPORTED, "%s: the model is %s; escriba knows BPE only", l->name, type);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const json_t *value = json_object_get(model, texts[i]);
        if (value != NULL && !json_is_null(value) && !(json_is_string(value) && json_string_length(value) == 0))
            return es_fail(l->err, ES_ERR_UNSUPPORTED, "%s: the model has \"%s\"; escriba knows it without only",
                           l->name, texts[i]);
    }
    double dropout = 0;
    status = es_json_number(model, "model", "dropout", false, 0, 1, &dropout, l->err);
    if (status != ES_OK)
        return es_wrap(l->err, status, "%s", l->name);
    bool fallback = false;
    ES_TRY(es_loader_flag(l, model, "model", "byte_fallback", &fallback));
    ES_TRY(es_loader_flag(l, model, "model", "ignore_merges", &l->tokenizer->ignore_merges));
    if (dropout > 0)
        return unsupported(l, "the model has \"dropout\"; escriba knows it without only");
    return fallback ? unsupported(l, "the model has \"byte_fallback\"; escriba knows it without only") : ES_OK;
}

static es_status load(es_loader *l, const json_t *root)
{
    const json_t *model;
    ES_TRY(object_member(l, root, "model", &model));
    if (model == NULL)
        return bad(l, "\"model\" is missing; is this a tokenizer.json?");
    l->added = json_object_get(root, "added_tokens");
    if (l->added != NULL && !json_is_null(l->added) && !json_is_array(l->added))
        return bad(l, "\"added_tokens\" must be a list");
    ES_TRY(check_model(l, model));
    ES_TRY(es_splits_create(&l->tokenizer->splits, l->err));
    ES_TRY(read_normalizer(l, root));
    ES_TRY(read_pre_tokenizer(l, root));
    ES_TRY(read_decoder(l, root));
    return es_loader_tables(l);
}

/* Parses what es_scan_cut left. */
static es_status load_rest(es_loader *l, const es_str *rest)
{
    json_t *root;
    ES_TRY(es_json_parse(&root, es_str_text(rest), rest->length, l->name, l->err));
    es_status status = json_is_object(root) ? load(l, root) : bad(l, "must hold a JSON object");
    json_decref(root);
    return status;
}

es_status es_tokenizer_parse(es_tokenizer **tokenizer, const char *text, size_t n, const char *name, es_error *err)
{
    es_loader l = {.name = name, .text = text, .err = err, .tokenizer = es_calloc(1, sizeof *l.tokenizer)};
    *tokenizer = NULL;
    if (l.tokenizer == NULL)
        return es_fail_memory(err, name, sizeof *l.tokenizer);
    es_str rest = {0};
    es_status status = es_scan_cut(text, n, &l.vocab, &l.merges, &rest, err);
    if (status == ES_OK)
        status = load_rest(&l, &rest);
    es_str_free(&rest);
    if (status == ES_OK)
        *tokenizer = l.tokenizer;
    else
        es_tokenizer_free(l.tokenizer);
    return status;
}

es_status es_tokenizer_open(es_tokenizer **tokenizer, const char *dir, es_error *err)
{
    *tokenizer = NULL;
    char *path = es_path_join(dir, FILE_NAME), *text = NULL;
    if (path == NULL)
        return es_fail_memory(err, FILE_NAME, 0);
    size_t n = 0;
    es_status status = es_file_read(path, FILE_MAX, &text, &n, err);
    if (status == ES_OK)
        status = es_tokenizer_parse(tokenizer, text, n, path, err);
    free(text);
    free(path);
    return status;
}
