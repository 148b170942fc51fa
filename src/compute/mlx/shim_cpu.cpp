// shim_cpu.cpp - products by escriba's own cpu device, as operations of MLX on the processor: for the processor MLX's
// wheel brings a plain BLAS only, and unpacks quantised weights one by one.
#include "compute/mlx/shim.hpp"

#include <mlx/backend/cpu/encoder.h>
#include <mlx/primitives.h>

extern "C" {
#include "compute/cpu/cpu.h"
}

namespace
{

// What becomes of the inputs' numbers. Must not throw: it runs in the stream's own thread.
using work = std::function<void(const std::vector<const void *> &inputs, float *y)>;

class by_cpu : public mx::UnaryPrimitive
{
    work f;

  public:
    by_cpu(mx::Stream s, work given) : mx::UnaryPrimitive(s), f(std::move(given))
    {
    }
    void eval_cpu(const arrays &in, array &out) override
    {
        std::vector<const void *> numbers;
        for (const array &x : in)
            numbers.push_back(x.data<char>());
        mx::allocator::Data room = mx::allocator::malloc(out.nbytes());
        if (room.buffer().ptr() == nullptr) // MLX does not tell
            throw std::bad_alloc();
        out.set_data(std::move(room));
        auto now = [run = f, numbers, y = out.data<float>()] { run(numbers, y); };
        mx::cpu::get_command_encoder(stream()).dispatch(std::move(now));
    }
    void eval_gpu(const arrays &, array &) override
    {
        throw std::logic_error("the cpu device does not compute on a GPU");
    }
    const char *name() const override
    {
        return "by_cpu";
    }
};

array rows_by_cpu(const es_mx_queue *q, int64_t rows, int64_t cols, const arrays &in, work f)
{
    ints shape{narrow(rows), narrow(cols)};
    return as_numbers(q, array(shape, mx::float32, std::make_shared<by_cpu>(q->stream, std::move(f)), in));
}

array plain_floats(const es_mx *x, mx::Stream s)
{
    return mx::contiguous(wide(x->a, s), false, s);
}

} // namespace

extern "C" {

es_mx_status es_mx_embed_by_cpu(es_mx_queue *q, es_mx **out, es_device *cpu, const es_matrix *table, const es_mx *ids)
{
    return give(q, out, [&] {
        int64_t n = ids->a.shape(0);
        return rows_by_cpu(q, n, table->cols, {ids->a}, [=](const std::vector<const void *> &in, float *y) {
            es_cpu_look_up(cpu, y, table, static_cast<const int32_t *>(in[0]), n);
        });
    });
}

es_mx_status es_mx_linear_by_cpu(es_mx_queue *q, es_mx **out, const es_mx *x, es_device *cpu, const es_matrix *w,
                                 const es_mx *bias, es_activation act, const es_mx *residual)
{
    return give(q, out, [&] {
        arrays in{plain_floats(x, q->stream)};
        int64_t rows = in[0].shape(0);
        size_t bias_at = 0, residual_at = 0; // 0: there is none
        if (bias != nullptr) {
            bias_at = in.size();
            in.push_back(plain_floats(bias, q->stream));
        }
        if (residual != nullptr) {
            residual_at = in.size();
            in.push_back(plain_floats(residual, q->stream));
        }
        return rows_by_cpu(q, rows, w->rows, in, [=](const std::vector<const void *> &at, float *y) {
            auto floats = [&](size_t i) { return i == 0 ? nullptr : static_cast<const float *>(at[i]); };
            es_cpu_multiply(cpu, y, static_cast<const float *>(at[0]), rows, w, floats(bias_at), act,
                            floats(residual_at));
        });
    });
}

es_mx_status es_mx_attend_by_cpu(es_mx_queue *q, es_mx **out, const es_mx *qkv, es_device *cpu, int64_t heads,
                                 int64_t head_dim, const es_segment *segments, size_t n)
{
    return give(q, out, [&] {
        array in = plain_floats(qkv, q->stream);
        std::vector<es_segment> list(segments, segments + n);
        size_t covered = 0, rows = (size_t)in.shape(0);
        for (const es_segment &s : list)
            covered += (size_t)s.count;
        size_t all = covered == rows ? 0 : rows * (size_t)(heads * head_dim); // rows of no segment become zeros
        return rows_by_cpu(
            q, (int64_t)rows, heads * head_dim, {in}, [=](const std::vector<const void *> &at, float *y) {
                std::fill(y, y + all, 0.0f);
                es_cpu_attend(cpu, y, static_cast<const float *>(at[0]), heads, head_dim, list.data(), list.size());
            });
    });
}

} // extern "C"
