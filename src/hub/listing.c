#include "hub/listing.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

#define MAX_ENTRIES 100000               /* of a listing: far beyond any model, and bounded */
#define MAX_FILES 2000                   /* wanted ones */
#define MAX_FILE_SIZE ((int64_t)1 << 40) /* bytes */
#define MAX_NAME 200                     /* bytes: room for suffixes below the usual 255 */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

bool es_hub_is_weights(const char *path)
{
    return ends_with(path, ".safetensors");
}

bool es_hub_is_hex(const char *text, size_t digits)
{
    return strlen(text) == digits && strspn(text, "0123456789abcdef") == digits;
}

/* A name that is safe to make a file of, on every system and in every message. */
static bool is_plain_name(const char *path)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+=-";
    size_t n = strlen(path);
    return n > 0 && n <= MAX_NAME && path[0] != '.' && path[0] != '-' && strspn(path, allowed) == n;
}

bool es_hub_wanted(const char *path)
{
    static const char *const names[] = {"config.json",           "generation_config.json", "preprocessor_config.json",
                                        "processor_config.json", "tokenizer.json",         "tokenizer_config.json"};
    if (!is_plain_name(path))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(path, names[i]) == 0)
            return true;
    }
    return strncmp(path, "chat_template.", 14) == 0 || es_hub_is_weights(path) ||
           ends_with(path, ".safetensors.index.json");
}

/* git stores no such paths, so a listing that holds one was not made by git. */
static bool is_hostile(const char *path)
{
    if (path[0] == '\0' || path[0] == '/')
        return true;
    for (const char *p = path; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == '\\')
            return true;
        bool starts = p == path || p[-1] == '/';
        if (starts && p[0] == '.' && p[1] == '.' && (p[2] == '/' || p[2] == '\0'))
            return true;
    }
    return false;
}

es_status es_hub_read_revision(const char *text, size_t size, char commit[ES_SHA1_HEX + 1], es_error *err)
{
    json_t *root;
    const char *sha = "";
    ES_TRY(es_json_parse(&root, text, size, "the hub's answer", err));
    es_status status = es_json_string(root, "the hub's answer", "sha", true, &sha, err);
    if (status == ES_OK && !es_hub_is_hex(sha, ES_SHA1_HEX))
        status = es_fail(err, ES_ERR_FORMAT, "the hub's answer: \"sha\" is not a commit of 40 hexadecimal digits");
    if (status == ES_OK)
        memcpy(commit, sha, ES_SHA1_HEX + 1);
    json_decref(root);
    return status;
}

/* Size and checksum of one entry: those of the large file where there is one, else git's. */
static es_status read_identity(const json_t *entry, const char *path, es_hub_file *file, es_error *err)
{
    int64_t size = 0;
    const char *oid = NULL;
    const json_t *lfs = json_object_get(entry, "lfs");
    const json_t *from = json_is_object(lfs) ? lfs : entry;
    file->is_sha256 = from == lfs;
    size_t digits = file->is_sha256 ? ES_SHA256_HEX : ES_SHA1_HEX;
    ES_TRY(es_json_int(from, path, "size", true, 0, MAX_FILE_SIZE, &size, err));
    ES_TRY(es_json_string(from, path, "oid", true, &oid, err));
    if (strncmp(oid, "sha256:", 7) == 0 && file->is_sha256)
        oid += 7;
    if (!es_hub_is_hex(oid, digits))
        return es_fail(err, ES_ERR_FORMAT, "%s: \"oid\" is not a checksum of %zu hexadecimal digits", path, digits);
    memcpy(file->digest, oid, digits + 1);
    file->size = (uint64_t)size;
    return ES_OK;
}

static es_status add_file(es_hub_files *files, const json_t *entry, const char *path, es_error *err)
{
    es_hub_file file = {0};
    ES_TRY(read_identity(entry, path, &file, err));
    if (es_hub_files_find(files, path) != NULL)
        return es_fail(err, ES_ERR_FORMAT, "the hub lists %s twice", path);
    if (files->count >= MAX_FILES)
        return es_fail(err, ES_ERR_LIMIT, "the hub lists more than %d files to load", MAX_FILES);
    void *items = files->items;
    if (es_grow(&items, &files->capacity, files->count + 1, sizeof *files->items) != 0)
        return es_fail_memory(err, "a list of files", 0);
    files->items = items;
    file.path = es_strdup(path);
    if (file.path == NULL)
        return es_fail_memory(err, "a file name", 0);
    files->items[files->count++] = file;
    return ES_OK;
}

static es_status read_entry(es_hub_files *files, const json_t *entry, es_error *err)
{
    const char *path = "", *type = "file";
    if (!json_is_object(entry))
        return es_fail(err, ES_ERR_FORMAT, "the hub's listing: an entry is not an object");
    ES_TRY(es_json_string(entry, "the hub's listing", "path", true, &path, err));
    ES_TRY(es_json_string(entry, "the hub's listing", "type", false, &type, err));
    if (is_hostile(path))
        return es_fail(err, ES_ERR_FORMAT, "the hub lists a path that leaves the repository: refused");
    if (strcmp(type, "file") != 0 || !es_hub_wanted(path))
        return ES_OK;
    return add_file(files, entry, path, err);
}

es_status es_hub_read_tree(es_hub_files *files, const char *text, size_t size, es_error *err)
{
    json_t *root;
    ES_TRY(es_json_parse(&root, text, size, "the hub's listing", err));
    es_status status = ES_OK;
    if (!json_is_array(root))
        status = es_fail(err, ES_ERR_FORMAT, "the hub's listing: must be an array");
    size_t count = json_array_size(root);
    if (status == ES_OK && count > MAX_ENTRIES - files->seen)
        status = es_fail(err, ES_ERR_LIMIT, "the hub lists more than %d files", MAX_ENTRIES);
    for (size_t i = 0; status == ES_OK && i < count; i++)
        status = read_entry(files, json_array_get(root, i), err);
    if (status == ES_OK)
        files->seen += count;
    json_decref(root);
    return status;
}

static int rank(const char *path)
{
    if (strcmp(path, "config.json") == 0)
        return 0;
    if (es_hub_is_weights(path))
        return 3;
    return ends_with(path, ".index.json") ? 2 : 1;
}

static int in_order(const void *a, const void *b)
{
    const es_hub_file *x = a, *y = b;
    int difference = rank(x->path) - rank(y->path);
    return difference != 0 ? difference : strcmp(x->path, y->path);
}

void es_hub_files_sort(es_hub_files *files)
{
    if (files->count > 1)
        qsort(files->items, files->count, sizeof *files->items, in_order);
}

es_hub_file *es_hub_files_find(const es_hub_files *files, const char *path)
{
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->items[i].path, path) == 0)
            return &files->items[i];
    }
    return NULL;
}

void es_hub_files_free(es_hub_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->items[i].path);
    free(files->items);
    *files = (es_hub_files){0};
}
