// shim.hpp - what the parts of the shim share: arrays in handles, exceptions turned into statuses, lanes.
#ifndef ES_COMPUTE_MLX_SHIM_HPP
#define ES_COMPUTE_MLX_SHIM_HPP

#include "compute/mlx/shim.h"

#include <algorithm>
#include <functional>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <mlx/backend/metal/metal.h>
#include <mlx/mlx.h>
#include <mlx/version.h>

namespace mx = mlx::core;
using mx::array;
using arrays = std::vector<array>;
using ints = mx::Shape;

struct es_mx {
    array a;
};

// Arithmetic of several steps, which a GPU runs as one kernel each.
enum es_fused { ES_GELU_TANH, ES_GELU_ERF, ES_SILU, ES_SWIGLU, ES_TURN, ES_FUSED_COUNT };

// Cosines and sines as rope multiplies with them: (c, d) and (-d, c), [rows, 1, 2, head_dim / 2].
struct es_angles {
    array table, along, across; // `table`: what they were made of
};

struct es_mx_queue {
    mx::Device device;
    mx::Stream stream;
    mx::Dtype numbers;
    bool cuda; // memory of the GPU's own: weights are moved there
    // On the processor a stream is a thread, so the rows of large products are shared among several. The first is
    // `stream`; empty on a GPU.
    std::vector<mx::Stream> lanes{};
    std::function<arrays(const arrays &)> fused[ES_FUSED_COUNT]{}; // compiled; empty on the processor
    std::optional<array> fence{};                                  // computed with the work that was started last
    std::optional<es_angles> angles{};
    size_t pending = 0; // bytes of what was noted down since
    char message[400] = "";
};

// --- exceptions end here ---

es_mx_status es_mx_told(const char *what, char *message, size_t size) noexcept;

template <class F> es_mx_status guard(char *message, size_t size, F f) noexcept
{
    try {
        f();
        return ES_MX_OK;
    } catch (const std::bad_alloc &) {
        return es_mx_told("out of memory", message, size);
    } catch (const std::exception &e) {
        return es_mx_told(e.what(), message, size);
    } catch (...) {
        return es_mx_told("an unknown exception", message, size);
    }
}

// What f makes, in a handle.
template <class F> es_mx_status give(es_mx_queue *q, es_mx **out, F f) noexcept
{
    return guard(q->message, sizeof q->message, [&] {
        *out = new es_mx{f()};
        q->pending += (*out)->a.nbytes();
    });
}

// --- pieces ---

inline int narrow(int64_t n)
{
    if (n < 0 || n > INT32_MAX)
        throw std::length_error("more rows or columns than MLX can count");
    return (int)n;
}

inline array wide(const array &x, mx::Stream s)
{
    return mx::astype(x, mx::float32, s);
}

inline array as_numbers(const es_mx_queue *q, const array &x)
{
    return x.dtype() == q->numbers ? x : mx::astype(x, q->numbers, q->stream);
}

// Rows [first, first + n) of a matrix; columns likewise.
inline array rows_of(const array &x, int64_t first, int64_t n, mx::Stream s)
{
    if (first == 0 && n == x.shape(0))
        return x;
    return mx::slice(x, ints{narrow(first), 0}, ints{narrow(first + n), x.shape(1)}, s);
}

inline array cols_of(const array &x, int64_t first, int64_t n, mx::Stream s)
{
    if (first == 0 && n == x.shape(1))
        return x;
    return mx::slice(x, ints{0, narrow(first)}, ints{x.shape(0), narrow(first + n)}, s);
}

// The same numbers, lying so that the product with their transpose reads memory in its order: several times as fast in
// the plain BLAS of MLX's wheel, whose inner loop then has no sum to wait for.
inline array upright(const array &x, mx::Stream s)
{
    return mx::swapaxes(mx::contiguous(mx::swapaxes(x, -1, -2, s), false, s), -1, -2, s);
}

// Rows [0, rows) computed by f(first, count, stream), in as many lanes as have work enough (multiplications) each.
template <class F> array in_lanes(const es_mx_queue *q, int rows, double work, F f)
{
    const double least = 1 << 18; // some 50 us: what handing over costs a few times
    int n = (int)std::min({(double)q->lanes.size(), (double)rows, work / least});
    arrays parts;
    if (n < 2)
        return f(0, rows, q->stream);
    for (int i = 0, at = 0; i < n; i++) {
        int to = (int)((int64_t)rows * (i + 1) / n);
        parts.push_back(f(at, to - at, q->lanes[(size_t)i]));
        at = to;
    }
    return mx::concatenate(parts, 0, q->stream);
}

// Compiles the arithmetic of several steps, on a GPU.
void es_mx_compile(es_mx_queue *q);

#endif
