// shim_ops.cpp - the operations of compute.h on arrays of MLX, but for attention.
#include "compute/mlx/shim.hpp"

namespace
{

array number(float x, const array &like)
{
    return array(x, like.dtype());
}

// --- arithmetic of several steps. In float32, whatever comes and goes. ---

// 0.5 (1 + tanh z) is the logistic function of 2 z.
arrays gelu_tanh(const arrays &in, mx::Stream s)
{
    const float c = 1.5957691216057308f; // 2 sqrt(2 / pi)
    array x = wide(in[0], s);
    array inner = mx::add(mx::multiply(mx::multiply(x, x, s), number(c * 0.044715f, x), s), number(c, x), s);
    return {mx::astype(mx::multiply(x, mx::sigmoid(mx::multiply(inner, x, s), s), s), in[0].dtype(), s)};
}

arrays gelu_erf(const arrays &in, mx::Stream s)
{
    array x = wide(in[0], s);
    array part = mx::erf(mx::multiply(x, number(0.70710678118654752f, x), s), s);
    array half = mx::multiply(x, number(0.5f, x), s);
    return {mx::astype(mx::multiply(half, mx::add(part, number(1.0f, x), s), s), in[0].dtype(), s)};
}

arrays silu(const arrays &in, mx::Stream s)
{
    array x = wide(in[0], s);
    return {mx::astype(mx::multiply(x, mx::sigmoid(x, s), s), in[0].dtype(), s)};
}

// Of gate and up.
arrays swiglu(const arrays &in, mx::Stream s)
{
    array x = wide(in[0], s);
    return {mx::astype(mx::multiply(mx::multiply(x, mx::sigmoid(x, s), s), wide(in[1], s), s), in[0].dtype(), s)};
}

// Pairs (a, b) turned by angles of cosine c and sine d: a (c, d) + b (-d, c), as one array.
arrays turn(const arrays &in, mx::Stream s)
{
    array a = wide(in[0], s), b = wide(in[1], s);
    array sum = mx::add(mx::multiply(a, in[2], s), mx::multiply(b, in[3], s), s);
    return {mx::astype(sum, in[0].dtype(), s)};
}

// In the order of es_fused.
arrays (*const plain[])(const arrays &, mx::Stream) = {gelu_tanh, gelu_erf, silu, swiglu, turn};

arrays apply(const es_mx_queue *q, es_fused which, const arrays &in, mx::Stream s)
{
    return q->fused[which] ? q->fused[which](in) : plain[which](in, s);
}

// --- products ---

array product(const array &x, const es_mx_weight *w, const array *bias, mx::Stream s)
{
    if (w->scales != nullptr) {
        array y = mx::quantized_matmul(x, w->data->a, w->scales->a, w->biases->a, true, w->group, w->bits, "affine", s);
        return bias != nullptr ? mx::add(y, *bias, s) : y;
    }
    array turned = mx::transpose(w->data->a, s);
    return bias != nullptr ? mx::addmm(*bias, x, turned, 1.0f, 1.0f, s) : mx::matmul(x, turned, s);
}

array activated(const es_mx_queue *q, const array &y, es_activation act, mx::Stream s)
{
    switch (act) {
    case ES_ACT_GELU_TANH:
        return apply(q, ES_GELU_TANH, {y}, s)[0];
    case ES_ACT_GELU_ERF:
        return apply(q, ES_GELU_ERF, {y}, s)[0];
    case ES_ACT_SILU:
        return apply(q, ES_SILU, {y}, s)[0];
    case ES_ACT_NONE:
        break;
    }
    return y;
}

} // namespace

void es_mx_compile(es_mx_queue *q)
{
    mx::Stream s = q->stream;
    for (int i = 0; i < ES_FUSED_COUNT; i++)
        q->fused[i] = mx::compile([s, i](const arrays &in) { return plain[i](in, s); }, true);
}

extern "C" {

es_mx_status es_mx_add(es_mx_queue *q, es_mx **out, const es_mx *a, const es_mx *b)
{
    return give(q, out, [&] { return as_numbers(q, mx::add(a->a, b->a, q->stream)); });
}

es_mx_status es_mx_embed(es_mx_queue *q, es_mx **out, const es_mx_weight *table, const es_mx *ids)
{
    return give(q, out, [&] {
        array rows = mx::take(table->data->a, ids->a, 0, q->stream);
        if (table->scales == nullptr)
            return rows;
        array scales = mx::take(table->scales->a, ids->a, 0, q->stream);
        array biases = mx::take(table->biases->a, ids->a, 0, q->stream);
        return mx::dequantize(rows, scales, biases, table->group, table->bits, "affine", std::nullopt, std::nullopt,
                              q->stream);
    });
}

es_mx_status es_mx_norm_rms(es_mx_queue *q, es_mx **out, const es_mx *x, const es_mx *gain, float eps)
{
    return give(q, out, [&] {
        array flat = mx::flatten(gain->a, q->stream), in = as_numbers(q, x->a);
        if (flat.shape(0) == in.shape(1))
            return mx::fast::rms_norm(in, flat, eps, q->stream);
        array runs = mx::reshape(in, ints{-1, flat.shape(0)}, q->stream);
        return mx::reshape(mx::fast::rms_norm(runs, flat, eps, q->stream), in.shape(), q->stream);
    });
}

es_mx_status es_mx_norm_layer(es_mx_queue *q, es_mx **out, const es_mx *x, const es_mx *gain, const es_mx *bias,
                              float eps)
{
    return give(q, out, [&] {
        return mx::fast::layer_norm(as_numbers(q, x->a), mx::flatten(gain->a, q->stream),
                                    mx::flatten(bias->a, q->stream), eps, q->stream);
    });
}

es_mx_status es_mx_linear(es_mx_queue *q, es_mx **out, const es_mx *x, const es_mx_weight *w, const es_mx *bias,
                          es_activation act, const es_mx *residual)
{
    return give(q, out, [&] {
        array in = as_numbers(q, x->a);
        int outputs = w->data->a.shape(0), rows = in.shape(0);
        std::optional<array> onto;
        if (residual != nullptr)
            onto = as_numbers(q, residual->a);
        return in_lanes(q, rows, (double)in.size() * outputs, [&](int first, int n, mx::Stream s) {
            array y = product(rows_of(in, first, n, s), w, bias != nullptr ? &bias->a : nullptr, s);
            y = activated(q, y, act, s);
            return onto ? mx::add(y, rows_of(*onto, first, n, s), s) : y;
        });
    });
}

es_mx_status es_mx_swiglu(es_mx_queue *q, es_mx **out, const es_mx *gate, const es_mx *up)
{
    return give(q, out, [&] {
        return apply(q, ES_SWIGLU, {as_numbers(q, gate->a), as_numbers(q, up->a)}, q->stream)[0];
    });
}

es_mx_status es_mx_rope(es_mx_queue *q, es_mx **out, const es_mx *x, int64_t first_col, int64_t heads, int64_t head_dim,
                        const es_mx *cos_sin)
{
    return give(q, out, [&] {
        mx::Stream s = q->stream;
        array whole = as_numbers(q, x->a);
        int n = whole.shape(0), half = narrow(head_dim / 2), h = narrow(heads), cols = whole.shape(1);
        int64_t last = first_col + heads * head_dim;
        array pairs = mx::reshape(cols_of(whole, first_col, heads * head_dim, s), ints{n, h, 2, half}, s);
        if (!q->angles || q->angles->table.id() != cos_sin->a.id()) { // all layers of a step have the same
            array table = mx::reshape(wide(cos_sin->a, s), ints{n, 1, 2, half}, s);
            arrays cs = mx::split(table, 2, 2, s);
            q->angles = es_angles{cos_sin->a, table, mx::concatenate({mx::negative(cs[1], s), cs[0]}, 2, s)};
        }
        arrays ab = mx::split(pairs, 2, 2, s);
        array turned = apply(q, ES_TURN, {ab[0], ab[1], q->angles->along, q->angles->across}, s)[0];
        array y = mx::reshape(turned, ints{n, narrow(heads * head_dim)}, s);
        arrays all;
        if (first_col > 0)
            all.push_back(cols_of(whole, 0, first_col, s));
        all.push_back(y);
        if (last < cols)
            all.push_back(cols_of(whole, last, cols - last, s));
        return all.size() == 1 ? y : mx::concatenate(all, 1, s);
    });
}

es_mx_status es_mx_gather(es_mx_queue *q, es_mx **out, const es_mx *x, const es_mx *rows)
{
    return give(q, out, [&] { return mx::take(x->a, rows->a, 0, q->stream); });
}

es_mx_status es_mx_scatter(es_mx_queue *q, es_mx **out, const es_mx *y, const es_mx *x, int64_t x_first,
                           const es_mx *rows, int64_t first, int add)
{
    return give(q, out, [&] {
        mx::Stream s = q->stream;
        array to = as_numbers(q, y->a);
        int n = rows->a.shape(0), cols = to.shape(1);
        array from = as_numbers(q, rows_of(x->a, x_first, n, s));
        if (first >= 0) {
            ints start{narrow(first), 0}, stop{narrow(first + n), cols};
            return mx::slice_update(to, add ? mx::add(mx::slice(to, start, stop, s), from, s) : from, start, stop, s);
        }
        if (add)
            from = mx::add(mx::take(to, rows->a, 0, s), from, s);
        return mx::scatter(to, rows->a, mx::reshape(from, ints{n, 1, cols}, s), 0, s);
    });
}

} // namespace
