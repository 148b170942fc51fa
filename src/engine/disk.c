/* disk.c - the engine and its shelf: what is asked of it and when, what comes and goes. */
#include "base/thread.h"
#include "engine/internal.h"
#include "model/identity.h"

#define USUAL_BYTES ((int64_t)2000000000)
#define PATIENCE 5.0 /* seconds, then the tower is asked, and the disk no more: one that hangs must hold nobody up */

static void note(const es_engine *e, const char *line)
{
    if (e->options.note != NULL)
        e->options.note(e->options.note_context, line);
}

void es_disk_open(es_engine *e)
{
    const es_vision_config *c = &e->model->config.vision;
    char identity[ES_SHA256_HEX + 1];
    es_error err = {0};
    es_str line = {0};
    if (e->options.vision_dir == NULL)
        return;
    es_status status = es_vision_identity(identity, e->model);
    if (status != ES_OK)
        es_fail(&err, status, "the model's files cannot be looked at");
    es_shelf_options options = {.dir = e->options.vision_dir,
                                .limit = e->options.vision_dir_bytes > 0 ? e->options.vision_dir_bytes : USUAL_BYTES,
                                .identity = identity,
                                .dim = c->out_hidden,
                                .levels = c->deepstack_count};
    if (status == ES_OK)
        status = es_shelf_open(&e->shelf, &options, &err);
    if (status == ES_OK) {
        e->hash_key = es_shelf_key(e->shelf);
        return;
    }
    es_str_append_format(&line, "no pictures are kept on the disk: %s", err.message);
    note(e, es_str_text(&line));
    es_str_free(&line);
}

/* Notes that writing failed, once. */
static void tell_failure(es_engine *e)
{
    es_error why;
    es_str line = {0};
    if (!es_shelf_failed(e->shelf, &why))
        return;
    es_str_append_format(&line, "no more pictures are kept on the disk: %s", why.message);
    note(e, es_str_text(&line));
    es_str_free(&line);
}

void es_disk_close(es_engine *e)
{
    es_shelf_close(e->shelf);
    e->shelf = NULL;
}

void es_disk_ask(es_engine *e, es_sequence *s)
{
    if (e->shelf == NULL || e->disk_hangs || s->request.watch != NULL)
        return;
    s->wanted_since = es_now();
    for (size_t i = s->vision_at; i < s->prompt.grid_count; i++) {
        if (es_pictures_know(&e->pictures, s->picture_hashes[i]))
            continue;
        const int32_t *grid = s->prompt.grids[i];
        s->wanted[i] = es_shelf_want(e->shelf, s->picture_hashes[i], grid[0], grid[1]);
        e->wanted += s->wanted[i] != NULL;
    }
}

static void forget(es_engine *e, es_sequence *s, size_t i)
{
    es_shelf_forget(e->shelf, s->wanted[i]);
    e->wanted -= s->wanted[i] != NULL;
    s->wanted[i] = NULL;
}

void es_disk_forget(es_engine *e, es_sequence *s)
{
    for (size_t i = 0; s->wanted != NULL && i < s->prompt.grid_count; i++)
        forget(e, s, i);
}

void es_disk_keep(es_engine *e, es_picture *picture)
{
    if (e->shelf == NULL)
        return;
    picture->users++;
    if (!es_shelf_keep(e->shelf, picture->hash, &picture->output, picture))
        picture->users--;
}

bool es_disk_waits(const es_sequence *s)
{
    return s->wanted != NULL && s->vision_at < s->prompt.grid_count && s->wanted[s->vision_at] != NULL;
}

/* The next picture of s is decided, or has taken too long: it is there, or the tower's to make. */
static es_status decide(es_engine *e, es_sequence *s, es_error *err)
{
    size_t i = s->vision_at;
    es_vision_output output;
    es_picture *picture;
    es_wanted_state state = es_shelf_state(s->wanted[i]);
    if (state == ES_WANTED_COMING && !e->disk_hangs) {
        e->disk_hangs = true;
        note(e, "no more pictures are read from the disk: it has not answered for 5 seconds");
    }
    if (state != ES_WANTED_FOUND) {
        forget(e, s, i);
        return ES_OK;
    }
    es_shelf_take(e->shelf, s->wanted[i], &output);
    s->wanted[i] = NULL;
    e->wanted--;
    e->stats.pictures_read++;
    ES_TRY(es_pictures_add(&e->pictures, s->picture_hashes[i], &output, &picture, err));
    es_sequence_see(s, picture);
    return ES_OK;
}

void es_disk_settle(es_engine *e)
{
    if (e->shelf == NULL)
        return;
    bool written;
    for (es_picture *p; (p = es_shelf_kept(e->shelf, &written)) != NULL;) {
        es_pictures_release(&e->pictures, p);
        e->stats.pictures_kept += written;
    }
    tell_failure(e);
    for (es_sequence *s = e->wanted > 0 ? e->first : NULL; s != NULL; s = s->next) {
        es_error own = {0};
        es_status status = ES_OK;
        bool late = e->disk_hangs || es_now() > s->wanted_since + PATIENCE;
        while (status == ES_OK && s->stage == ES_STAGE_VISION && es_disk_waits(s) &&
               (late || es_shelf_state(s->wanted[s->vision_at]) != ES_WANTED_COMING))
            status = decide(e, s, &own);
        if (status != ES_OK)
            es_sequence_finish(s, status, &own);
    }
}
