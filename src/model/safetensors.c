/* safetensors.c - opening and checking checkpoints. The format: 8 bytes of little-endian header length, a
 * JSON object {name: {"dtype", "shape", "data_offsets": [begin, end]}}, then the data; offsets count from the
 * end of the header. */
#include "model/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

/* The bound that the format's authors chose for a header, bytes. */
#define HEADER_LIMIT (100u * 1000u * 1000u)
#define INDEX_LIMIT ((size_t)64 << 20)
#define SHARD_LIMIT 4096
#define INDEX_NAME "model.safetensors.index.json"

/* Every type of the format, by the bits of one element; the first four are those that es_dtype can hold. */
static const struct {
    const char *name;
    int bits;
    es_dtype dtype; /* of the usable ones */
} types[] = {
    {"F32", 32, ES_F32},    {"F16", 16, ES_F16},    {"BF16", 16, ES_BF16},  {"U32", 32, ES_U32},
    {"BOOL", 8, ES_F32},    {"U8", 8, ES_F32},      {"I8", 8, ES_F32},      {"I16", 16, ES_F32},
    {"U16", 16, ES_F32},    {"I32", 32, ES_F32},    {"I64", 64, ES_F32},    {"U64", 64, ES_F32},
    {"F64", 64, ES_F32},    {"C64", 64, ES_F32},    {"F8_E5M2", 8, ES_F32}, {"F8_E4M3", 8, ES_F32},
    {"F8_E8M0", 8, ES_F32}, {"F6_E2M3", 6, ES_F32}, {"F6_E3M2", 6, ES_F32}, {"F4", 4, ES_F32},
};
#define TYPE_COUNT (sizeof types / sizeof types[0])
#define USABLE_TYPES 4

struct es_tensors {
    es_map *maps; /* one a shard */
    char **files; /* their paths */
    size_t shards, shard_capacity;
    es_view *views; /* names are owned */
    size_t count, capacity;
    size_t bytes;
};

/* One file while its header is read. */
typedef struct shard {
    es_tensors *tensors;
    const char *file;
    const uint8_t *data; /* behind the header */
    uint64_t size;       /* bytes of it */
    size_t first;        /* its first view */
    es_error *err;
} shard;

int64_t es_view_count(const es_view *view)
{
    int64_t n = 1;
    for (int i = 0; i < view->n_dims; i++)
        n *= view->dims[i];
    return n;
}

void es_shape_text(char *text, size_t size, const int64_t *dims, int n_dims)
{
    size_t used = 0;
    if (size > 0)
        text[0] = '\0';
    for (int i = 0; i <= n_dims && used < size; i++) {
        int n = i == n_dims ? snprintf(text + used, size - used, n_dims == 0 ? "[]" : "]")
                            : snprintf(text + used, size - used, "%s%lld", i == 0 ? "[" : ", ", (long long)dims[i]);
        used += n < 0 ? size : (size_t)n;
    }
}

static es_status bad(const shard *s, const char *name, const char *what)
{
    return es_fail(s->err, ES_ERR_FORMAT, "%s: tensor \"%.120s\": %s", s->file, name, what);
}

static es_status read_type(const shard *s, es_view *view, const json_t *entry, int *bits)
{
    const json_t *type = json_object_get(entry, "dtype");
    const char *text = json_string_value(type);
    if (text == NULL)
        return bad(s, view->name, "\"dtype\" must be a string");
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(text, types[i].name) != 0)
            continue;
        view->usable = i < USABLE_TYPES;
        view->dtype = types[i].dtype;
        snprintf(view->type, sizeof view->type, "%s", text);
        *bits = types[i].bits;
        return ES_OK;
    }
    return es_fail(s->err, ES_ERR_FORMAT, "%s: tensor \"%.120s\": unknown dtype \"%.20s\"", s->file, view->name, text);
}

/* The shape, and the bytes it takes with elements of so many bits. */
static es_status read_shape(const shard *s, es_view *view, const json_t *entry, int bits, uint64_t *bytes)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return bad(s, view->name, "\"shape\" must be a list");
    if (json_array_size(shape) > ES_MAX_DIMS)
        return es_fail(s->err, ES_ERR_FORMAT, "%s: tensor \"%.120s\": %zu dimensions, at most %d are read", s->file,
                       view->name, json_array_size(shape), ES_MAX_DIMS);
    uint64_t count = 1;
    view->n_dims = (int)json_array_size(shape);
    for (int i = 0; i < view->n_dims; i++) {
        const json_t *item = json_array_get(shape, (size_t)i);
        if (!json_is_integer(item) || json_integer_value(item) < 0)
            return bad(s, view->name, "every dimension must be a whole number, not negative");
        uint64_t dim = (uint64_t)json_integer_value(item);
        /* An eighth of the range is kept for the bits of an element; a zero among huge dimensions hides
         * nothing. */
        if (dim > (uint64_t)INT64_MAX / 64 || (dim != 0 && count > (uint64_t)INT64_MAX / 64 / dim))
            return bad(s, view->name, "its shape is too large for any file");
        count *= dim;
        view->dims[i] = (int64_t)dim;
    }
    if (count * (uint64_t)bits % 8 != 0)
        return bad(s, view->name, "its elements do not fill whole bytes");
    *bytes = count * (uint64_t)bits / 8;
    return ES_OK;
}

static es_status read_offsets(const shard *s, es_view *view, const json_t *entry, uint64_t bytes)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first))
        return bad(s, view->name, "\"data_offsets\" must be two whole numbers, the second not below the first");
    uint64_t begin = (uint64_t)json_integer_value(first), end = (uint64_t)json_integer_value(last);
    if (end > s->size)
        return es_fail(s->err, ES_ERR_FORMAT, "%s: tensor \"%.120s\" ends at byte %llu of %llu: the file is truncated",
                       s->file, view->name, (unsigned long long)end, (unsigned long long)s->size);
    if (end - begin != bytes) {
        char shape[120];
        es_shape_text(shape, sizeof shape, view->dims, view->n_dims);
        return es_fail(s->err, ES_ERR_FORMAT,
                       "%s: tensor \"%.120s\": %s %s takes %llu bytes, data_offsets give it %llu", s->file, view->name,
                       view->type, shape, (unsigned long long)bytes, (unsigned long long)(end - begin));
    }
    view->data = s->data + begin;
    view->size = (size_t)bytes;
    return ES_OK;
}

static es_status read_entry(const shard *s, const char *name, const json_t *entry)
{
    es_tensors *t = s->tensors;
    if (!json_is_object(entry))
        return bad(s, name, "must be described by an object");
    es_view view = {.name = name, .file = s->file};
    int bits = 0;
    uint64_t bytes = 0;
    ES_TRY(read_type(s, &view, entry, &bits));
    ES_TRY(read_shape(s, &view, entry, bits, &bytes));
    ES_TRY(read_offsets(s, &view, entry, bytes));
    void *views = t->views;
    if (es_grow(&views, &t->capacity, t->count + 1, sizeof *t->views) != 0)
        return es_fail_memory(s->err, "the list of tensors", 0);
    t->views = views;
    view.name = es_strdup(name);
    if (view.name == NULL)
        return es_fail_memory(s->err, "a tensor's name", strlen(name));
    t->views[t->count++] = view;
    t->bytes += view.size;
    return ES_OK;
}

static int by_place(const void *a, const void *b)
{
    const es_view *x = a, *y = b;
    const uint8_t *p = x->data, *q = y->data;
    if (p != q)
        return p < q ? -1 : 1;
    return (x->size > y->size) - (x->size < y->size); /* empty ones first */
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const es_view *)a)->name, ((const es_view *)b)->name);
}

/* No two tensors share bytes, and no bytes are unaccounted for (which the format forbids too). */
static es_status check_layout(const shard *s)
{
    size_t n = s->tensors->count - s->first;
    es_view *views = n == 0 ? NULL : s->tensors->views + s->first;
    if (n > 1)
        qsort(views, n, sizeof *views, by_place);
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t begin = (uint64_t)((const uint8_t *)views[i].data - s->data);
        if (begin < at)
            return es_fail(s->err, ES_ERR_FORMAT, "%s: tensors \"%.120s\" and \"%.120s\" overlap", s->file,
                           views[i - 1].name, views[i].name);
        if (begin > at)
            return es_fail(s->err, ES_ERR_FORMAT, "%s: %llu bytes before tensor \"%.120s\" belong to none", s->file,
                           (unsigned long long)(begin - at), views[i].name);
        at = begin + views[i].size;
    }
    if (at != s->size)
        return es_fail(s->err, ES_ERR_FORMAT, "%s: %llu bytes after the last tensor belong to none", s->file,
                       (unsigned long long)(s->size - at));
    return ES_OK;
}

/* Reads one file's header and adds its tensors. */
static es_status read_shard(es_tensors *tensors, const uint8_t *bytes, size_t size, const char *file, es_error *err)
{
    if (size < 8)
        return es_fail(err, ES_ERR_FORMAT, "%s: %zu bytes are too few for a safetensors file", file, size);
    uint64_t length = 0;
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)bytes[i] << (8 * i);
    if (length > HEADER_LIMIT)
        return es_fail(err, ES_ERR_FORMAT, "%s: header of %llu bytes, at most %u are allowed: not a safetensors file?",
                       file, (unsigned long long)length, HEADER_LIMIT);
    if (length > size - 8)
        return es_fail(err, ES_ERR_FORMAT, "%s: header of %llu bytes in a file of %zu: the file is truncated", file,
                       (unsigned long long)length, size);
    if (length == 0 || bytes[8] != '{')
        return es_fail(err, ES_ERR_FORMAT, "%s: header does not begin with \"{\": not a safetensors file", file);
    shard s = {tensors, file, bytes + 8 + length, size - 8 - length, tensors->count, err};
    json_t *header = NULL;
    ES_TRY(es_json_parse(&header, (const char *)bytes + 8, (size_t)length, file, err));
    es_status status = ES_OK;
    for (void *i = json_object_iter(header); status == ES_OK && i != NULL; i = json_object_iter_next(header, i)) {
        if (strcmp(json_object_iter_key(i), "__metadata__") != 0)
            status = read_entry(&s, json_object_iter_key(i), json_object_iter_value(i));
    }
    json_decref(header);
    return status == ES_OK ? check_layout(&s) : status;
}

static es_status add_file(es_tensors *tensors, const char *path, es_error *err)
{
    size_t capacity = tensors->shard_capacity;
    void *maps = tensors->maps, *files = tensors->files;
    if (es_grow(&maps, &capacity, tensors->shards + 1, sizeof *tensors->maps) != 0)
        return es_fail_memory(err, "the list of files", 0);
    tensors->maps = maps;
    capacity = tensors->shard_capacity;
    if (es_grow(&files, &capacity, tensors->shards + 1, sizeof *tensors->files) != 0)
        return es_fail_memory(err, "the list of files", 0);
    tensors->files = files;
    tensors->shard_capacity = capacity;
    char *copy = es_strdup(path);
    if (copy == NULL)
        return es_fail_memory(err, path, 0);
    es_map map;
    es_status status = es_map_open(&map, path, err);
    if (status != ES_OK) {
        free(copy);
        return status;
    }
    tensors->maps[tensors->shards] = map;
    tensors->files[tensors->shards++] = copy;
    return read_shard(tensors, map.data, map.size, copy, err);
}

/* Sorts by name and refuses a name that two shards have. */
static es_status finish(es_tensors *tensors, es_error *err)
{
    if (tensors->count > 1)
        qsort(tensors->views, tensors->count, sizeof *tensors->views, by_name);
    for (size_t i = 1; i < tensors->count; i++) {
        const es_view *a = &tensors->views[i - 1], *b = &tensors->views[i];
        if (strcmp(a->name, b->name) == 0)
            return es_fail(err, ES_ERR_FORMAT, "tensor \"%.120s\" is both in %.150s and in %.150s", a->name, a->file,
                           b->file);
    }
    return ES_OK;
}

/* Hands the tensors over when all went well. */
static es_status conclude(es_tensors *t, es_status status, es_tensors **tensors, es_error *err)
{
    if (status == ES_OK)
        status = finish(t, err);
    if (status != ES_OK) {
        es_tensors_close(t);
        return status;
    }
    *tensors = t;
    return ES_OK;
}

static es_tensors *begin(es_tensors **tensors, es_error *err)
{
    *tensors = NULL;
    es_tensors *t = es_calloc(1, sizeof *t);
    if (t == NULL)
        es_fail_memory(err, "a list of tensors", sizeof *t);
    return t;
}

es_status es_tensors_open_file(es_tensors **tensors, const char *path, es_error *err)
{
    es_tensors *t = begin(tensors, err);
    if (t == NULL)
        return ES_ERR_MEMORY;
    return conclude(t, add_file(t, path, err), tensors, err);
}

es_status es_tensors_open_memory(es_tensors **tensors, const void *bytes, size_t size, const char *name, es_error *err)
{
    es_tensors *t = begin(tensors, err);
    if (t == NULL)
        return ES_ERR_MEMORY;
    /* A file without a mapping, so that views have a name to point at. */
    t->files = es_calloc(1, sizeof *t->files);
    t->maps = es_calloc(1, sizeof *t->maps);
    char *copy = es_strdup(name);
    if (t->files == NULL || t->maps == NULL || copy == NULL) {
        free(copy);
        return conclude(t, es_fail_memory(err, name, 0), tensors, err);
    }
    t->files[0] = copy;
    t->shards = t->shard_capacity = 1;
    return conclude(t, read_shard(t, bytes, size, copy, err), tensors, err);
}

/* The shards an index names, each once. */
static es_status index_files(const json_t *map, const char *path, es_names *files, es_error *err)
{
    for (void *i = json_object_iter((json_t *)(uintptr_t)map); i != NULL;
         i = json_object_iter_next((json_t *)(uintptr_t)map, i)) {
        const char *file = json_string_value(json_object_iter_value(i));
        size_t length = json_string_length(json_object_iter_value(i));
        if (file == NULL || length == 0 || length > 255 || strlen(file) != length || strchr(file, '/') != NULL ||
            strchr(file, '\\') != NULL || file[0] == '.')
            return es_fail(err, ES_ERR_FORMAT, "%s: tensor \"%.120s\": \"%.100s\" is not a plain file name", path,
                           json_object_iter_key(i), file == NULL ? "" : file);
        bool known = false;
        for (size_t k = files->count; !known && k-- > 0;)
            known = strcmp(files->items[k], file) == 0;
        if (!known && files->count == SHARD_LIMIT)
            return es_fail(err, ES_ERR_LIMIT, "%s: names more than %d files", path, SHARD_LIMIT);
        if (!known)
            ES_TRY(es_names_add(files, file, err));
    }
    if (files->count == 0)
        return es_fail(err, ES_ERR_FORMAT, "%s: \"weight_map\" names no tensor", path);
    return ES_OK;
}

/* Each promised tensor exists, and in the shard where the index says. */
static es_status check_index(const es_tensors *tensors, const json_t *map, const char *path, es_error *err)
{
    for (void *i = json_object_iter((json_t *)(uintptr_t)map); i != NULL;
         i = json_object_iter_next((json_t *)(uintptr_t)map, i)) {
        const char *name = json_object_iter_key(i), *file = json_string_value(json_object_iter_value(i));
        const es_view *view = es_tensors_find(tensors, name);
        const char *slash = view == NULL ? NULL : strrchr(view->file, '/');
        if (view == NULL || strcmp(slash == NULL ? view->file : slash + 1, file) != 0)
            return es_fail(err, ES_ERR_FORMAT, "%s: tensor \"%.120s\" is not in \"%.100s\" as the index says", path,
                           name, file);
    }
    return ES_OK;
}

static es_status add_shards(es_tensors *tensors, const char *dir, const es_names *files, es_error *err)
{
    for (size_t i = 0; i < files->count; i++) {
        char *path = es_path_join(dir, files->items[i]);
        if (path == NULL)
            return es_fail_memory(err, files->items[i], 0);
        es_status status = add_file(tensors, path, err);
        free(path);
        if (status != ES_OK)
            return status;
    }
    return finish(tensors, err);
}

static es_status open_index(es_tensors *tensors, const char *dir, const char *path, es_error *err)
{
    json_t *root = NULL;
    ES_TRY(es_json_read(&root, path, INDEX_LIMIT, err));
    const json_t *map = json_object_get(root, "weight_map");
    es_names files = {0};
    es_status status = ES_OK;
    if (!json_is_object(map))
        status = es_fail(err, ES_ERR_FORMAT, "%s: \"weight_map\" must be an object", path);
    if (status == ES_OK)
        status = index_files(map, path, &files, err);
    if (status == ES_OK)
        status = add_shards(tensors, dir, &files, err);
    if (status == ES_OK)
        status = check_index(tensors, map, path, err);
    es_names_free(&files);
    json_decref(root);
    return status;
}

/* The one *.safetensors of a directory. */
static es_status open_only(es_tensors *tensors, const char *dir, es_error *err)
{
    static const char suffix[] = ".safetensors";
    es_names names, found = {0};
    ES_TRY(es_dir_list(dir, &names, err));
    es_status status = ES_OK;
    for (size_t i = 0; status == ES_OK && i < names.count; i++) {
        size_t n = strlen(names.items[i]), m = sizeof suffix - 1;
        if (n > m && names.items[i][0] != '.' && strcmp(names.items[i] + n - m, suffix) == 0)
            status = es_names_add(&found, names.items[i], err);
    }
    if (status == ES_OK && found.count != 1)
        status = es_fail(err, found.count == 0 ? ES_ERR_IO : ES_ERR_FORMAT,
                         "%s: %zu .safetensors files and neither model.safetensors nor " INDEX_NAME, dir, found.count);
    if (status == ES_OK)
        status = add_shards(tensors, dir, &found, err);
    es_names_free(&found);
    es_names_free(&names);
    return status;
}

es_status es_tensors_open(es_tensors **tensors, const char *dir, es_error *err)
{
    es_tensors *t = begin(tensors, err);
    if (t == NULL)
        return ES_ERR_MEMORY;
    char *single = es_path_join(dir, "model.safetensors"), *index = es_path_join(dir, INDEX_NAME);
    es_status status;
    if (single == NULL || index == NULL)
        status = es_fail_memory(err, dir, 0);
    else if (es_file_exists(single))
        status = add_file(t, single, err);
    else if (es_file_exists(index))
        status = open_index(t, dir, index, err);
    else
        status = open_only(t, dir, err);
    free(single);
    free(index);
    return conclude(t, status, tensors, err);
}

void es_tensors_close(es_tensors *tensors)
{
    if (tensors == NULL)
        return;
    for (size_t i = 0; i < tensors->count; i++)
        free((void *)(uintptr_t)tensors->views[i].name);
    for (size_t i = 0; i < tensors->shards; i++) {
        es_map_close(&tensors->maps[i]);
        free(tensors->files[i]);
    }
    free(tensors->views);
    free(tensors->maps);
    free(tensors->files);
    free(tensors);
}

void es_tensors_rest(const es_tensors *tensors)
{
    for (size_t i = 0; i < tensors->shards; i++)
        es_map_rest(&tensors->maps[i]);
}

size_t es_tensors_count(const es_tensors *tensors)
{
    return tensors->count;
}

const es_view *es_tensors_at(const es_tensors *tensors, size_t i)
{
    return &tensors->views[i];
}

const es_view *es_tensors_find(const es_tensors *tensors, const char *name)
{
    es_view key = {.name = name};
    if (tensors->count == 0)
        return NULL;
    return bsearch(&key, tensors->views, tensors->count, sizeof key, by_name);
}

size_t es_tensors_bytes(const es_tensors *tensors)
{
    return tensors->bytes;
}
