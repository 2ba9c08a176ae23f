// The torch module: lg_torch_api on top of ATen. The only C++ of the project.
//
// Every entry is one body inside guarded(), which turns exceptions into a status and a message; nothing is returned by
// sentinel value. Pitfalls: a handle owns one reference to a tensor *and its autograd history*; in-place updates of
// leaves (optimisers, running statistics) must not be recorded, hence the NoGradGuards.
#include "torch/lego_torch.h"

#include "caching_allocator.hpp"
#include "script_recorder.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/version.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

struct lg_torch_tensor {
    at::Tensor value;
};

namespace {

using Handle = lg_torch_tensor;

// A refusal with a status of its own.
struct Refusal : std::runtime_error {
    lego_status code;
    Refusal(lego_status status, const std::string &message) : std::runtime_error(message), code(status) {}
};

thread_local char last_message_text[512];

void note(const char *message) noexcept {
    // One line, as everywhere in the library.
    std::snprintf(last_message_text, sizeof(last_message_text), "%s", message);
    if (char *end = std::strchr(last_message_text, '\n'))
        *end = '\0';
}

template <class Body>
lego_status guarded(Body &&body) noexcept {
    try {
        body();
        return LEGO_OK;
    } catch (const std::bad_alloc &) {
        note("out of memory");
        return LEGO_ENOMEM;
    } catch (const Refusal &error) {
        note(error.what());
        return error.code;
    } catch (const c10::Error &error) {
        note(error.what_without_backtrace());
        return LEGO_EBACKEND;
    } catch (const std::exception &error) {
        note(error.what());
        return LEGO_EBACKEND;
    } catch (...) {
        note("an exception of unknown type");
        return LEGO_EBACKEND;
    }
}

// Most entries: compute a tensor, hand out a handle.
template <class Body>
lego_status produce(Handle **out, Body &&body) noexcept {
    *out = nullptr;
    return guarded([&] { *out = new Handle{body()}; });
}

c10::optional<at::Tensor> maybe(const Handle *handle) {
    return handle ? c10::optional<at::Tensor>(handle->value) : c10::nullopt;
}

at::ScalarType scalar_type(lego_dtype dtype) {
    switch (dtype) {
    case LEGO_DTYPE_F32: return at::kFloat;
    case LEGO_DTYPE_F64: return at::kDouble;
    case LEGO_DTYPE_F16: return at::kHalf;
    case LEGO_DTYPE_BF16: return at::kBFloat16;
    case LEGO_DTYPE_I64: return at::kLong;
    case LEGO_DTYPE_I32: return at::kInt;
    case LEGO_DTYPE_I16: return at::kShort;
    case LEGO_DTYPE_I8: return at::kChar;
    case LEGO_DTYPE_U8: return at::kByte;
    case LEGO_DTYPE_BOOL: return at::kBool;
    }
    throw Refusal(LEGO_EINVAL, "unknown element type " + std::to_string(static_cast<int>(dtype)));
}

c10::Device parse_device(const char *text) {
    const std::string name = text && *text ? text : "cpu";
    const std::string kind = name.substr(0, name.find(':'));
    if (kind != "cpu" && kind != "cuda")
        throw Refusal(LEGO_EINVAL, "device '" + name + "': not one of cpu, cuda, cuda:N");
    c10::Device device(c10::DeviceType::CPU);
    try {
        device = c10::Device(name);
    } catch (const c10::Error &) {
        throw Refusal(LEGO_EINVAL, "device '" + name + "': not one of cpu, cuda, cuda:N");
    }
    if (device.is_cuda()) {
        if (!at::hasCUDA())
            throw Refusal(LEGO_EUNSUPPORTED, "device '" + name + "': the installed libtorch " TORCH_VERSION
                                             " finds no CUDA; use --device cpu or install a libtorch built with CUDA");
        try {
            at::empty({1}, at::TensorOptions().device(device));
        } catch (const c10::Error &error) {
            throw Refusal(LEGO_EUNSUPPORTED, "device '" + name + "': " + error.what_without_backtrace());
        }
    }
    return device;
}

// --- about ---

const char *describe() { return "libtorch " TORCH_VERSION; }

const char *last_message() { return last_message_text; }

lego_status device_check(const char *device) {
    return guarded([&] { parse_device(device); });
}

lego_status set_threads(int n_threads) {
    return guarded([&] { at::set_num_threads(n_threads); });
}

lego_status set_seed(uint64_t seed) {
    return guarded([&] { at::manual_seed(seed); });
}

lego_status set_grad(int enabled) {
    return guarded([&] { c10::GradMode::set_enabled(enabled != 0); });
}

// --- memory ---

lego_status allocator_install(size_t cache_bytes) {
    return guarded([&] {
        lego::CachingAllocator::instance().set_limit(cache_bytes);
        c10::SetCPUAllocator(&lego::CachingAllocator::instance(), 1);
    });
}

lego_status allocator_trim() {
    return guarded([] { lego::CachingAllocator::instance().trim(); });
}

lego_status allocator_stats(size_t *bytes_in_use, size_t *bytes_cached) {
    return guarded([&] { lego::CachingAllocator::instance().stats(bytes_in_use, bytes_cached); });
}

// --- tensors ---

lego_status tensor_from_host(Handle **out, lego_dtype dtype, int n_dims, const int64_t *dims, const void *data,
                             const char *device) {
    return produce(out, [&] {
        const at::IntArrayRef shape(dims, static_cast<size_t>(n_dims));
        at::Tensor host = at::empty(shape, at::TensorOptions().dtype(scalar_type(dtype)));
        if (host.nbytes() > 0)
            std::memcpy(host.data_ptr(), data, host.nbytes());
        return host.to(parse_device(device));
    });
}

lego_status tensor_zeros_like(Handle **out, const Handle *tensor) {
    return produce(out, [&] { return at::zeros_like(tensor->value.detach()); });
}

lego_status tensor_copy(Handle **out, const Handle *tensor) {
    return produce(out, [&] { return tensor->value.detach().clone(); });
}

lego_status tensor_detach(Handle **out, const Handle *tensor) {
    return produce(out, [&] { return tensor->value.detach(); });
}

lego_status tensor_share(Handle **out, const Handle *tensor) {
    return produce(out, [&] { return tensor->value; });
}

lego_status tensor_cast(Handle **out, const Handle *tensor, lego_dtype dtype, lg_torch_layout layout) {
    return produce(out, [&] {
        const at::Tensor converted = tensor->value.to(scalar_type(dtype));
        if (converted.dim() != 4 && converted.dim() != 5)
            return converted;
        if (layout != LG_TORCH_CHANNELS_LAST)
            return converted.contiguous(at::MemoryFormat::Contiguous);
        return converted.contiguous(converted.dim() == 5 ? at::MemoryFormat::ChannelsLast3d
                                                         : at::MemoryFormat::ChannelsLast);
    });
}

lego_status tensor_assign(Handle *tensor, const Handle *source) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        tensor->value.copy_(source->value);
    });
}

lego_status tensor_assign_host(Handle *tensor, const void *data, size_t bytes) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        at::Tensor host = at::empty(tensor->value.sizes(), at::TensorOptions().dtype(tensor->value.scalar_type()));
        if (host.nbytes() != bytes)
            throw Refusal(LEGO_EINVAL, "assigning " + std::to_string(bytes) + " bytes to a tensor of " +
                                           std::to_string(host.nbytes()));
        if (bytes > 0)
            std::memcpy(host.data_ptr(), data, bytes);
        tensor->value.copy_(host);
    });
}

lego_status tensor_to_host(const Handle *tensor, void *data, size_t bytes) {
    return guarded([&] {
        at::Tensor host = tensor->value.detach().to(at::kCPU);
        if (host.scalar_type() == at::kBFloat16)
            host = host.to(at::kFloat);
        host = host.contiguous();
        if (host.nbytes() != bytes)
            throw Refusal(LEGO_EINVAL, "reading " + std::to_string(bytes) + " bytes from a tensor of " +
                                           std::to_string(host.nbytes()));
        if (bytes > 0)
            std::memcpy(data, host.data_ptr(), bytes);
    });
}

lego_status tensor_shape(const Handle *tensor, int *n_dims, int64_t *dims) {
    return guarded([&] {
        if (tensor->value.dim() > LEGO_MAX_DIMS)
            throw Refusal(LEGO_EUNSUPPORTED, "a tensor of " + std::to_string(tensor->value.dim()) + " dimensions");
        *n_dims = static_cast<int>(tensor->value.dim());
        for (int i = 0; i < *n_dims; i++)
            dims[i] = tensor->value.size(i);
    });
}

lego_status tensor_item(double *out, const Handle *tensor) {
    return guarded([&] { *out = tensor->value.item().toDouble(); });
}

lego_status tensor_set_trainable(Handle *tensor, int trainable) {
    return guarded([&] { tensor->value.set_requires_grad(trainable != 0); });
}

lego_status tensor_keep_grad(Handle *tensor) {
    return guarded([&] { tensor->value.retain_grad(); });
}

lego_status tensor_grad(Handle **out, const Handle *tensor) {
    *out = nullptr;
    return guarded([&] {
        const at::Tensor &grad = tensor->value.grad();
        if (grad.defined())
            *out = new Handle{grad};
    });
}

lego_status tensor_drop_grad(Handle *tensor) {
    return guarded([&] { tensor->value.mutable_grad().reset(); });
}

void tensor_free(Handle *tensor) { delete tensor; }

// --- ops ---

bool is_volume(const Handle *x) { return x->value.dim() == 5; }

at::IntArrayRef axes_of(const Handle *x, const int64_t *values) {
    return at::IntArrayRef(values, is_volume(x) ? 3 : 2);
}

lego_status conv(Handle **out, const Handle *x, const Handle *weight, const Handle *bias,
                 const lg_torch_window *window) {
    return produce(out, [&] {
        const at::IntArrayRef stride = axes_of(x, window->stride), pads = axes_of(x, window->pads);
        const at::IntArrayRef dilation = axes_of(x, window->dilation);

        if (is_volume(x))
            return at::conv3d(x->value, weight->value, maybe(bias), stride, pads, dilation, window->groups);
        return at::conv2d(x->value, weight->value, maybe(bias), stride, pads, dilation, window->groups);
    });
}

lego_status linear(Handle **out, const Handle *x, const Handle *weight, const Handle *bias) {
    return produce(out, [&] { return at::linear(x->value, weight->value, maybe(bias)); });
}

lego_status batch_norm(Handle **out, const Handle *x, const Handle *weight, const Handle *bias, Handle *mean,
                       Handle *var, int training, double momentum, double eps) {
    return produce(out, [&] {
        return at::batch_norm(x->value, maybe(weight), maybe(bias), maybe(mean), maybe(var), training != 0, momentum,
                              eps, false);
    });
}

lego_status fold_batch_norm(Handle **folded_weight, Handle **folded_bias, const Handle *weight, const Handle *bias,
                            const Handle *gamma, const Handle *beta, const Handle *mean, const Handle *var,
                            double eps) {
    *folded_weight = *folded_bias = nullptr;
    return guarded([&] {
        // gamma (conv(x) + bias - mean) / sqrt(var + eps) + beta
        at::Tensor scale = at::rsqrt(var->value + eps);
        if (gamma)
            scale = scale * gamma->value;
        std::vector<int64_t> column(static_cast<size_t>(weight->value.dim()), 1);
        column[0] = -1;
        at::Tensor shift = bias ? bias->value - mean->value : -mean->value;
        shift = shift * scale;
        if (beta)
            shift = shift + beta->value;
        std::unique_ptr<Handle> w(new Handle{weight->value * scale.reshape(column)});
        *folded_bias = new Handle{shift};
        *folded_weight = w.release();
    });
}

lego_status relu(Handle **out, const Handle *x, int in_place) {
    return produce(out, [&] { return in_place ? at::Tensor(x->value).relu_() : at::relu(x->value); });
}

lego_status clip(Handle **out, const Handle *x, double min, double max, int in_place) {
    return produce(out, [&]() -> at::Tensor {
        at::Tensor value = x->value;
        if (value.scalar_type() != at::kFloat) // libtorch 1.13 has hardtanh's backward for float32 only
            return at::clamp(value, min, max);
        return in_place ? at::hardtanh_(value, min, max) : at::hardtanh(value, min, max);
    });
}

lego_status add(Handle **out, const Handle *a, const Handle *b, int in_place) {
    return produce(out, [&] { return in_place ? at::Tensor(a->value).add_(b->value) : at::add(a->value, b->value); });
}

lego_status pad(Handle **out, const Handle *x, const int64_t *pads, double value) {
    return produce(out, [&] { // torch counts from the last axis: left, right, top, bottom
        const int n = is_volume(x) ? 3 : 2;
        std::vector<int64_t> turned;

        for (int axis = n - 1; axis >= 0; axis--) {
            turned.push_back(pads[axis]);
            turned.push_back(pads[n + axis]);
        }
        return at::constant_pad_nd(x->value, turned, value);
    });
}

lego_status max_pool(Handle **out, const Handle *x, const lg_torch_window *window) {
    return produce(out, [&] {
        const at::IntArrayRef kernel = axes_of(x, window->kernel), stride = axes_of(x, window->stride);
        const at::IntArrayRef pads = axes_of(x, window->pads), dilation = axes_of(x, window->dilation);

        return is_volume(x) ? at::max_pool3d(x->value, kernel, stride, pads, dilation, window->ceil_mode != 0)
                            : at::max_pool2d(x->value, kernel, stride, pads, dilation, window->ceil_mode != 0);
    });
}

lego_status avg_pool(Handle **out, const Handle *x, const lg_torch_window *window) {
    return produce(out, [&] {
        const at::IntArrayRef kernel = axes_of(x, window->kernel), stride = axes_of(x, window->stride);
        const at::IntArrayRef pads = axes_of(x, window->pads);
        const bool ceil_mode = window->ceil_mode != 0, count = window->count_include_pad != 0;

        return is_volume(x) ? at::avg_pool3d(x->value, kernel, stride, pads, ceil_mode, count)
                            : at::avg_pool2d(x->value, kernel, stride, pads, ceil_mode, count);
    });
}

lego_status adaptive_avg_pool(Handle **out, const Handle *x, const int64_t *size) {
    return produce(out, [&] {
        return is_volume(x) ? at::adaptive_avg_pool3d(x->value, axes_of(x, size))
                            : at::adaptive_avg_pool2d(x->value, axes_of(x, size));
    });
}

lego_status flatten(Handle **out, const Handle *x, int64_t start_axis) {
    return produce(out, [&] { return at::flatten(x->value, start_axis, -1); });
}

lego_status dropout(Handle **out, const Handle *x, double p) {
    return produce(out, [&] { return at::dropout(x->value, p, true); });
}

// x < -limit ? x + bias : x > limit ? x - bias : 0
at::Tensor shrink(const at::Tensor &x, double limit, double bias) {
    if (bias == 0.0)
        return at::hardshrink(x, limit);
    if (bias == limit)
        return at::softshrink(x, limit);
    return at::where(x < -limit, x + bias, at::where(x > limit, x - bias, x * 0.0));
}

// libtorch 1.13 hands gelu's backward to oneDNN with a gradient that lies in memory as it came, which may be another way
// than the input: behind a permute the result was wrong, up to numbers from outside the tensor.
at::Tensor exact_gelu(const at::Tensor &x) {
    at::Tensor y = at::gelu(x);
    const at::MemoryFormat format = x.suggest_memory_format();
    if (y.requires_grad())
        y.register_hook([format](const at::Tensor &gradient) { return gradient.contiguous(format); });
    return y;
}

lego_status unary(Handle **out, lg_torch_unary kind, const Handle *x, const double numbers[3]) {
    return produce(out, [&]() -> at::Tensor {
        const at::Tensor &v = x->value;
        const double a = numbers[0], b = numbers[1], c = numbers[2];
        switch (kind) {
        case LG_TORCH_SIGMOID: return at::sigmoid(v);
        case LG_TORCH_TANH: return at::tanh(v);
        case LG_TORCH_HARD_SIGMOID: return at::clamp(v * a + b, 0.0, 1.0);
        case LG_TORCH_HARD_SWISH: return at::hardswish(v);
        case LG_TORCH_SILU: return at::silu(v);
        case LG_TORCH_GELU: return exact_gelu(v);
        case LG_TORCH_GELU_TANH: return at::gelu(v, "tanh");
        case LG_TORCH_LEAKY_RELU: return at::leaky_relu(v, a);
        case LG_TORCH_ABS: return at::abs(v);
        case LG_TORCH_ACOS: return at::acos(v);
        case LG_TORCH_ACOSH: return at::acosh(v);
        case LG_TORCH_ASIN: return at::asin(v);
        case LG_TORCH_ASINH: return at::asinh(v);
        case LG_TORCH_ATAN: return at::atan(v);
        case LG_TORCH_ATANH: return at::atanh(v);
        case LG_TORCH_CEIL: return at::ceil(v);
        case LG_TORCH_COS: return at::cos(v);
        case LG_TORCH_COSH: return at::cosh(v);
        case LG_TORCH_ERF: return at::erf(v);
        case LG_TORCH_EXP: return at::exp(v);
        case LG_TORCH_FLOOR: return at::floor(v);
        case LG_TORCH_LOG: return at::log(v);
        case LG_TORCH_LOG_SIGMOID: return at::log_sigmoid(v);
        case LG_TORCH_MISH: return at::mish(v);
        case LG_TORCH_RECIPROCAL: return at::reciprocal(v);
        case LG_TORCH_ROUND: return at::round(v);
        case LG_TORCH_SIGN: return at::sign(v);
        case LG_TORCH_SIN: return at::sin(v);
        case LG_TORCH_SINH: return at::sinh(v);
        case LG_TORCH_SOFTSIGN: return v / (at::abs(v) + 1.0);
        case LG_TORCH_SQRT: return at::sqrt(v);
        case LG_TORCH_TAN: return at::tan(v);
        case LG_TORCH_ELU: return at::elu(v, a, b, c);
        case LG_TORCH_SOFTPLUS: return at::softplus(v, a);
        case LG_TORCH_POW: return at::pow(v, a);
        case LG_TORCH_SHRINK: return shrink(v, a, b);
        case LG_TORCH_THRESHOLDED_RELU: return at::threshold(v, a, 0.0);
        }
        throw Refusal(LEGO_EINVAL, "unknown activation " + std::to_string(static_cast<int>(kind)));
    });
}

lego_status binary(Handle **out, lg_torch_binary kind, const Handle *a, const Handle *b) {
    return produce(out, [&]() -> at::Tensor {
        switch (kind) {
        case LG_TORCH_SUB: return at::sub(a->value, b->value);
        case LG_TORCH_MUL: return at::mul(a->value, b->value);
        case LG_TORCH_DIV: return at::div(a->value, b->value);
        case LG_TORCH_MATMUL: return at::matmul(a->value, b->value);
        case LG_TORCH_MIN: return at::minimum(a->value, b->value);
        case LG_TORCH_MAX: return at::maximum(a->value, b->value);
        }
        throw Refusal(LEGO_EINVAL, "unknown operation " + std::to_string(static_cast<int>(kind)));
    });
}

lego_status prelu(Handle **out, const Handle *x, const Handle *weight) {
    return produce(out, [&] { return at::prelu(x->value, weight->value.to(x->value.scalar_type())); });
}

lego_status softmax(Handle **out, const Handle *x, int64_t axis, int logarithm) {
    return produce(out, [&] { return logarithm ? at::log_softmax(x->value, axis) : at::softmax(x->value, axis); });
}

lego_status concat(Handle **out, int n, Handle *const *x, int64_t axis) {
    return produce(out, [&] {
        std::vector<at::Tensor> parts;
        for (int i = 0; i < n; i++)
            parts.push_back(x[i]->value);
        return at::cat(parts, axis);
    });
}

lego_status slice(Handle **out, const Handle *x, int64_t axis, int64_t start, int64_t end, int64_t step) {
    return produce(out, [&] { // ATen goes up only
        if (step > 0)
            return at::slice(x->value, axis, start, end, step);
        return at::flip(at::slice(x->value, axis, start - (start - end - 1) / -step * -step, start + 1, -step), axis);
    });
}

lego_status reshape(Handle **out, const Handle *x, int n_dims, const int64_t *dims) {
    return produce(out, [&] {
        std::vector<int64_t> shape(dims, dims + n_dims);
        shape[0] = x->value.size(0);
        return at::reshape(x->value, shape);
    });
}

lego_status permute(Handle **out, const Handle *x, int n_dims, const int64_t *axes) {
    return produce(out, [&] { return at::permute(x->value, at::IntArrayRef(axes, static_cast<size_t>(n_dims))); });
}

lego_status mean(Handle **out, const Handle *x, int n_axes, const int64_t *axes, int keep) {
    return produce(out, [&] {
        return at::mean(x->value, at::IntArrayRef(axes, static_cast<size_t>(n_axes)), keep != 0);
    });
}

lego_status upsample(Handle **out, const Handle *x, const int64_t *size, int bilinear, int align_corners) {
    return produce(out, [&] {
        const at::IntArrayRef extents = axes_of(x, size);

        if (is_volume(x))
            return bilinear ? at::upsample_trilinear3d(x->value, extents, align_corners != 0)
                            : at::upsample_nearest3d(x->value, extents);
        return bilinear ? at::upsample_bilinear2d(x->value, extents, align_corners != 0)
                        : at::upsample_nearest2d(x->value, extents);
    });
}

lego_status adaptive_max_pool(Handle **out, const Handle *x, const int64_t *size) {
    return produce(out, [&] {
        return std::get<0>(is_volume(x) ? at::adaptive_max_pool3d(x->value, axes_of(x, size))
                                        : at::adaptive_max_pool2d(x->value, axes_of(x, size)));
    });
}

lego_status conv_transpose(Handle **out, const Handle *x, const Handle *weight, const Handle *bias,
                           const lg_torch_window *window, const int64_t *output_padding) {
    return produce(out, [&] {
        const at::IntArrayRef stride = axes_of(x, window->stride), pads = axes_of(x, window->pads);
        const at::IntArrayRef dilation = axes_of(x, window->dilation), extra = axes_of(x, output_padding);

        if (is_volume(x))
            return at::conv_transpose3d(x->value, weight->value, maybe(bias), stride, pads, extra, window->groups,
                                        dilation);
        return at::conv_transpose2d(x->value, weight->value, maybe(bias), stride, pads, extra, window->groups,
                                    dilation);
    });
}

lego_status layer_norm(Handle **out, const Handle *x, int n_dims, const Handle *weight, const Handle *bias,
                       double eps) {
    return produce(out, [&] {
        return at::layer_norm(x->value, x->value.sizes().slice(static_cast<size_t>(x->value.dim() - n_dims)),
                              maybe(weight), maybe(bias), eps);
    });
}

lego_status group_norm(Handle **out, const Handle *x, int64_t groups, const Handle *weight, const Handle *bias,
                       double eps) {
    return produce(out, [&] { return at::group_norm(x->value, groups, maybe(weight), maybe(bias), eps); });
}

lego_status repeat(Handle **out, const Handle *value, int64_t n) {
    return produce(out, [&] {
        std::vector<int64_t> shape(value->value.sizes().begin(), value->value.sizes().end());
        shape.insert(shape.begin(), n);
        return value->value.unsqueeze(0).expand(shape);
    });
}

// --- losses ---

lego_status cross_entropy(Handle **out, const Handle *logits, const Handle *labels, double label_smoothing) {
    return produce(out, [&] {
        return at::cross_entropy_loss(logits->value.to(at::kFloat), labels->value, {}, at::Reduction::Mean, -100,
                                      label_smoothing);
    });
}

lego_status count_correct(int64_t *out, const Handle *logits, const Handle *labels) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        *out = logits->value.argmax(1).eq(labels->value).sum().item().toLong();
    });
}

lego_status distance(Handle **out, lg_torch_loss loss, const Handle *x, const Handle *target) {
    return produce(out, [&]() -> at::Tensor {
        const at::Tensor got = x->value.to(at::kFloat), want = target->value.to(at::kFloat);
        switch (loss) {
        case LG_TORCH_MSE: return at::mse_loss(got, want);
        case LG_TORCH_SMOOTH_L1: return at::smooth_l1_loss(got, want);
        case LG_TORCH_COSINE:
            return 1.0 - at::cosine_similarity(at::flatten(got, 1), at::flatten(want, 1), 1).mean();
        }
        throw Refusal(LEGO_EINVAL, "unknown loss " + std::to_string(static_cast<int>(loss)));
    });
}

lego_status backward(const Handle *loss) {
    return guarded([&] { loss->value.backward(); });
}

// --- optimisers ---

lego_status sgd_step(int n, Handle *const *leaves, Handle *const *velocity, const double *decay, double lr,
                     double momentum, int nesterov) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        for (int i = 0; i < n; i++) {
            at::Tensor &w = leaves[i]->value;
            at::Tensor &grad = w.mutable_grad();
            if (!grad.defined())
                continue;
            if (decay[i] != 0.0)
                grad.add_(w, decay[i]);
            if (momentum != 0.0) {
                at::Tensor &v = velocity[i]->value;
                v.mul_(momentum).add_(grad);
                if (nesterov)
                    grad.add_(v, momentum);
                w.add_(nesterov ? grad : v, -lr);
            } else {
                w.add_(grad, -lr);
            }
            grad.reset();
        }
    });
}

lego_status adam_step(double *grad_norm, int n, Handle *const *leaves, Handle *const *m, Handle *const *v,
                      const lg_torch_adam *options) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        std::vector<at::Tensor> weights, grads, first, second;
        for (int i = 0; i < n; i++) {
            at::Tensor &grad = leaves[i]->value.mutable_grad();
            if (!grad.defined())
                continue;
            weights.push_back(leaves[i]->value);
            grads.push_back(std::move(grad));
            grad.reset();
            first.push_back(m[i]->value);
            second.push_back(v[i]->value);
        }
        double square = 0.0;
        for (const at::Tensor &norm : at::_foreach_norm(grads, 2)) {
            const double value = norm.item().toDouble();
            square += value * value;
        }
        *grad_norm = std::sqrt(square);
        if (!std::isfinite(*grad_norm) || grads.empty())
            return;
        if (options->max_norm > 0.0 && *grad_norm > options->max_norm)
            at::_foreach_mul_(grads, options->max_norm / *grad_norm);

        const double correction1 = 1.0 - std::pow(options->beta1, static_cast<double>(options->step));
        const double correction2 = 1.0 - std::pow(options->beta2, static_cast<double>(options->step));
        at::_foreach_mul_(first, options->beta1);
        at::_foreach_add_(first, grads, 1.0 - options->beta1);
        at::_foreach_mul_(second, options->beta2);
        at::_foreach_addcmul_(second, grads, grads, 1.0 - options->beta2);
        std::vector<at::Tensor> denominator = at::_foreach_sqrt(second);
        at::_foreach_div_(denominator, std::sqrt(correction2));
        at::_foreach_add_(denominator, options->eps);
        at::_foreach_addcdiv_(weights, first, denominator, -options->lr / correction1);
    });
}

// --- TorchScript ---

lego_status script_record(const lg_script **out, const char *path, int64_t batch, int n_inputs,
                          const lg_script_sample *inputs) {
    *out = nullptr;
    return guarded([&] {
        at::NoGradGuard no_grad;
        try {
            torch::jit::Module module = torch::jit::load(path, c10::Device(c10::DeviceType::CPU));
            module.eval();
            const std::vector<lg_script_sample> shapes(inputs, inputs + n_inputs);
            auto recorder = std::make_unique<lg::ScriptRecorder>(module, batch, shapes);
            *out = lg::ScriptRecorder::release(std::move(recorder));
        } catch (const lg::ScriptError &error) {
            throw Refusal(LEGO_EUNSUPPORTED, error.what());
        }
    });
}

void script_free(const lg_script *script) { lg::ScriptRecorder::destroy(script); }

const lg_torch_api api = {
    LG_TORCH_API_VERSION,
    0,
    sizeof(lg_torch_api),
    describe,
    last_message,
    device_check,
    set_threads,
    set_seed,
    set_grad,
    allocator_install,
    allocator_trim,
    allocator_stats,
    tensor_from_host,
    tensor_zeros_like,
    tensor_copy,
    tensor_detach,
    tensor_share,
    tensor_cast,
    tensor_assign,
    tensor_assign_host,
    tensor_to_host,
    tensor_shape,
    tensor_item,
    tensor_set_trainable,
    tensor_keep_grad,
    tensor_grad,
    tensor_drop_grad,
    tensor_free,
    conv,
    linear,
    batch_norm,
    fold_batch_norm,
    relu,
    clip,
    add,
    pad,
    max_pool,
    avg_pool,
    adaptive_avg_pool,
    flatten,
    dropout,
    unary,
    binary,
    prelu,
    softmax,
    concat,
    slice,
    reshape,
    permute,
    mean,
    upsample,
    adaptive_max_pool,
    conv_transpose,
    layer_norm,
    group_norm,
    repeat,
    cross_entropy,
    count_correct,
    distance,
    backward,
    sgd_step,
    adam_step,
    script_record,
    script_free,
};

} // namespace

extern "C" LEGO_API const lg_torch_api *lg_torch_api_get(void);
extern "C" const lg_torch_api *lg_torch_api_get(void) { return &api; }
