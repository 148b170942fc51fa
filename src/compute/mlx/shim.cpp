// shim.cpp - shim.h over libmlx. Nothing but translation: what to compute when is plugin.c's business.
#include "compute/mlx/shim.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
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

#if MLX_VERSION_NUMERIC < 32000
#error "MLX 0.32 or newer is needed"
#endif

struct es_mx {
    array a;
};

using fused = std::function<std::vector<array>(const std::vector<array> &)>;

struct es_mx_queue {
    mx::Device device;
    mx::Stream stream;
    mx::Dtype numbers;
    bool cuda; // memory of the GPU's own: weights are moved there
    fused gelu_tanh{}, gelu_erf{}, silu{}, swiglu{}, turn{};
    std::optional<array> fence{}; // computed with the work that was started last
    size_t pending = 0;           // bytes of what was noted down since
    char message[400] = "";
};

namespace
{

using ints = mx::Shape;

// --- exceptions end here ---

es_mx_status fail(const char *what, char *message, size_t size)
{
    snprintf(message, size, "%s", what);
    for (char *at = message; *at != '\0'; at++) // one line
        if (*at == '\n' || *at == '\r')
            *at = ' ';
    for (const char *word : {"alloc", "out of memory", "Out of memory", "insufficient memory", "MemoryAllocation"})
        if (strstr(message, word) != nullptr)
            return ES_MX_MEMORY;
    return ES_MX_FAILED;
}

template <class F> es_mx_status guard(char *message, size_t size, F f) noexcept
{
    try {
        f();
        return ES_MX_OK;
    } catch (const std::bad_alloc &) {
        return fail("out of memory", message, size);
    } catch (const std::exception &e) {
        return fail(e.what(), message, size);
    } catch (...) {
        return fail("an unknown exception", message, size);
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

// On the processor MLX takes a refused allocation for memory and crashes. So the system is asked first whether it would
// give as much as what is about to be computed needs at most.
void ask_for_room(es_mx_queue *q, size_t bytes)
{
    q->pending = 0;
    if (q->device == mx::Device::gpu || bytes < (1u << 20))
        return;
    void *room = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        throw std::runtime_error("[malloc] the system refuses " + std::to_string(bytes) + " bytes");
    munmap(room, bytes);
}

int narrow(int64_t n)
{
    if (n < 0 || n > INT32_MAX)
        throw std::length_error("more rows or columns than MLX can count");
    return (int)n;
}

mx::Dtype type_of(es_dtype dtype)
{
    switch (dtype) {
    case ES_F16:
        return mx::float16;
    case ES_BF16:
        return mx::bfloat16;
    case ES_U32:
        return mx::uint32;
    case ES_F32:
        break;
    }
    return mx::float32;
}

array number(float x, const array &like)
{
    return array(x, like.dtype());
}

// --- arithmetic that a GPU runs as one kernel each. In float32, whatever comes and goes. ---

array wide(const array &x, mx::StreamOrDevice s)
{
    return mx::astype(x, mx::float32, s);
}

// 0.5 (1 + tanh z) is the logistic function of 2 z.
array gelu_tanh(const array &given, mx::StreamOrDevice s)
{
    const float c = 1.5957691216057308f; // 2 sqrt(2 / pi)
    array x = wide(given, s);
    array inner = mx::add(mx::multiply(mx::multiply(x, x, s), number(c * 0.044715f, x), s), number(c, x), s);
    return mx::astype(mx::multiply(x, mx::sigmoid(mx::multiply(inner, x, s), s), s), given.dtype(), s);
}

array gelu_erf(const array &given, mx::StreamOrDevice s)
{
    array x = wide(given, s);
    array part = mx::erf(mx::multiply(x, number(0.70710678118654752f, x), s), s);
    array half = mx::multiply(x, number(0.5f, x), s);
    return mx::astype(mx::multiply(half, mx::add(part, number(1.0f, x), s), s), given.dtype(), s);
}

array silu(const array &given, mx::StreamOrDevice s)
{
    array x = wide(given, s);
    return mx::astype(mx::multiply(x, mx::sigmoid(x, s), s), given.dtype(), s);
}

array swiglu(const array &gate, const array &up, mx::StreamOrDevice s)
{
    array x = wide(gate, s);
    return mx::astype(mx::multiply(mx::multiply(x, mx::sigmoid(x, s), s), wide(up, s), s), gate.dtype(), s);
}

// a and b turned by angles of cosine c and sine d.
std::vector<array> turn(const std::vector<array> &in, mx::StreamOrDevice s)
{
    array a = wide(in[0], s), b = wide(in[1], s);
    const array &c = in[2], &d = in[3];
    array first = mx::subtract(mx::multiply(a, c, s), mx::multiply(b, d, s), s);
    array second = mx::add(mx::multiply(b, c, s), mx::multiply(a, d, s), s);
    return {mx::astype(first, in[0].dtype(), s), mx::astype(second, in[0].dtype(), s)};
}

void set_functions(es_mx_queue *q, bool compiled)
{
    mx::Stream s = q->stream;
    fused all[] = {[s](const std::vector<array> &x) { return std::vector<array>{gelu_tanh(x[0], s)}; },
                   [s](const std::vector<array> &x) { return std::vector<array>{gelu_erf(x[0], s)}; },
                   [s](const std::vector<array> &x) { return std::vector<array>{silu(x[0], s)}; },
                   [s](const std::vector<array> &x) { return std::vector<array>{swiglu(x[0], x[1], s)}; },
                   [s](const std::vector<array> &x) { return turn(x, s); }};
    fused *places[] = {&q->gelu_tanh, &q->gelu_erf, &q->silu, &q->swiglu, &q->turn};
    for (size_t i = 0; i < 5; i++)
        *places[i] = compiled ? mx::compile(all[i], true) : all[i];
}

// --- pieces ---

array as_numbers(const es_mx_queue *q, const array &x)
{
    return x.dtype() == q->numbers ? x : mx::astype(x, q->numbers, q->stream);
}

array bytes_as(es_mx_queue *q, es_dtype dtype, const void *data, int64_t rows, int64_t cols)
{
    int width = narrow(cols * (int64_t)es_dtype_size(dtype));
    array bytes(static_cast<const uint8_t *>(data), ints{narrow(rows), width}, mx::uint8);
    return mx::view(bytes, type_of(dtype), q->stream);
}

// Rows [first, first + n) of a matrix; columns likewise.
array rows_of(const es_mx_queue *q, const array &x, int64_t first, int64_t n)
{
    if (first == 0 && n == x.shape(0))
        return x;
    return mx::slice(x, ints{narrow(first), 0}, ints{narrow(first + n), x.shape(1)}, q->stream);
}

array cols_of(const es_mx_queue *q, const array &x, int64_t first, int64_t n)
{
    if (first == 0 && n == x.shape(1))
        return x;
    return mx::slice(x, ints{0, narrow(first)}, ints{x.shape(0), narrow(first + n)}, q->stream);
}

double size_of_fact(const mx::Device &device, const char *key)
{
    const auto &facts = mx::device_info(device);
    auto at = facts.find(key);
    const size_t *size = at == facts.end() ? nullptr : std::get_if<size_t>(&at->second);
    return size == nullptr ? 0.0 : (double)*size;
}

double memory_of(const mx::Device &device)
{
    for (const char *key : {"memory_size", "total_memory"})
        if (double size = device == mx::Device::gpu ? size_of_fact(device, key) : 0.0; size > 0)
            return size;
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

// C++ has no stable binary interface: a library of another minor version may crash where it should fail.
void check_version()
{
    int major = 0, minor = 0;
    if (sscanf(mx::version(), "%d.%d", &major, &minor) != 2 || major != MLX_VERSION_MAJOR || minor != MLX_VERSION_MINOR)
        throw std::runtime_error(std::string("the MLX library found is ") + mx::version() +
                                 ", this plug-in was built for " + std::to_string(MLX_VERSION_MAJOR) + "." +
                                 std::to_string(MLX_VERSION_MINOR) + ": build escriba again");
}

void set_limits(const mx::Device &device)
{
    double memory = memory_of(device);
    bool gpu = device == mx::Device::gpu;
    mx::set_memory_limit((size_t)(memory * 0.9));
    // A step's scratch is small beside the weights; more is memory that others miss.
    mx::set_cache_limit((size_t)std::min(memory / 16, gpu ? 2e9 : 2.5e8));
    double wired = gpu && mx::metal::is_available() ? size_of_fact(device, "max_recommended_working_set_size") : 0.0;
    if (wired > 0)
        mx::set_wired_limit((size_t)wired);
}

// A matrix moved into the GPU's own memory where it has one: any operation's result lies there.
array moved(const es_mx_queue *q, const array &x)
{
    return q->cuda ? mx::add(x, array(0, x.dtype()), q->stream) : x;
}

} // namespace

// --- the library ---

extern "C" {

es_mx_status es_mx_look(es_mx_facts *facts, char *message, size_t size)
{
    return guard(message, size, [&] {
        *facts = es_mx_facts{};
        snprintf(facts->version, sizeof facts->version, "%s", mx::version());
        check_version();
        mx::Device gpu(mx::Device::gpu), cpu(mx::Device::cpu);
        facts->gpu = mx::is_available(gpu);
        const mx::Device &device = facts->gpu ? gpu : cpu;
        facts->memory = memory_of(device);
        snprintf(facts->device, sizeof facts->device, "%s", facts->gpu ? "gpu" : "cpu");
        const auto &all = mx::device_info(device);
        auto at = all.find("device_name");
        if (const auto *name = at == all.end() ? nullptr : std::get_if<std::string>(&at->second);
            name && !name->empty())
            snprintf(facts->device, sizeof facts->device, "%s", name->c_str());
    });
}

es_mx_status es_mx_open(es_mx_queue **queue, int gpu, es_dtype numbers, char *message, size_t size)
{
    *queue = nullptr;
    return guard(message, size, [&] {
        check_version();
        mx::Device device(gpu ? mx::Device::gpu : mx::Device::cpu);
        if (!mx::is_available(device))
            throw std::runtime_error("this MLX has no GPU here");
        set_limits(device);
        // One thread at a time uses a device, but not always the same one.
        mx::Stream stream = mx::new_thread_unsafe_stream(device);
        es_mx_queue *q = new es_mx_queue{
            .device = device, .stream = stream, .numbers = type_of(numbers), .cuda = gpu && !mx::metal::is_available()};
        try {
            set_functions(q, gpu != 0); // on the processor compiling needs a C++ compiler at run time
            array probe = mx::add(mx::zeros({1}, q->numbers, stream), array(1, q->numbers), stream);
            probe.eval(); // a device that cannot compute shall say so now
        } catch (...) {
            delete q;
            throw;
        }
        *queue = q;
    });
}

void es_mx_close(es_mx_queue *q)
{
    char message[8];
    if (q == nullptr)
        return;
    guard(message, sizeof message, [&] { mx::synchronize(q->stream); });
    delete q;
    es_mx_give_back();
}

const char *es_mx_error(const es_mx_queue *q)
{
    return q->message;
}

void es_mx_give_back(void)
{
    char message[8];
    guard(message, sizeof message, [] { mx::clear_cache(); });
}

double es_mx_in_use(void)
{
    char message[8];
    double bytes = 0;
    guard(message, sizeof message, [&] { bytes = (double)mx::get_active_memory(); });
    return bytes;
}

// --- arrays ---

void es_mx_free(es_mx *a)
{
    delete a;
}

es_mx *es_mx_again(const es_mx *a)
{
    return new (std::nothrow) es_mx{a->a};
}

int es_mx_settled(const es_mx *a)
{
    return a->a.status() == array::Status::available;
}

es_mx_status es_mx_make(es_mx_queue *q, es_mx **out, const float *data, int64_t rows, int64_t cols)
{
    return give(q, out, [&] { return array(data, ints{narrow(rows), narrow(cols)}, mx::float32); });
}

es_mx_status es_mx_make_indexes(es_mx_queue *q, es_mx **out, const int32_t *list, int64_t rows, int64_t cols)
{
    return give(q, out, [&] {
        ints shape = cols == 0 ? ints{narrow(rows)} : ints{narrow(rows), narrow(cols)};
        return array(list, shape, mx::int32);
    });
}

es_mx_status es_mx_zeros(es_mx_queue *q, es_mx **out, int64_t rows, int64_t cols)
{
    return give(q, out, [&] { return mx::zeros(ints{narrow(rows), narrow(cols)}, q->numbers, q->stream); });
}

es_mx_status es_mx_shape(es_mx_queue *q, es_mx **out, const es_mx *a, int64_t rows, int64_t cols)
{
    return give(q, out, [&] {
        ints shape{narrow(rows), narrow(cols)};
        int64_t have = (int64_t)a->a.size(), want = rows * cols;
        if (have == want)
            return mx::reshape(a->a, shape, q->stream);
        array flat = mx::flatten(a->a, q->stream);
        if (have > want)
            flat = mx::slice(flat, ints{0}, ints{narrow(want)}, q->stream);
        else
            flat = mx::concatenate({flat, mx::zeros(ints{narrow(want - have)}, flat.dtype(), q->stream)}, 0, q->stream);
        return mx::reshape(flat, shape, q->stream);
    });
}

es_mx_status es_mx_settle(es_mx_queue *q, es_mx **out, const es_mx *a)
{
    return give(q, out, [&] {
        array x = as_numbers(q, a->a);
        x.eval();
        return x;
    });
}

es_mx_status es_mx_read(es_mx_queue *q, const es_mx *a, int64_t first, int64_t rows, float *host)
{
    return guard(q->message, sizeof q->message, [&] {
        ask_for_room(q, q->pending);
        array x = mx::contiguous(wide(rows_of(q, a->a, first, rows), q->stream), false, q->stream);
        x.eval();
        memcpy(host, x.data<float>(), x.nbytes());
    });
}

es_mx_status es_mx_start(es_mx_queue *q, es_mx *const *arrays, size_t n)
{
    return guard(q->message, sizeof q->message, [&] {
        std::vector<array> all;
        std::optional<array> before = std::move(q->fence);
        q->fence.reset();
        ask_for_room(q, n > 0 ? q->pending : 0);
        for (size_t i = 0; i < n; i++)
            all.push_back(arrays[i]->a);
        if (n > 0) {
            // A number of its own, lest waiting for it should keep a large array from being reused.
            array one = mx::slice(mx::flatten(all.back(), q->stream), ints{0}, ints{1}, q->stream);
            array fence = mx::add(wide(one, q->stream), array(1.0f), q->stream);
            all.push_back(fence);
            mx::async_eval(all);
            q->fence = fence;
        }
        if (before)
            before->wait();
    });
}

// --- weights ---

es_mx_status es_mx_weight_make(es_mx_queue *q, es_mx_weight *w, const es_matrix_source *source, int pack)
{
    *w = es_mx_weight{};
    es_mx_status status = guard(q->message, sizeof q->message, [&] {
        const es_matrix_source &s = *source;
        std::vector<array> made;
        ask_for_room(q, (size_t)s.rows * (size_t)s.cols * (s.bits == 0 ? 8 : 2)); // as it comes and as it stays
        if (s.bits != 0) {
            int64_t groups = s.cols / s.group;
            made.push_back(moved(q, bytes_as(q, ES_U32, s.data, s.rows, s.cols * s.bits / 32)));
            made.push_back(moved(q, as_numbers(q, bytes_as(q, s.scale_dtype, s.scales, s.rows, groups))));
            made.push_back(moved(q, as_numbers(q, bytes_as(q, s.scale_dtype, s.biases, s.rows, groups))));
            w->bits = s.bits;
            w->group = s.group;
        } else if (pack != 0) {
            w->bits = pack;
            w->group = 64;
            made = mx::quantize(as_numbers(q, bytes_as(q, s.dtype, s.data, s.rows, s.cols)), w->group, w->bits,
                                "affine", std::nullopt, q->stream);
        } else {
            made.push_back(moved(q, as_numbers(q, bytes_as(q, s.dtype, s.data, s.rows, s.cols))));
        }
        mx::eval(made);
        w->data = new es_mx{made[0]};
        if (made.size() > 1) {
            w->scales = new es_mx{made[1]};
            w->biases = new es_mx{made[2]};
        }
    });
    if (status != ES_MX_OK)
        es_mx_weight_free(w);
    return status;
}

void es_mx_weight_free(es_mx_weight *w)
{
    delete w->data;
    delete w->scales;
    delete w->biases;
    *w = es_mx_weight{};
}

// --- operations ---

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
        mx::Stream s = q->stream;
        array in = as_numbers(q, x->a), y = in;
        if (w->scales != nullptr)
            y = mx::quantized_matmul(in, w->data->a, w->scales->a, w->biases->a, true, w->group, w->bits, "affine", s);
        else if (bias != nullptr)
            y = mx::addmm(bias->a, in, mx::transpose(w->data->a, s), 1.0f, 1.0f, s);
        else
            y = mx::matmul(in, mx::transpose(w->data->a, s), s);
        if (bias != nullptr && w->scales != nullptr)
            y = mx::add(y, bias->a, s);
        if (act == ES_ACT_GELU_TANH)
            y = q->gelu_tanh({y})[0];
        else if (act == ES_ACT_GELU_ERF)
            y = q->gelu_erf({y})[0];
        else if (act == ES_ACT_SILU)
            y = q->silu({y})[0];
        return residual != nullptr ? mx::add(y, as_numbers(q, residual->a), s) : y;
    });
}

es_mx_status es_mx_swiglu(es_mx_queue *q, es_mx **out, const es_mx *gate, const es_mx *up)
{
    return give(q, out, [&] { return q->swiglu({as_numbers(q, gate->a), as_numbers(q, up->a)})[0]; });
}

es_mx_status es_mx_rope(es_mx_queue *q, es_mx **out, const es_mx *x, int64_t first_col, int64_t heads, int64_t head_dim,
                        const es_mx *cos_sin)
{
    return give(q, out, [&] {
        mx::Stream s = q->stream;
        array whole = as_numbers(q, x->a);
        int n = whole.shape(0), half = narrow(head_dim / 2), h = narrow(heads), cols = whole.shape(1);
        int64_t last = first_col + heads * head_dim;
        array part = mx::reshape(cols_of(q, whole, first_col, heads * head_dim), ints{n, h, 2 * half}, s);
        array table = mx::reshape(wide(cos_sin->a, s), ints{n, 1, 2 * half}, s);
        auto halves = mx::split(part, 2, 2, s), angles = mx::split(table, 2, 2, s);
        auto turned = q->turn({halves[0], halves[1], angles[0], angles[1]});
        array y = mx::reshape(mx::concatenate({turned[0], turned[1]}, 2, s), ints{n, narrow(heads * head_dim)}, s);
        std::vector<array> all;
        if (first_col > 0)
            all.push_back(cols_of(q, whole, 0, first_col));
        all.push_back(y);
        if (last < cols)
            all.push_back(cols_of(q, whole, last, cols - last));
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
        array from = as_numbers(q, rows_of(q, x->a, x_first, n));
        if (first >= 0) {
            ints start{narrow(first), 0}, stop{narrow(first + n), cols};
            return mx::slice_update(to, add ? mx::add(mx::slice(to, start, stop, s), from, s) : from, start, stop, s);
        }
        if (add)
            from = mx::add(mx::take(to, rows->a, 0, s), from, s);
        return mx::scatter(to, rows->a, mx::reshape(from, ints{n, 1, cols}, s), 0, s);
    });
}

es_mx_status es_mx_attend_segments(es_mx_queue *q, es_mx **out, const es_mx *qkv, int64_t heads, int64_t head_dim,
                                   const es_segment *segments, size_t n)
{
    return give(q, out, [&] {
        mx::Stream s = q->stream;
        array whole = as_numbers(q, qkv->a);
        int rows = whole.shape(0), h = narrow(heads), d = narrow(head_dim);
        float scale = 1.0f / std::sqrt((float)head_dim);
        q->pending += (size_t)rows * (size_t)h * 256 * 2 * sizeof(float); // scores and their shares
        // [3, heads, rows, dim]
        array parts = mx::transpose(mx::reshape(whole, ints{rows, 3, h, d}, s), {1, 2, 0, 3}, s);
        auto cut = [&](int which, int first, int count) {
            return mx::reshape(mx::slice(parts, ints{which, 0, first, 0}, ints{which + 1, h, first + count, d}, s),
                               ints{1, h, count, d}, s);
        };
        std::vector<array> made;
        int end = 0;
        auto fill = [&](int to) { // rows of no segment
            if (to > end)
                made.push_back(mx::zeros(ints{to - end, h * d}, q->numbers, s));
        };
        for (size_t i = 0; i < n; i++) {
            int first = segments[i].first, count = segments[i].count;
            // Scores of all rows at once would be large where no kernel does without them.
            int piece = q->device == mx::Device::gpu ? count : 256;
            if (count == 0)
                continue;
            fill(first);
            array keys = cut(1, first, count), values = cut(2, first, count);
            for (int at = 0; at < count; at += piece) {
                int some = std::min(piece, count - at);
                array y = mx::fast::scaled_dot_product_attention(cut(0, first + at, some), keys, values, scale, "", {},
                                                                 {}, false, s);
                made.push_back(mx::reshape(mx::transpose(y, {0, 2, 1, 3}, s), ints{some, h * d}, s));
            }
            end = first + count;
        }
        fill(rows);
        return made.size() == 1 ? made[0] : mx::concatenate(made, 0, s);
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
        mx::Stream s = q->stream;
        const array &in = queries->a;
        int kv_heads = keys->a.shape(0), dim = keys->a.shape(2), cols = in.shape(1), heads = cols / dim;
        int page = narrow(page_tokens), end = 0;
        float scale = 1.0f / std::sqrt((float)dim);
        std::vector<array> made;
        // [sequences, kv_heads, tokens, dim] of a part
        auto see = [&](const array &cache, const es_mx_part &p) {
            int tokens = narrow(p.longest), b = narrow(p.sequences);
            if (p.pages == nullptr)
                return mx::expand_dims(
                    mx::slice(cache, ints{0, narrow(p.slot), 0}, ints{kv_heads, narrow(p.slot + tokens), dim}, s), 0,
                    s);
            int each = p.pages->a.shape(1);
            array paged = mx::reshape(cache, ints{kv_heads, -1, page, dim}, s);
            array head = mx::reshape(mx::arange(0, kv_heads, 1, mx::int32, s), ints{1, kv_heads, 1}, s);
            array which = mx::reshape(p.pages->a, ints{b, 1, each}, s);
            array found = mx::gather(paged, {head, which}, {0, 1}, ints{1, 1, page, dim}, s);
            found = mx::reshape(found, ints{b, kv_heads, each * page, dim}, s);
            return mx::slice(found, ints{0, 0, 0, 0}, ints{b, kv_heads, tokens, dim}, s);
        };
        auto fill = [&](int to) { // rows of no sequence
            if (to > end)
                made.push_back(mx::zeros(ints{to - end, cols}, q->numbers, s));
        };
        for (size_t i = 0; i < n; i++) {
            const es_mx_part &p = parts[i];
            int b = narrow(p.sequences), count = narrow(p.count), first = narrow(p.first);
            fill(first);
            array own =
                mx::reshape(as_numbers(q, rows_of(q, in, first, (int64_t)b * count)), ints{b, count, heads, dim}, s);
            std::optional<array> mask;
            if (p.mask != nullptr)
                mask = p.mask->a;
            array y = mx::fast::scaled_dot_product_attention(mx::transpose(own, {0, 2, 1, 3}, s), see(keys->a, p),
                                                             see(values->a, p), scale, count > 1 ? "causal" : "", mask,
                                                             {}, false, s);
            made.push_back(mx::reshape(mx::transpose(y, {0, 2, 1, 3}, s), ints{b * count, cols}, s));
            end = first + b * count;
        }
        fill(in.shape(0));
        return made.size() == 1 ? made[0] : mx::concatenate(made, 0, s);
    });
}

} // extern "C"
