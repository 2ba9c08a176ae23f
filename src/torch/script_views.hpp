// Where tensors that share memory lie in one another. A write to one changes the others; as values of a graph, each of them is
// then made anew out of the one that was written.
#ifndef LG_TORCH_SCRIPT_VIEWS_HPP
#define LG_TORCH_SCRIPT_VIEWS_HPP

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace lg {

// A part of a tensor: from where and how much, along each of its axes.
struct Box {
    std::vector<int64_t> starts, sizes;
};

// Elements from the first to the last, gaps included.
inline int64_t reach(const at::Tensor &tensor) {
    int64_t last = 0;
    for (int64_t i = 0; i < tensor.dim(); i++)
        last += (tensor.size(i) - 1) * tensor.stride(i);
    return last + 1;
}

inline bool are_apart(const at::Tensor &a, const at::Tensor &b) {
    return a.numel() == 0 || b.numel() == 0 || a.storage_offset() + reach(a) <= b.storage_offset() ||
           b.storage_offset() + reach(b) <= a.storage_offset();
}

// The same elements in the same order; the shapes may differ.
inline bool are_same(const at::Tensor &a, const at::Tensor &b) {
    return a.storage_offset() == b.storage_offset() && a.numel() == b.numel() &&
           ((a.sizes() == b.sizes() && a.strides() == b.strides()) || (a.is_contiguous() && b.is_contiguous()));
}

// `inner` as a box of `outer`: their axes have the same steps, and those that inner lacks are selected at one place.
inline std::optional<Box> box_of(const at::Tensor &inner, const at::Tensor &outer) {
    const int64_t n = outer.dim();
    int64_t rest = inner.storage_offset() - outer.storage_offset(), next = 0;
    Box box{std::vector<int64_t>(n, 0), std::vector<int64_t>(n, 1)};
    std::vector<int64_t> order(n);
    for (int64_t i = 0; i < n; i++) {
        order[i] = i;
        if (outer.size(i) > 1 && outer.stride(i) <= 0)
            return std::nullopt; // expanded: an element is in several places
    }
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return outer.stride(a) > outer.stride(b); });
    for (const int64_t axis : order)
        if (outer.size(axis) > 1 && rest >= 0) {
            box.starts[axis] = std::min(rest / outer.stride(axis), outer.size(axis) - 1);
            rest -= box.starts[axis] * outer.stride(axis);
        }
    if (rest != 0)
        return std::nullopt;
    for (int64_t axis = 0; axis < n; axis++) {
        while (next < inner.dim() && inner.size(next) == 1)
            next++; // has no step
        if (next == inner.dim() || outer.size(axis) == 1 || inner.stride(next) != outer.stride(axis))
            continue;
        box.sizes[axis] = inner.size(next++);
        if (box.starts[axis] + box.sizes[axis] > outer.size(axis))
            return std::nullopt;
    }
    while (next < inner.dim() && inner.size(next) == 1)
        next++;
    return next == inner.dim() ? std::optional<Box>(box) : std::nullopt;
}

} // namespace lg

#endif
