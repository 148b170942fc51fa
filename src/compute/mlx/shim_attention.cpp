// shim_attention.cpp - attention, and the keys and values it reads.
#include "compute/mlx/shim.hpp"

#include <cmath>

namespace
{

// Scores of all rows at once would be large where no kernel does without them.
const int PIECE = 64;

array attention(const array &queries, const array &keys, const array &values, const char *mask_mode,
                const std::optional<array> &mask, mx::Stream s)
{
    float scale = 1.0f / std::sqrt((float)queries.shape(3));
    return mx::fast::scaled_dot_product_attention(queries, keys, values, scale, mask_mode, mask, {}, false, s);
}

// [b, heads, rows, dim] as rows of a matrix.
array flat_rows(const array &x, mx::Stream s)
{
    return mx::reshape(mx::transpose(x, {0, 2, 1, 3}, s), ints{x.shape(0) * x.shape(2), x.shape(1) * x.shape(3)}, s);
}

// Rows computed one after the other, joined; those that nothing was computed for are zeros.
struct joined {
    const es_mx_queue *q;
    int cols, end = 0;
    arrays made{};

    void fill(int to)
    {
        if (to > end)
            made.push_back(mx::zeros(ints{to - end, cols}, q->numbers, q->stream));
        end = to;
    }
    void add(const array &x)
    {
        made.push_back(x);
        end += x.shape(0);
    }
    array all() const
    {
        return made.size() == 1 ? made[0] : mx::concatenate(made, 0, q->stream);
    }
};

// On the processor rows go in pieces, by turns through the lanes; f(at, n, stream) computes some.
template <class F> void in_pieces(joined &y, int count, F f)
{
    const std::vector<mx::Stream> &lanes = y.q->lanes;
    if (lanes.empty())
        y.add(f(0, count, y.q->stream));
    for (int at = 0, i = 0; !lanes.empty() && at < count; at += PIECE, i++)
        y.add(f(at, std::min(PIECE, count - at), lanes[(size_t)i % lanes.size()]));
}

// What a part's sequences [from, from + n) may see of keys or values, their first `tokens`: [n, kv_heads, tokens, dim].
array see(const es_mx_queue *q, const array &cache, const es_mx_part &p, int page, int from, int n, int tokens,
          mx::Stream s)
{
    int kv_heads = cache.shape(0), dim = cache.shape(2);
    if (p.pages == nullptr) {
        ints start{0, narrow(p.slot), 0}, stop{kv_heads, narrow(p.slot + tokens), dim};
        return mx::expand_dims(mx::slice(cache, start, stop, s), 0, s);
    }
    int each = p.pages->a.shape(1);
    array pages = rows_of(p.pages->a, from, n, s);
    // On CUDA a number is a thread, so as few and wide ones as possible.
    bool widest = q->cuda && cache.itemsize() * (size_t)dim % 8 == 0;
    array paged = widest ? mx::view(cache, mx::uint64, s) : cache;
    int cols = paged.shape(2);
    paged = mx::reshape(paged, ints{kv_heads, -1, page, cols}, s);
    array head = mx::reshape(mx::arange(0, kv_heads, 1, mx::int32, s), ints{1, kv_heads, 1}, s);
    array found = mx::gather(paged, {head, mx::reshape(pages, ints{n, 1, each}, s)}, {0, 1}, ints{1, 1, page, cols}, s);
    found = mx::reshape(widest ? mx::view(found, cache.dtype(), s) : found, ints{n, kv_heads, each * page, dim}, s);
    return mx::slice(found, ints{0, 0, 0, 0}, ints{n, kv_heads, tokens, dim}, s);
}

// On CUDA keys and values in place are a risk: cuDNN's plans are made for one size of the cache, which grows, and take
// long to make; and for a single row MLX takes a cache of a multiple of 256 slots to begin with the sequence's first.
bool wants_copy(const es_mx_queue *q, const array &cache, const es_mx_part &p)
{
    return q->cuda && p.pages == nullptr && (p.count > 1 || (p.slot > 0 && cache.shape(1) % 256 == 0));
}

// One sequence's rows, each of which sees what is before it.
void attend_rows(joined &y, const array &in, const array &keys, const array &values, int page, const es_mx_part &p)
{
    const es_mx_queue *q = y.q;
    int count = narrow(p.count), dim = keys.shape(2), heads = in.shape(1) / dim;
    bool copy = wants_copy(q, keys, p);
    in_pieces(y, count, [&](int at, int n, mx::Stream s) {
        int tokens = narrow(p.longest) - count + at + n;
        array own = mx::reshape(rows_of(in, p.first + at, n, s), ints{1, n, heads, dim}, s);
        array k = see(q, keys, p, page, 0, 1, tokens, s), v = see(q, values, p, page, 0, 1, tokens, s);
        if (copy) {
            k = mx::contiguous(k, false, s);
            v = mx::contiguous(v, false, s);
        } else if (!q->lanes.empty() && n > 1) {
            k = upright(k, s);
        }
        return flat_rows(attention(mx::transpose(own, {0, 2, 1, 3}, s), k, v, n > 1 ? "causal" : "", {}, s), s);
    });
}

// Several sequences of one row each.
void attend_batch(joined &y, const array &in, const array &keys, const array &values, int page, const es_mx_part &p)
{
    int b = narrow(p.sequences), tokens = narrow(p.longest), dim = keys.shape(2), heads = in.shape(1) / dim;
    y.add(in_lanes(y.q, b, 2.0 * b * heads * dim * tokens, [&](int at, int n, mx::Stream s) {
        array own = mx::reshape(rows_of(in, p.first + at, n, s), ints{n, heads, 1, dim}, s);
        array k = see(y.q, keys, p, page, at, n, tokens, s), v = see(y.q, values, p, page, at, n, tokens, s);
        std::optional<array> mask;
        if (p.mask != nullptr)
            mask = mx::slice(p.mask->a, ints{at, 0, 0, 0}, ints{at + n, 1, 1, tokens}, s);
        return flat_rows(attention(own, k, v, "", mask, s), s);
    }));
}

} // namespace

extern "C" {

es_mx_status es_mx_attend_segments(es_mx_queue *q, es_mx **out, const es_mx *qkv, int64_t heads, int64_t head_dim,
                                   const es_segment *segments, size_t n)
{
    return give(q, out, [&] {
        mx::Stream s = q->stream;
        array whole = as_numbers(q, qkv->a);
        int rows = whole.shape(0), h = narrow(heads), d = narrow(head_dim);
        joined y{.q = q, .cols = h * d};
        q->pending += (size_t)rows * (size_t)h * PIECE * 2 * sizeof(float); // scores and their shares
        // [3, heads, rows, dim]
        array parts = mx::transpose(mx::reshape(whole, ints{rows, 3, h, d}, s), {1, 2, 0, 3}, s);
        auto cut = [&](int which, int first, int count, mx::Stream t) {
            return mx::reshape(mx::slice(parts, ints{which, 0, first, 0}, ints{which + 1, h, first + count, d}, t),
                               ints{1, h, count, d}, t);
        };
        for (size_t i = 0; i < n; i++) {
            int first = segments[i].first, count = segments[i].count;
            if (count == 0)
                continue;
            y.fill(first);
            array keys = cut(1, first, count, s), values = cut(2, first, count, s);
            if (!q->lanes.empty()) {
                keys = upright(keys, s);
                values = mx::contiguous(values, false, s);
            }
            in_pieces(y, count, [&](int at, int some, mx::Stream t) {
                return flat_rows(attention(cut(0, first + at, some, t), keys, values, "", {}, t), t);
            });
        }
        y.fill(rows);
        return y.all();
    });
}

// --- keys and values ---

es_mx_status es_mx_cache_make(es_mx_queue *q, es_mx **out, int64_t kv_heads, int64_t slots, int64_t head_dim)
{
    return give(q, out, [&] {
        return mx::zeros(ints{narrow(kv_heads), narrow(slots), narrow(head_dim)}, q->numbers, q->stream);
    });
}

es_mx_status es_mx_cache_grow(es_mx_queue *q, es_mx **out, const es_mx *cache, int64_t slots)
{
    return give(q, out, [&] {
        const array &a = cache->a;
        array more = mx::zeros(ints{a.shape(0), narrow(slots - a.shape(1)), a.shape(2)}, a.dtype(), q->stream);
        return mx::concatenate({a, more}, 1, q->stream);
    });
}

es_mx_status es_mx_cache_write(es_mx_queue *q, es_mx **out, const es_mx *cache, const es_mx *x, const es_mx *rows,
                               const es_mx *slots, int64_t first)
{
    return give(q, out, [&] {
        mx::Stream s = q->stream;
        const array &to = cache->a;
        int heads = to.shape(0), dim = to.shape(2), n = slots->a.shape(0);
        array from = as_numbers(q, rows != nullptr ? mx::take(x->a, rows->a, 0, s) : x->a);
        if (first >= 0) {
            array turned = mx::transpose(mx::reshape(from, ints{n, heads, dim}, s), {1, 0, 2}, s);
            return mx::slice_update(to, turned, ints{0, narrow(first), 0}, ints{heads, narrow(first + n), dim}, s);
        }
        return mx::scatter(to, slots->a, mx::reshape(from, ints{n, heads, 1, dim}, s), 1, s);
    });
}

es_mx_status es_mx_mask(es_mx_queue *q, es_mx **out, const int32_t *lengths, int64_t n, int64_t tokens)
{
    return give(q, out, [&] {
        array seen(lengths, ints{narrow(n), 1, 1, 1}, mx::int32);
        array places = mx::reshape(mx::arange(0, narrow(tokens), 1, mx::int32, q->stream),
                                   ints{1, 1, 1, narrow(tokens)}, q->stream);
        return mx::less(places, seen, q->stream);
    });
}

es_mx_status es_mx_attend(es_mx_queue *q, es_mx **out, const es_mx *queries, const es_mx *keys, const es_mx *values,
                          int64_t page_tokens, const es_mx_part *parts, size_t n)
{
    return give(q, out, [&] {
        array in = as_numbers(q, queries->a);
        joined y{.q = q, .cols = in.shape(1)};
        for (size_t i = 0; i < n; i++) {
            y.fill(narrow(parts[i].first));
            (parts[i].sequences > 1 ? attend_batch : attend_rows)(y, in, keys->a, values->a, narrow(page_tokens),
                                                                  parts[i]);
        }
        y.fill(in.shape(0));
        return y.all();
    });
}

} // extern "C"
