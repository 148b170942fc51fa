#include "engine/pictures.h"

#include <stdlib.h>

#include "base/mem.h"

static int64_t size_of(const es_picture *p)
{
    return p->output.tokens * p->output.dim * (1 + p->output.levels) * (int64_t)sizeof(float);
}

static void unlist(es_pictures *c, es_picture *p)
{
    *(p->older != NULL ? &p->older->newer : &c->oldest) = p->newer;
    *(p->newer != NULL ? &p->newer->older : &c->newest) = p->older;
    p->older = p->newer = NULL;
}

static void make_newest(es_pictures *c, es_picture *p)
{
    p->older = c->newest;
    p->newer = NULL;
    *(c->newest != NULL ? &c->newest->newer : &c->oldest) = p;
    c->newest = p;
}

static void destroy(es_pictures *c, es_picture *p)
{
    unlist(c, p);
    es_vision_output_free(&p->output);
    free(p);
}

void es_pictures_free(es_pictures *c)
{
    while (c->oldest != NULL)
        destroy(c, c->oldest);
    *c = (es_pictures){0};
}

/* A list is enough: a picture costs seconds, and a few hundred fit the limit. */
static es_picture *look_up(const es_pictures *c, es_hash hash)
{
    es_picture *p = c->limit == 0 ? NULL : c->newest;
    while (p != NULL && !es_hash_equal(p->hash, hash))
        p = p->older;
    return p;
}

bool es_pictures_know(const es_pictures *c, es_hash hash)
{
    return look_up(c, hash) != NULL;
}

es_picture *es_pictures_find(es_pictures *c, es_hash hash)
{
    es_picture *p = look_up(c, hash);
    if (p == NULL)
        return NULL;
    if (p->users++ == 0)
        c->bytes -= size_of(p);
    unlist(c, p);
    make_newest(c, p);
    return p;
}

es_status es_pictures_add(es_pictures *c, es_hash hash, es_vision_output *output, es_picture **picture, es_error *err)
{
    es_picture *p = es_calloc(1, sizeof *p);
    *picture = p;
    if (p == NULL) {
        es_vision_output_free(output);
        return es_fail_memory(err, "image embeddings", sizeof *p);
    }
    p->hash = hash;
    p->users = 1;
    p->output = *output;
    *output = (es_vision_output){0};
    make_newest(c, p);
    return ES_OK;
}

void es_pictures_release(es_pictures *c, es_picture *picture)
{
    if (picture == NULL || --picture->users > 0)
        return;
    c->bytes += size_of(picture);
    for (es_picture *p = c->oldest; p != NULL && c->bytes > c->limit;) {
        es_picture *next = p->newer;
        if (p->users == 0) {
            c->bytes -= size_of(p);
            destroy(c, p);
        }
        p = next;
    }
}

es_hash es_picture_hash(es_hash key, const es_patches *patches)
{
    const int32_t grid[2] = {patches->grid_h, patches->grid_w};
    es_hash hash = es_hash_bytes(key, grid, sizeof grid);
    hash = es_hash_bytes(hash, patches->levels, sizeof patches->levels);
    return es_hash_bytes(hash, patches->data, (size_t)patches->count * 3 * (size_t)patches->area);
}
