/* Pages against a plain list that remembers everything: 200,000 random operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pages.h"

#define TOTAL 24
#define KEYS 60

static uint64_t random_state = 1;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

static es_hash key_of(uint32_t k)
{
    return (es_hash){k % 7, k}; /* many in a bucket */
}

typedef struct model {
    int users[TOTAL];
    int key[TOTAL];    /* -1: none */
    long since[TOTAL]; /* when it was last given back by its last user */
    long now;
} model;

static int with_key(const model *m, int key)
{
    for (int i = 0; i < TOTAL; i++)
        if (m->key[i] == key)
            return i;
    return -1;
}

/* Which page may be taken: an unkeyed unused one, else the keyed unused one given back longest ago. */
static void check_taken(const model *m, int32_t page)
{
    bool free_left = false;
    int oldest = -1;
    for (int i = 0; i < TOTAL; i++) {
        if (m->users[i] > 0)
            continue;
        free_left = free_left || m->key[i] < 0;
        if (m->key[i] >= 0 && (oldest < 0 || m->since[i] < m->since[oldest]))
            oldest = i;
    }
    if (free_left) {
        assert_in_range(page, 0, TOTAL - 1);
        assert_true(m->users[page] == 0 && m->key[page] < 0);
    } else {
        assert_int_equal(page, oldest);
    }
}

static void one_operation(es_pages *p, model *m)
{
    uint32_t what = draw(4), at = draw(TOTAL), k = draw(KEYS);
    m->now++;
    if (what == 0) {
        int32_t page = es_pages_take(p);
        check_taken(m, page);
        if (page >= 0) {
            m->users[page] = 1;
            m->key[page] = -1;
        }
    } else if (what == 1) {
        int32_t page = es_pages_find(p, key_of(k));
        assert_int_equal(page, with_key(m, (int)k));
        if (page >= 0)
            m->users[page]++;
    } else if (what == 2 && m->users[at] > 0) {
        es_pages_seal(p, (int32_t)at, key_of(k));
        if (m->key[at] < 0 && with_key(m, (int)k) < 0)
            m->key[at] = (int)k;
    } else if (what == 3 && m->users[at] > 0) {
        es_pages_release(p, (int32_t)at);
        if (--m->users[at] == 0)
            m->since[at] = m->now;
    }
}

static void pages_do_what_a_plain_list_does(void **state)
{
    (void)state;
    es_pages p;
    es_error err;
    model m = {.now = 0};
    memset(m.key, -1, sizeof m.key);
    assert_int_equal(es_pages_create(&p, TOTAL, 32, &err), ES_OK);
    for (int i = 0; i < 200000; i++) {
        one_operation(&p, &m);
        int available = 0;
        for (int j = 0; j < TOTAL; j++)
            available += m.users[j] == 0;
        assert_int_equal(es_pages_available(&p), available);
    }
    es_pages_free(&p);
}

static void tokens_are_rounded_up_to_pages(void **state)
{
    (void)state;
    es_pages p = {.page_tokens = 32};
    assert_int_equal(es_pages_for(&p, 0), 0);
    assert_int_equal(es_pages_for(&p, 1), 1);
    assert_int_equal(es_pages_for(&p, 32), 1);
    assert_int_equal(es_pages_for(&p, 33), 2);
    assert_int_equal(es_pages_for(&p, INT64_MAX - 100), INT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_do_what_a_plain_list_does),
        cmocka_unit_test(tokens_are_rounded_up_to_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
