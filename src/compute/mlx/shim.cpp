// shim.cpp - shim.h over libmlx: the library, arrays and weights. Nothing but translation: what to compute when is
// plugin.c's business. shim_ops.cpp, shim_attention.cpp and shim_cpu.cpp are the rest of it.
#include "compute/mlx/shim.hpp"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <limits>
#include <thread>

#if MLX_VERSION_NUMERIC < 32000
#error "MLX 0.32 or newer is needed"
#endif

// --- exceptions end here ---

es_mx_status es_mx_told(const char *what, char *message, size_t size) noexcept
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

namespace
{

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

array bytes_as(es_mx_queue *q, es_dtype dtype, const void *data, int64_t rows, int64_t cols)
{
    int width = narrow(cols * (int64_t)es_dtype_size(dtype));
    array bytes(static_cast<const uint8_t *>(data), ints{narrow(rows), width}, mx::uint8);
    return mx::view(bytes, type_of(dtype), q->stream);
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

void open_lanes(es_mx_queue *q)
{
    unsigned cores = std::min(std::thread::hardware_concurrency(), 8u);
    // Threads of the BLAS would wait, spinning, beside ours.
    if (void *found = dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))
        ((void (*)(int))found)(1);
    q->lanes.push_back(q->stream);
    while (q->lanes.size() < cores)
        q->lanes.push_back(mx::new_thread_unsafe_stream(q->device));
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
            if (gpu)
                es_mx_compile(q); // on the processor that would need a C++ compiler at run time
            else
                open_lanes(q);
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
    if (q == nullptr)
        return;
    es_mx_wait(q);
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
        array x = mx::contiguous(wide(rows_of(a->a, first, rows, q->stream), q->stream), false, q->stream);
        x.eval();
        memcpy(host, x.data<float>(), x.nbytes());
    });
}

es_mx_status es_mx_best(es_mx_queue *q, const es_mx *a, int32_t *columns)
{
    return guard(q->message, sizeof q->message, [&] {
        mx::Stream s = q->stream;
        ask_for_room(q, q->pending);
        array least(-std::numeric_limits<float>::infinity(), a->a.dtype());
        array numbers = mx::where(mx::isnan(a->a, s), least, a->a, s);
        array at = mx::contiguous(mx::astype(mx::argmax(numbers, 1, false, s), mx::int32, s), false, s);
        at.eval();
        memcpy(columns, at.data<int32_t>(), at.nbytes());
    });
}

es_mx_status es_mx_wait(es_mx_queue *q)
{
    return guard(q->message, sizeof q->message, [&] {
        mx::synchronize(q->stream);
        for (mx::Stream s : q->lanes)
            mx::synchronize(s);
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
            if (!es_mx_settled(arrays[i]))
                all.push_back(arrays[i]->a);
        if (!all.empty()) {
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
        arrays made;
        ask_for_room(q, (size_t)s.rows * (size_t)s.cols * (s.bits == 0 ? 12 : 2)); // as it comes and as it stays
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
            array plain = as_numbers(q, bytes_as(q, s.dtype, s.data, s.rows, s.cols));
            made.push_back(q->lanes.empty() ? moved(q, plain) : upright(plain, q->stream));
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

} // extern "C"
