/* sequence.c - one prompt on its way to an answer: its tokens, its pages, its next token. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "engine/internal.h"

/* --- encoding --- */

void es_encoded_free(es_encoded *encoded)
{
    es_ids_free(&encoded->ids);
    free(encoded->grids);
    free(encoded->positions);
    *encoded = (es_encoded){0};
}

static es_status encode_parts(const es_model *model, const es_prompt *prompt, int32_t *image_tokens, es_encoded *e,
                              es_error *err)
{
    int32_t merge = model->config.vision.merge_size;
    for (size_t i = 0; i < prompt->picture_count; i++) {
        const es_patches *p = &prompt->pictures[i];
        e->grids[i][0] = p->grid_h / merge;
        e->grids[i][1] = p->grid_w / merge;
        int64_t tokens = (int64_t)e->grids[i][0] * e->grids[i][1];
        if (tokens <= 0 || e->image_tokens + tokens > INT32_MAX)
            return es_fail(err, ES_ERR_LIMIT, "picture %zu has %lld tokens", i, (long long)tokens);
        image_tokens[i] = (int32_t)tokens;
        e->image_tokens += (int32_t)tokens;
    }
    ES_TRY(es_chat_encode(model->tokenizer, &model->config, prompt->messages, prompt->message_count, image_tokens,
                          prompt->picture_count, &e->ids, err));
    e->positions = es_calloc(e->ids.count, sizeof *e->positions);
    if (e->positions == NULL)
        return es_fail_memory(err, "positions", e->ids.count * sizeof *e->positions);
    return es_text_positions(&model->config, e->ids.items, e->ids.count, (const int32_t(*)[2])e->grids, e->grid_count,
                             e->positions, &e->next_position, err);
}

es_status es_engine_encode(const es_model *model, const es_prompt *prompt, es_encoded *encoded, es_error *err)
{
    *encoded = (es_encoded){.grid_count = prompt->picture_count};
    int32_t *image_tokens = es_calloc(prompt->picture_count, sizeof *image_tokens);
    encoded->grids = es_calloc(prompt->picture_count, sizeof *encoded->grids);
    es_status status;
    if (image_tokens == NULL || encoded->grids == NULL)
        status = es_fail_memory(err, "a prompt", 0);
    else
        status = encode_parts(model, prompt, image_tokens, encoded, err);
    free(image_tokens);
    if (status != ES_OK)
        es_encoded_free(encoded);
    return status;
}

/* The answer depends on these and nothing else. */
static es_hash answer_key(const es_engine *e, const es_sequence *s)
{
    const es_generation *g = &s->request.generation;
    const es_sampling *how = &g->sampling;
    const float numbers[] = {
        how->temperature,      how->top_p, how->min_p, how->repetition_penalty, how->presence_penalty,
        how->frequency_penalty};
    const es_hash form = g->matcher != NULL ? es_matcher_key(g->matcher) : (es_hash){0, 0};
    const uint64_t whole[] = {(uint64_t)s->budget, g->ignore_eos, (uint64_t)how->top_k, how->seed, form.a, form.b};
    es_hash key = es_hash_bytes(e->hash_key, s->prompt.ids.items, s->prompt.ids.count * sizeof *s->prompt.ids.items);
    key = es_hash_bytes(key, s->picture_hashes, s->prompt.grid_count * sizeof *s->picture_hashes);
    key = es_hash_bytes(key, numbers, sizeof numbers);
    return es_hash_bytes(key, whole, sizeof whole);
}

static es_status check_room(const es_engine *e, es_sequence *s, es_error *err)
{
    int64_t count = (int64_t)s->prompt.ids.count, context = e->options.context;
    s->answer.prompt_tokens = (int32_t)count;
    s->answer.image_tokens = s->prompt.image_tokens;
    if (count >= context)
        return es_fail(err, ES_ERR_LIMIT,
                       "the prompt has %lld tokens (%d of them pictures), more than the context of %lld can hold: use "
                       "fewer or smaller pictures, or a larger context",
                       (long long)count, s->prompt.image_tokens, (long long)context);
    int32_t wanted = s->request.generation.max_tokens;
    if (wanted < 1)
        return es_fail(err, ES_ERR_ARGUMENT, "max tokens is %d, must be 1 or more", wanted);
    s->budget = wanted < context - count ? wanted : (int32_t)(context - count);
    int64_t room = (int64_t)e->pages.total * e->pages.page_tokens;
    if (count + s->budget > room)
        return es_fail(err, ES_ERR_LIMIT,
                       "%lld tokens of prompt and answer need more memory than there is for keys and values (room for "
                       "%lld)",
                       (long long)count + s->budget, (long long)room);
    return ES_OK;
}

static es_status find_places(const es_engine *e, es_sequence *s, es_error *err)
{
    s->places = es_calloc(s->prompt.ids.count, sizeof *s->places);
    if (s->places == NULL)
        return es_fail_memory(err, "a prompt", s->prompt.ids.count * sizeof *s->places);
    es_place at = {0, 0};
    for (size_t i = 0; i < s->prompt.ids.count; i++) {
        if (s->prompt.ids.items[i] != e->model->config.image_token) {
            s->places[i].picture = -1;
            continue;
        }
        s->places[i] = at;
        const int32_t *grid = s->prompt.grids[at.picture]; /* es_text_positions has checked that all fit */
        if (++at.token == grid[0] * grid[1])
            at = (es_place){at.picture + 1, 0};
    }
    return ES_OK;
}

#define TEXT_EACH 8                 /* bytes of text a token has at most, by and large */
#define TEXT_MOST ((size_t)1 << 20) /* reserved for an answer's text */

/* Room for all that grows with the answer, so that a token costs no allocation. */
static es_status reserve(const es_engine *e, es_sequence *s, es_error *err)
{
    size_t budget = (size_t)s->budget, text = budget * TEXT_EACH < TEXT_MOST ? budget * TEXT_EACH : TEXT_MOST;
    size_t pages = (size_t)es_pages_for(&e->pages, (int64_t)(s->prompt.ids.count + budget));
    struct {
        void *items;
        size_t *capacity, need, size;
    } all[] = {{s->ids.items, &s->ids.capacity, budget, sizeof *s->ids.items},
               {s->text.data, &s->text.capacity, text, 1},
               {s->pages, &s->page_capacity, pages, sizeof *s->pages},
               {s->keys, &s->key_capacity, pages, sizeof *s->keys}};
    bool failed = false;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        failed = es_grow(&all[i].items, all[i].capacity, all[i].need, all[i].size) != 0 || failed;
    s->ids.items = all[0].items;
    s->text.data = all[1].items;
    s->pages = all[2].items;
    s->keys = all[3].items;
    if (failed)
        return es_fail_memory(err, "a sequence", text + budget * sizeof *s->ids.items);
    s->text.data[0] = '\0';
    return ES_OK;
}

static es_status create_parts(es_engine *e, es_sequence *s, es_error *err)
{
    const es_prompt *prompt = &s->request.prompt;
    ES_TRY(es_engine_encode(e->model, prompt, &s->prompt, err));
    ES_TRY(check_room(e, s, err));
    ES_TRY(find_places(e, s, err));
    ES_TRY(reserve(e, s, err));
    ES_TRY(es_sampler_create(&s->sampler, &s->request.generation.sampling, e->model->config.text.vocab, err));
    for (size_t i = 0; i < s->prompt.ids.count; i++)
        es_sampler_saw(s->sampler, s->prompt.ids.items[i]);
    if (s->request.generation.scored)
        ES_TRY(es_scores_create(&s->scores, e->model->config.text.vocab, s->request.generation.best_count, err));
    s->pictures = es_calloc(prompt->picture_count, sizeof *s->pictures);
    s->picture_hashes = es_calloc(prompt->picture_count, sizeof *s->picture_hashes);
    s->wanted = e->shelf != NULL ? es_calloc(prompt->picture_count, sizeof(es_wanted *)) : NULL;
    if (s->pictures == NULL || s->picture_hashes == NULL || (e->shelf != NULL && s->wanted == NULL))
        return es_fail_memory(err, "a prompt", 0);
    for (size_t i = 0; i < prompt->picture_count; i++)
        s->picture_hashes[i] = es_picture_hash(e->hash_key, &prompt->pictures[i]);
    s->answer_key = answer_key(e, s);
    const es_matcher *m = s->request.generation.matcher;
    if (m == NULL)
        return ES_OK;
    s->match = es_matcher_start(m);
    s->in_time = es_matcher_distance(m, s->match) <= s->budget;
    return es_sequence_take_forced(e, s, err);
}

es_status es_sequence_create(es_engine *e, const es_request *request, es_sequence **sequence, es_error *err)
{
    es_sequence *s = es_calloc(1, sizeof *s);
    *sequence = s;
    if (s == NULL)
        return es_fail_memory(err, "a sequence", sizeof *s);
    s->request = *request;
    es_status status = create_parts(e, s, err);
    if (status != ES_OK) {
        es_sequence_free(e, s);
        *sequence = NULL;
    }
    return status;
}

static void release_pages(es_engine *e, es_sequence *s)
{
    /* The last first: of a cached run its beginning should stay longest. */
    while (s->page_count > 0)
        es_pages_release(&e->pages, s->pages[--s->page_count]);
    s->past = 0;
    s->key_count = 0;
}

static void release_pictures(es_engine *e, es_sequence *s)
{
    for (size_t i = 0; s->pictures != NULL && i < s->prompt.grid_count; i++) {
        es_pictures_release(&e->pictures, s->pictures[i]);
        s->pictures[i] = NULL;
    }
}

void es_sequence_free(es_engine *e, es_sequence *s)
{
    es_lane_clear(e, s);
    es_disk_forget(e, s);
    release_pages(e, s);
    release_pictures(e, s);
    free(s->wanted);
    free(s->pages);
    free(s->keys);
    free(s->pictures);
    free(s->picture_hashes);
    free(s->places);
    es_encoded_free(&s->prompt);
    es_sampler_free(s->sampler);
    es_scores_free(&s->scores);
    es_str_free(&s->text);
    es_ids_free(&s->ids);
    free(s);
}

/* --- tokens --- */

int64_t es_sequence_total(const es_sequence *s)
{
    return (int64_t)(s->prompt.ids.count + s->ids.count);
}

int32_t es_sequence_token(const es_sequence *s, int64_t i)
{
    int64_t prompt = (int64_t)s->prompt.ids.count, total = es_sequence_total(s);
    if (i >= total)
        return s->guess[i - total];
    return i < prompt ? s->prompt.ids.items[i] : s->ids.items[i - prompt];
}

es_position es_sequence_position(const es_sequence *s, int64_t i)
{
    int64_t prompt = (int64_t)s->prompt.ids.count;
    if (i < prompt)
        return s->prompt.positions[i];
    int32_t at = s->prompt.next_position + (int32_t)(i - prompt);
    return (es_position){{at, at, at}};
}

/* --- pages --- */

/* The key of page `page`, whose tokens are all known: what stands before it, and what stands in it. */
static es_hash page_key(const es_engine *e, const es_sequence *s, int64_t page)
{
    int32_t n = e->pages.page_tokens;
    es_hash key = page == 0 ? e->hash_key : s->keys[page - 1];
    for (int64_t i = page * n; i < (page + 1) * n; i++) {
        int32_t id = es_sequence_token(s, i);
        key = es_hash_bytes(key, &id, sizeof id);
        if (i >= (int64_t)s->prompt.ids.count || s->places[i].picture < 0)
            continue;
        es_hash shown = s->picture_hashes[s->places[i].picture]; /* its size is part of it, and so all positions */
        key = es_hash_bytes(key, &shown, sizeof shown);
        key = es_hash_bytes(key, &s->places[i].token, sizeof s->places[i].token);
    }
    return key;
}

static es_status push_page(es_sequence *s, int32_t page, es_error *err)
{
    void *items = s->pages;
    if (es_grow(&items, &s->page_capacity, s->page_count + 1, sizeof *s->pages) != 0)
        return es_fail_memory(err, "a page table", 0);
    s->pages = items;
    s->pages[s->page_count++] = page;
    return ES_OK;
}

static es_status push_key(es_sequence *s, es_hash key, es_error *err)
{
    void *items = s->keys;
    if (es_grow(&items, &s->key_capacity, s->key_count + 1, sizeof *s->keys) != 0)
        return es_fail_memory(err, "a page table", 0);
    s->keys = items;
    s->keys[s->key_count++] = key;
    return ES_OK;
}

/* Whether its content may be shared with others, and theirs with it. */
static bool shares(const es_engine *e, const es_sequence *s)
{
    return !e->options.no_prefix_cache && s->request.watch == NULL;
}

/* Takes over the longest run of known pages, leaving at least one token to compute. */
static es_status take_known(es_engine *e, es_sequence *s, es_error *err)
{
    int64_t n = e->pages.page_tokens, total = es_sequence_total(s);
    while (shares(e, s) && s->past + n < total) {
        es_hash key = page_key(e, s, s->past / n);
        int32_t page = es_pages_find(&e->pages, key);
        if (page < 0)
            break;
        es_status status = push_page(s, page, err);
        if (status != ES_OK) {
            es_pages_release(&e->pages, page);
            return status;
        }
        ES_TRY(push_key(s, key, err));
        s->past += n;
    }
    return ES_OK;
}

es_status es_sequence_grow(es_engine *e, es_sequence *s, int64_t tokens, bool *grown, es_error *err)
{
    size_t need = (size_t)es_pages_for(&e->pages, tokens);
    *grown = true;
    while (s->page_count < need) {
        int32_t page = es_pages_take(&e->pages);
        if (page < 0) {
            *grown = false;
            return ES_OK;
        }
        es_status status = push_page(s, page, err);
        if (status != ES_OK) {
            es_pages_release(&e->pages, page);
            return status;
        }
    }
    return ES_OK;
}

/* The first picture of which a token is still to be computed. */
static size_t first_picture_needed(const es_sequence *s)
{
    for (size_t i = (size_t)s->past; i < s->prompt.ids.count; i++)
        if (s->places[i].picture >= 0)
            return (size_t)s->places[i].picture;
    return s->prompt.grid_count;
}

es_status es_sequence_admit(es_engine *e, es_sequence *s, bool *admitted, es_error *err)
{
    int64_t total = es_sequence_total(s);
    ES_TRY(take_known(e, s, err));
    int32_t lacking = es_pages_for(&e->pages, total + 1) - (int32_t)s->page_count;
    *admitted = lacking <= es_pages_available(&e->pages);
    if (!*admitted) {
        release_pages(e, s);
        return ES_OK;
    }
    bool grown;
    ES_TRY(es_sequence_grow(e, s, total, &grown, err));
    s->answer.cached_tokens = (int32_t)s->past;
    e->stats.prefix_tokens_reused += s->past;
    s->begun = true;
    s->vision_at = first_picture_needed(s);
    s->stage = s->vision_at < s->prompt.grid_count ? ES_STAGE_VISION : ES_STAGE_PREFILL;
    es_disk_ask(e, s);
    return ES_OK;
}

void es_sequence_set_aside(es_engine *e, es_sequence *s)
{
    es_lane_clear(e, s);
    es_disk_forget(e, s);
    release_pages(e, s);
    release_pictures(e, s);
    s->stage = ES_STAGE_QUEUED;
    e->stats.preemptions++;
}

es_status es_sequence_advance(es_engine *e, es_sequence *s, int64_t n, es_error *err)
{
    int64_t page_tokens = e->pages.page_tokens;
    s->past += n;
    while (shares(e, s) && (int64_t)(s->key_count + 1) * page_tokens <= s->past) {
        es_hash key = page_key(e, s, (int64_t)s->key_count);
        es_pages_seal(&e->pages, s->pages[s->key_count], key);
        ES_TRY(push_key(s, key, err));
    }
    if (s->past >= (int64_t)s->prompt.ids.count)
        release_pictures(e, s);
    return ES_OK;
}

/* --- the next token --- */

static bool is_end(const es_model_config *config, int32_t id)
{
    for (int32_t i = 0; i < config->eos_count; i++)
        if (config->eos[i] == id)
            return true;
    return false;
}

/* Models can say NUL; a C string cannot. From `from` on, each becomes U+FFFD. */
static void replace_nuls(es_str *text, size_t from)
{
    if (text->failed || text->length == from || memchr(text->data + from, '\0', text->length - from) == NULL)
        return;
    es_str clean = {0};
    es_str_append_n(&clean, text->data, from);
    for (size_t i = from; i < text->length; i++)
        es_str_append_n(&clean, text->data[i] == '\0' ? "\xEF\xBF\xBD" : text->data + i, text->data[i] == '\0' ? 3 : 1);
    es_str_free(text);
    *text = clean;
}

/* The answer grows by a token; `forced`: nothing else could come. */
static es_status add_token(const es_engine *e, es_sequence *s, int32_t id, bool forced, es_error *err)
{
    size_t before = s->text.length;
    es_sampler_said(s->sampler, id);
    ES_TRY(es_ids_add(&s->ids, id, err));
    ES_TRY(es_decoder_push(&s->decoder, e->model->tokenizer, id, &s->text, err));
    replace_nuls(&s->text, before);
    if (s->request.generation.matcher != NULL)
        ES_TRY(es_matcher_token(s->request.generation.matcher, s->match, id, &s->match, err));
    ES_TRY(es_str_check(&s->text, err));
    if (!s->request.generation.scored || s->request.token == NULL)
        return ES_OK;
    es_token_score score = forced ? es_scores_certain(&s->scores, id) : es_scores_of(&s->scores, id);
    score.text_begin = before;
    score.text_end = s->text.length;
    s->request.token(s->request.context, &score);
    return ES_OK;
}

/* How the tokens of what must come next are cut is the tokenizer's choice; the last one might have been longer with
 * what follows, so the model is asked for it. What must come may begin or end within a character, or be in another
 * normal form than the tokenizer writes: tokens are taken only as far as they say those bytes. */
es_status es_sequence_take_forced(es_engine *e, es_sequence *s, es_error *err)
{
    es_str bytes = {0};
    es_ids ids = {0};
    es_status status = es_matcher_forced(s->request.generation.matcher, s->match, &bytes, err);
    if (status == ES_OK && bytes.length > 0)
        status = es_tokenizer_encode(e->model->tokenizer, bytes.data, bytes.length, false, &ids, err);
    size_t left = (size_t)s->budget - s->ids.count, at = 0;
    size_t most = ids.count > 0 ? ids.count - 1 : 0;
    most = most < ES_AHEAD ? most : ES_AHEAD;
    most = most < left ? most : left - (left > 0);
    for (size_t i = 0; status == ES_OK && i < most; i++) {
        size_t n = 0;
        const char *token = es_tokenizer_bytes(e->model->tokenizer, ids.items[i], &n);
        if (token == NULL || n == 0 || n > bytes.length - at || memcmp(token, bytes.data + at, n) != 0)
            break;
        at += n;
        status = add_token(e, s, ids.items[i], true, err);
    }
    es_ids_free(&ids);
    es_str_free(&bytes);
    return status;
}

/* Leaves the logits of what may come next: tokens the grammar allows, and end tokens where it may end. *end: nothing
 * but the end may come. */
static es_status mask(const es_engine *e, es_sequence *s, float *logits, bool *end, es_error *err)
{
    const es_model_config *c = &e->model->config;
    es_matcher *m = s->request.generation.matcher;
    float ends[sizeof c->eos / sizeof *c->eos];
    bool any, accepts = es_matcher_accepts(m, s->match);
    for (int32_t i = 0; i < c->eos_count; i++)
        ends[i] = logits[c->eos[i]];
    int32_t left = s->in_time ? s->budget - (int32_t)s->ids.count - 1 : INT32_MAX;
    ES_TRY(es_matcher_mask(m, s->match, left, logits, &any, err));
    for (int32_t i = 0; accepts && i < c->eos_count; i++)
        logits[c->eos[i]] = ends[i];
    *end = !any && accepts;
    if (!any && !accepts)
        return es_fail(err, ES_ERR_UNSUPPORTED, "the model's vocabulary has no token that goes on with what must come");
    return ES_OK;
}

/* Tells the caller what is new, and whether the answer is whole. */
static es_status conclude(es_sequence *s, size_t before, bool end, es_error *err)
{
    bool full = !end && (int32_t)s->ids.count >= s->budget;
    size_t at = s->text.length;
    if (end || full)
        es_decoder_finish(&s->decoder, &s->text);
    replace_nuls(&s->text, at);
    ES_TRY(es_str_check(&s->text, err));
    if (s->request.piece != NULL && s->text.length > before &&
        !s->request.piece(s->request.context, s->text.data + before))
        return es_fail(err, ES_ERR_CANCELLED, "stopped by the caller");
    s->stage = ES_STAGE_DECODE;
    if (end || full) {
        s->answer.truncated = full;
        es_sequence_finish(s, ES_OK, NULL);
    }
    return ES_OK;
}

bool es_sequence_takes_best(const es_sequence *s)
{
    const es_generation *g = &s->request.generation;
    return g->matcher == NULL && !g->scored && es_sampling_is_plain(&g->sampling);
}

es_status es_sequence_accept(es_engine *e, es_sequence *s, float *logits, int32_t best, es_error *err)
{
    es_matcher *m = s->request.generation.matcher;
    size_t before = s->told;
    bool end = false;
    if (s->request.generation.scored)
        es_scores_look(&s->scores, logits);
    if (m != NULL)
        ES_TRY(mask(e, s, logits, &end, err));
    int32_t id = end ? -1 : logits == NULL ? best : es_sampler_pick(s->sampler, logits);
    end = end || (is_end(&e->model->config, id) && !s->request.generation.ignore_eos);
    if (!end) {
        ES_TRY(add_token(e, s, id, false, err));
        if (m != NULL && es_matcher_is_end(m, s->match))
            end = true;
        else if (m != NULL)
            ES_TRY(es_sequence_take_forced(e, s, err));
    }
    s->told = s->text.length;
    return conclude(s, before, end, err);
}

void es_sequence_finish(es_sequence *s, es_status status, const es_error *error)
{
    s->answer.status = status;
    if (status != ES_OK && error != NULL)
        s->answer.error = *error;
    s->answer.text = es_str_text(&s->text);
    s->answer.ids = s->ids.items;
    s->answer.id_count = s->ids.count;
    s->stage = ES_STAGE_DONE;
}
