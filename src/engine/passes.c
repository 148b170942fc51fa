/* passes.c - the two pieces of work a step may consist of: rows through the decoder, blocks of the tower. */
#include <string.h>

#include "base/thread.h"
#include "engine/internal.h"

/* --- the text decoder --- */

typedef struct pass {
    int64_t rows, logits, visual;
    size_t parts;
} pass;

/* Adds tokens [from, from + n) of a sequence; the logits of the last `logits` of them are wanted. */
static void add_rows(es_engine *e, pass *p, es_sequence *s, int64_t from, int64_t n, int64_t logits)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t token = from + i, row = p->rows + i;
        e->ids[row] = es_sequence_token(s, token);
        e->positions[row] = es_sequence_position(s, token);
        if (token >= (int64_t)s->prompt.ids.count || s->places[token].picture < 0)
            continue;
        const es_picture *picture = s->pictures[s->places[token].picture];
        e->visual[p->visual++] = (struct es_visual_row){(int32_t)row, &picture->output, s->places[token].token};
    }
    e->attend[p->parts] = (es_attend){(int32_t)p->rows, (int32_t)n, (int32_t)from, s->pages};
    e->who[p->parts++] = s;
    p->rows += n;
    for (int64_t i = logits; i > 0; i--)
        e->logit_rows[p->logits++] = (int32_t)(p->rows - i);
}

/* Guesses what a decoding sequence says next, as far as pages and the pass have room for it. */
static es_status guess_next(es_engine *e, es_sequence *s, size_t most, es_error *err)
{
    int32_t context[ES_DRAFT_CONTEXT];
    int64_t total = es_sequence_total(s);
    size_t left = (size_t)s->budget - s->ids.count;
    bool grown;
    s->guess_count = 0;
    if (most == 0 || s->request.watch != NULL || total < ES_DRAFT_CONTEXT)
        return ES_OK;
    for (int i = 0; i < ES_DRAFT_CONTEXT; i++)
        context[i] = es_sequence_token(s, total - ES_DRAFT_CONTEXT + i);
    size_t n = es_drafts_guess(&e->drafts, context, most < left ? most : left, s->guess);
    if (es_pages_for(&e->pages, total + (int64_t)n) > (int32_t)s->page_count + es_pages_available(&e->pages))
        return ES_OK;
    ES_TRY(es_sequence_grow(e, s, total + (int64_t)n, &grown, err));
    s->guess_count = grown ? n : 0;
    return ES_OK;
}

/* Sets the youngest sequence of the lowest priority aside. */
static es_sequence *make_room(es_engine *e)
{
    es_sequence *victim = NULL;
    for (es_sequence *s = e->first; s != NULL; s = s->next)
        if (s->page_count > 0 && s->stage != ES_STAGE_DONE)
            victim = s; /* the list goes by priority, then age: the last is the one */
    if (victim != NULL)
        es_sequence_set_aside(e, victim);
    return victim;
}

/* How many tokens each decoding sequence may guess in this pass. */
static size_t guesses_each(es_engine *e)
{
    size_t decoding = 0;
    for (const es_sequence *s = e->first; s != NULL; s = s->next)
        decoding += s->stage == ES_STAGE_DECODE;
    return decoding > 0 && es_drafts_worthwhile(&e->drafts) ? es_most_guesses(e) / decoding : 0;
}

/* Rows of all decoding sequences, the most deserving first, each with a page for its row. Who is set aside comes after
 * (or is) the one that room is made for, so nobody already added goes. */
static es_status add_decoding(es_engine *e, pass *p, es_error *err)
{
    size_t guesses = guesses_each(e);
    for (es_sequence *s = e->first; s != NULL; s = s->next) {
        bool grown = false;
        int64_t total = es_sequence_total(s);
        while (s->stage == ES_STAGE_DECODE && !grown) {
            ES_TRY(es_sequence_grow(e, s, total, &grown, err));
            if (!grown && make_room(e) == NULL)
                return es_fail(err, ES_ERR_INTERNAL, "no page is left, but nobody has any");
        }
        if (s->stage != ES_STAGE_DECODE)
            continue;
        ES_TRY(guess_next(e, s, guesses, err));
        int64_t guessed = (int64_t)s->guess_count;
        add_rows(e, p, s, s->past, total - s->past + guessed, 1 + guessed);
    }
    return ES_OK;
}

#define FEWEST_ROWS 16 /* of a prompt, however slow they are */

/* How much of the prompt goes into this pass; under the latency policy no more than others, who may come any moment,
 * may wait for their row. */
static int64_t chunk_of(const es_engine *e, const es_sequence *s)
{
    int64_t left = es_sequence_total(s) - s->past, chunk = e->options.prefill_chunk;
    if (e->options.policy == ES_POLICY_LATENCY) {
        double rows = e->row_seconds > 0 ? e->options.patience / e->row_seconds : (double)chunk / 4;
        rows = rows < FEWEST_ROWS ? FEWEST_ROWS : rows;
        chunk = rows < (double)chunk ? (int64_t)rows : chunk;
    }
    return left < chunk ? left : chunk;
}

/* Takes the logits of a sequence's last token and of the guesses after it, rows first .. first + guesses of the pass's
 * (picked: only the best of each is known), for as long as what is said is what was guessed: then its keys and values
 * are there, and so are the logits after it. */
static es_status take_tokens(es_engine *e, es_sequence *s, int64_t first, bool picked, es_error *err)
{
    size_t guesses = s->guess_count, right = 0;
    int32_t guess[ES_DRAFT_MAX];
    memcpy(guess, s->guess, sizeof guess);
    s->guess_count = 0;
    es_status status = ES_OK;
    for (bool agreed = true; status == ES_OK && agreed && s->stage != ES_STAGE_DONE;) {
        size_t before = s->ids.count, said = right;
        int64_t row = first + (int64_t)right;
        float *logits = picked ? NULL : e->logits + row * e->model->config.text.vocab;
        status = es_sequence_accept(e, s, logits, e->best[row], err);
        /* A grammar may have added more than one. */
        while (said < guesses && before < s->ids.count && s->ids.items[before] == guess[said]) {
            said++;
            before++;
        }
        agreed = said > right && before == s->ids.count;
        if (status == ES_OK)
            status = es_sequence_advance(e, s, (int64_t)(said - right), err);
        right = said;
    }
    e->stats.tokens_guessed += (int64_t)guesses;
    e->stats.tokens_guessed_right += (int64_t)right;
    es_drafts_verdict(&e->drafts, guesses, right);
    return status;
}

/* What the pass gave each sequence. A sequence's own failure ends it alone. */
static void take_results(es_engine *e, const pass *p, bool picked, double seconds)
{
    int64_t logits = 0;
    double share = seconds / (double)p->rows;
    for (size_t i = 0; i < p->parts; i++) {
        es_sequence *s = e->who[i];
        es_error own = {0};
        int64_t n = e->attend[i].count, guesses = (int64_t)s->guess_count;
        bool decoding = s->stage == ES_STAGE_DECODE;
        *(decoding ? &s->answer.seconds_generate : &s->answer.seconds_prefill) += share * (double)n;
        *(decoding ? &e->stats.seconds_decode : &e->stats.seconds_prefill) += share * (double)n;
        *(decoding ? &e->stats.decoded_rows : &e->stats.prefilled_rows) += n;
        bool whole = s->past + n - guesses == es_sequence_total(s);
        es_status status = es_sequence_advance(e, s, n - guesses, &own);
        if (status == ES_OK && whole)
            status = take_tokens(e, s, logits, picked, &own);
        logits += whole ? 1 + guesses : 0;
        if (status != ES_OK)
            es_sequence_finish(s, status, &own);
    }
}

es_status es_pass_text(es_engine *e, es_sequence *feed, bool with_decode, const es_cancel *cancel, es_error *err)
{
    pass p = {0, 0, 0, 0};
    double begin = es_now();
    if (with_decode) {
        ES_TRY(add_decoding(e, &p, err));
        e->tower_seconds = 0;
    }
    if (feed != NULL && feed->stage == ES_STAGE_PREFILL) {
        int64_t n = chunk_of(e, feed);
        feed->guess_count = 0;
        add_rows(e, &p, feed, feed->past, n, feed->past + n == es_sequence_total(feed));
    }
    if (p.rows == 0)
        return ES_OK;
    es_text_batch batch = {.rows = p.rows,
                           .ids = e->ids,
                           .positions = e->positions,
                           .sequences = e->attend,
                           .sequence_count = p.parts,
                           .visual = e->visual,
                           .visual_count = p.visual,
                           .logit_rows = e->logit_rows,
                           .logit_count = p.logits};
    bool picked = true; /* when nobody wants more of the logits than the best, they need not come from the device */
    for (size_t i = 0; i < p.parts; i++)
        picked = picked && es_sequence_takes_best(e->who[i]);
    batch.best = picked ? e->best : NULL;
    const es_watch *watch = p.parts == 1 ? e->who[0]->request.watch : NULL;
    ES_TRY(es_text_forward(e->model, &e->text, e->kv, &batch, e->logits, watch, cancel, err));
    e->stats.steps++;
    e->stats.decode_passes += feed == NULL || p.parts > 1;
    double end = es_now();
    if (feed != NULL && p.rows > 0 && e->who[p.parts - 1] == feed)
        e->row_seconds = (end - begin) / (double)p.rows;
    take_results(e, &p, picked, end - begin);
    e->stats.seconds_sample += es_now() - end;
    return ES_OK;
}

/* --- the vision tower --- */

void es_lane_clear(es_engine *e, const es_sequence *s)
{
    for (int i = 0; i < ES_LANES; i++) {
        if (e->lanes[i].sequence != s)
            continue;
        e->lanes[i].sequence = NULL;
        es_vision_run_free(&e->lanes[i].run);
    }
}

void es_sequence_see(es_sequence *s, es_picture *picture)
{
    s->pictures[s->vision_at++] = picture;
    if (s->vision_at == s->prompt.grid_count)
        s->stage = ES_STAGE_PREFILL;
}

/* Puts the picture at hand into the lane, unless it is known. */
static es_status enter_lane(es_engine *e, es_lane *lane, es_sequence *s, es_error *err)
{
    es_picture *known =
        s->request.watch == NULL ? es_pictures_find(&e->pictures, s->picture_hashes[s->vision_at]) : NULL;
    if (known != NULL) {
        e->stats.pictures_reused++;
        es_sequence_see(s, known);
        return ES_OK;
    }
    ES_TRY(es_vision_begin(e->model, &lane->scratch, &s->request.prompt.pictures[s->vision_at], &lane->run,
                           s->request.watch, err));
    lane->sequence = s;
    return ES_OK;
}

/* Whether anyone who is here will need the tower. */
static bool tower_wanted(const es_engine *e)
{
    for (const es_sequence *s = e->first; s != NULL; s = s->next)
        if (s->stage == ES_STAGE_VISION || (s->stage == ES_STAGE_QUEUED && s->prompt.grid_count > 0))
            return true;
    return false;
}

static es_status advance_lane(es_engine *e, es_lane *lane, es_error *err)
{
    es_sequence *s = lane->sequence;
    bool done;
    es_status status = es_vision_advance(e->model, &lane->scratch, &lane->run, &done, s->request.watch, err);
    if (status != ES_OK) {
        lane->sequence = NULL;
        return status;
    }
    if (!done)
        return ES_OK;
    es_picture *picture;
    lane->sequence = NULL;
    if (e->shelf != NULL)
        status = es_vision_output_fetch(&lane->run.output, err); /* its thread knows no device */
    if (status != ES_OK) {
        es_vision_run_free(&lane->run);
        return status;
    }
    ES_TRY(es_pictures_add(&e->pictures, s->picture_hashes[s->vision_at], &lane->run.output, &picture, err));
    e->stats.pictures_encoded++;
    if (s->request.watch == NULL)
        es_disk_keep(e, picture);
    es_sequence_see(s, picture);
    if (!tower_wanted(e)) /* its scratch would stand beside the keys and values of all */
        es_vision_scratch_free(&lane->scratch, e->model->device);
    return ES_OK;
}

es_status es_pass_vision(es_engine *e, es_sequence *s, double until, const es_cancel *cancel, es_error *err)
{
    es_lane *lane = &e->lanes[s->request.priority > 0 ? 1 : 0];
    if (lane->sequence != NULL && lane->sequence != s)
        return es_fail(err, ES_ERR_INTERNAL, "two pictures in one lane");
    double begin = es_now();
    es_status status = ES_OK;
    do {
        if (es_cancel_asked(cancel))
            status = es_fail(err, ES_ERR_CANCELLED, "cancelled");
        else if (lane->sequence == NULL)
            status = enter_lane(e, lane, s, err);
        else
            status = advance_lane(e, lane, err);
    } while (status == ES_OK && s->stage == ES_STAGE_VISION && !es_disk_waits(s) && es_now() < until);
    double seconds = es_now() - begin;
    e->tower_seconds += seconds;
    s->answer.seconds_vision += seconds;
    e->stats.seconds_vision += seconds;
    return status;
}
