#include "model/identity.h"

#include <string.h>
#include <sys/stat.h>

#define SAMPLE 64u /* bytes of each tensor that count */

void es_identity_add_number(es_sha *sha, uint64_t number)
{
    es_sha_update(sha, &number, sizeof number);
}

void es_identity_add_text(es_sha *sha, const char *text)
{
    es_sha_update(sha, text, strlen(text) + 1);
}

static bool add_file(es_sha *sha, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    es_identity_add_number(sha, (uint64_t)st.st_size);
    es_identity_add_number(sha, (uint64_t)st.st_dev);
    es_identity_add_number(sha, (uint64_t)st.st_ino);
#if defined(__APPLE__)
    es_sha_update(sha, &st.st_mtimespec, sizeof st.st_mtimespec);
    es_sha_update(sha, &st.st_ctimespec, sizeof st.st_ctimespec);
#else
    es_sha_update(sha, &st.st_mtim, sizeof st.st_mtim);
    es_sha_update(sha, &st.st_ctim, sizeof st.st_ctim); /* nobody can set it back */
#endif
    return true;
}

static void add_tensor(es_sha *sha, const es_view *view)
{
    es_identity_add_text(sha, view->name);
    es_identity_add_text(sha, view->type);
    for (int i = 0; i < view->n_dims; i++)
        es_identity_add_number(sha, (uint64_t)view->dims[i]);
    size_t n = view->size < SAMPLE ? view->size : SAMPLE;
    es_sha_update(sha, (const uint8_t *)view->data + (view->size - n) / 2, n);
}

es_status es_identity_add_tensors(es_sha *sha, const es_tensors *tensors)
{
    size_t count = es_tensors_count(tensors);
    for (size_t i = 0; i < count; i++) {
        const es_view *view = es_tensors_at(tensors, i);
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = es_tensors_at(tensors, j)->file == view->file;
        if (!seen && !add_file(sha, view->file))
            return ES_ERR_UNSUPPORTED;
        add_tensor(sha, view);
    }
    return ES_OK;
}

es_status es_vision_identity(char identity[ES_SHA256_HEX + 1], const es_model *model)
{
    const es_vision_config *c = &model->config.vision;
    const es_device *d = model->device;
    const int32_t shape[] = {c->depth,          c->hidden,       c->heads,
                             c->head_dim,       c->intermediate, c->patch_size,
                             c->patch_dim,      c->merge_size,   c->temporal_patch_size,
                             c->out_hidden,     c->in_channels,  c->position_side,
                             c->deepstack_count};
    es_sha sha;
    es_sha256_begin(&sha);
    es_identity_add_text(&sha, ESCRIBA_VERSION);
    es_identity_add_text(&sha, d->name);
    es_identity_add_text(&sha, d->arithmetic[0] != '\0' ? d->arithmetic : d->detail);
    es_sha_update(&sha, shape, sizeof shape);
    es_sha_update(&sha, c->deepstack, (size_t)c->deepstack_count * sizeof *c->deepstack);
    es_sha_update(&sha, &c->rope_theta, sizeof c->rope_theta);
    ES_TRY(es_identity_add_tensors(&sha, model->tensors));
    es_sha_finish(&sha, identity);
    return ES_OK;
}
