/* flow.c - try more; keep it when it pays, give it back when it does not. */
#include "intelligence/net/flow.h"

#define WORTH 0.25 /* of the gain that a server would show which answers all side by side */
#define FIRST_PATIENCE 4
#define MOST_PATIENCE 256

void es_flow_begin(es_flow *f, size_t most)
{
    *f = (es_flow){.limit = 1, .most = most > 0 ? most : 1, .proven = 1, .patience = FIRST_PATIENCE};
}

/* A new limit: the answers under way were sent under the old one and don't count. */
static void change(es_flow *f, size_t limit)
{
    f->skipped = f->limit < limit ? limit : f->limit;
    f->limit = limit;
    f->measuring = false;
}

static size_t above(const es_flow *f)
{
    size_t next = f->limit + (f->limit > 1 ? f->limit / 2 : 1);
    return next < f->most ? next : f->most;
}

static void judge(es_flow *f, double rate)
{
    if (f->limit > f->proven) { /* this was a try */
        double wanted = 1 + WORTH * ((double)f->limit / (double)f->proven - 1);
        if (rate < f->proven_rate * wanted) {
            f->patience = f->patience * 2 < MOST_PATIENCE ? f->patience * 2 : MOST_PATIENCE;
            f->stayed = 0;
            change(f, f->proven);
            return;
        }
        f->patience = FIRST_PATIENCE;
        f->proven = f->limit;
        f->stayed = f->patience;
    }
    f->proven_rate = rate;
    f->stayed++;
    if (f->limit < f->most && f->stayed >= f->patience)
        change(f, above(f));
}

void es_flow_answered(es_flow *f, size_t frames, double now)
{
    if (f->skipped > 0) {
        f->skipped--;
        return;
    }
    if (!f->measuring) {
        f->measuring = true;
        f->window_start = now;
        f->counted = 0;
        /* The first window at the first limit is all there is to compare with: no patience before the first try. */
        if (f->proven_rate <= 0)
            f->stayed = f->patience;
        return;
    }
    f->counted += frames;
    if (f->counted < 2 * f->limit || now <= f->window_start)
        return;
    double rate = (double)f->counted / (now - f->window_start);
    f->window_start = now;
    f->counted = 0;
    judge(f, rate);
}

void es_flow_refused(es_flow *f)
{
    size_t limit = f->limit > 1 ? f->limit / 2 : 1;
    f->proven = limit;
    f->proven_rate = 0;
    f->patience = f->patience * 2 < MOST_PATIENCE ? f->patience * 2 : MOST_PATIENCE;
    f->stayed = 0;
    change(f, limit);
}
