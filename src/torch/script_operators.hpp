// What the recorder must know of TorchScript's operators, by name.
#ifndef LG_TORCH_SCRIPT_OPERATORS_HPP
#define LG_TORCH_SCRIPT_OPERATORS_HPP

#include <string>
#include <unordered_set>

namespace lg {

// Operators that compute numbers, lists or constant tensors and have no tensor argument.
inline bool is_harmless(const std::string &name) {
    static const std::unordered_set<std::string> known = {
        "aten::add", "aten::sub", "aten::mul", "aten::div", "aten::floordiv", "aten::floor_divide",
        "aten::remainder", "aten::fmod", "aten::neg", "aten::pow", "aten::sqrt", "aten::floor", "aten::ceil",
        "aten::round", "aten::abs", "aten::min", "aten::max", "prim::min", "prim::max", "prim::abs", "aten::log",
        "aten::exp", "aten::Int", "aten::Float", "aten::Bool", "aten::IntImplicit", "aten::FloatImplicit",
        "aten::ScalarImplicit", "prim::NumToTensor", "aten::eq", "aten::ne", "aten::lt", "aten::le", "aten::gt",
        "aten::ge", "aten::__and__", "aten::__or__", "aten::__not__", "aten::__is__", "aten::__isnot__",
        "aten::__getitem__", "aten::__contains__", "aten::_set_item", "aten::len", "aten::append", "aten::slice",
        "aten::list", "aten::range_length", "aten::__range_length", "aten::__derive_index", "aten::format",
        "aten::str", "aten::size", "aten::dim", "aten::extend", "aten::copy", "aten::keys", "aten::values",
        "aten::items", "aten::dict", "aten::sum", "prim::TupleIndex", "prim::dtype", "prim::device", "prim::min", "prim::max",
        "aten::zeros", "aten::ones", "aten::full", "aten::empty", "aten::arange", "aten::linspace", "aten::tensor",
        "aten::scalar_tensor", "aten::eye", "aten::is_autocast_enabled", "aten::is_grad_enabled",
        "aten::is_scripting", "aten::is_tracing", "aten::find", "aten::startswith", "aten::endswith", "aten::join",
        "aten::all", "aten::any", "aten::is_floating_point", "prim::requires_grad",
    };
    return known.count(name) != 0;
}

// Operators that ask for a tensor's form, not for its values.
inline bool asks_for_form(const std::string &name) {
    static const std::unordered_set<std::string> known = {
        "aten::size", "aten::dim", "aten::numel", "aten::stride", "aten::len", "aten::is_floating_point",
        "aten::is_complex", "aten::is_contiguous", "prim::dtype", "prim::device", "prim::layout", "prim::shape",
        "prim::requires_grad", "prim::is_cuda", "prim::is_sparse", "prim::is_quantized", "prim::is_mkldnn",
        "prim::ndim", "aten::__is__", "aten::__isnot__", "aten::__getitem__", "aten::__contains__", "aten::append",
        "aten::extend", "aten::_set_item", "aten::dict", "aten::keys", "aten::values", "aten::items", "aten::list",
        "aten::copy",
    };
    return known.count(name) != 0;
}

// Operators of which only the first argument's values matter: what follows says a type or a shape.
inline bool is_of_first(const std::string &name) {
    static const std::unordered_set<std::string> known = {
        "aten::to", "aten::type_as", "aten::expand_as", "aten::view_as", "aten::reshape_as",
        "aten::zeros_like", "aten::ones_like", "aten::empty_like", "aten::full_like", "aten::new_zeros",
        "aten::new_ones", "aten::new_empty", "aten::new_full",
    };
    return known.count(name) != 0;
}

// Constants in the form of a computed value.
inline bool is_of_form(const std::string &name) {
    static const std::unordered_set<std::string> known = {
        "aten::zeros_like", "aten::ones_like", "aten::empty_like", "aten::full_like", "aten::new_zeros",
        "aten::new_ones", "aten::new_empty", "aten::new_full",
    };
    return known.count(name) != 0;
}

// What is overwritten as a whole remembers nothing.
inline bool overwrites(const std::string &name) {
    return name == "aten::copy_" || name == "aten::fill_" || name == "aten::zero_";
}

} // namespace lg

#endif
