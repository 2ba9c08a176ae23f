// What the recorder writes down: lg_script, and everything that its pointers point to. Tensors get numbers here, and arguments
// their form.
#ifndef LG_TORCH_SCRIPT_TAPE_HPP
#define LG_TORCH_SCRIPT_TAPE_HPP

#include "torch/lego_torch.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/ir.h>

#include <deque>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace lg {

using torch::jit::IValue;
using torch::jit::Node;

struct ScriptError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The tape is the view that it hands out, so that the view's address is enough to free everything.
class ScriptTape : public lg_script {
protected:
    static constexpr int max_depth = 64;

    std::unordered_map<const at::TensorImpl *, std::string> names_; // of parameters and buffers
    std::unordered_map<const at::TensorImpl *, int32_t> ids_;       // computed from the input; -1: stale
    std::unordered_map<const at::TensorImpl *, int32_t> constants_;
    std::unordered_map<const c10::StorageImpl *, std::vector<at::Tensor>> sharers_; // every tensor, by its memory
    std::unordered_set<const at::TensorImpl *> memories_; // constants that are what earlier calls of forward left
    std::vector<at::Tensor> kept_; // so that no TensorImpl is used twice
    std::vector<lg_script_tensor> tensors_;
    std::vector<lg_script_node> nodes_;
    std::vector<int32_t> inputs_, outputs_;

    ScriptTape() : lg_script{} {}

    // The view of what was written down so far.
    void publish(int64_t n_samples) {
        batch = n_samples;
        n_nodes = static_cast<int32_t>(nodes_.size());
        n_tensors = static_cast<int32_t>(tensors_.size());
        n_inputs = static_cast<int32_t>(inputs_.size());
        n_outputs = static_cast<int32_t>(outputs_.size());
        nodes = nodes_.data();
        tensors = tensors_.data();
        inputs = inputs_.data();
        outputs = outputs_.data();
    }

    const char *keep(std::string text) {
        texts_.push_back(std::move(text));
        return texts_.back().c_str();
    }

    // --- tensors ---

    void add_named(const std::string &name, at::Tensor tensor) {
        if (is_other_float(tensor))
            tensor.set_data(tensor.to(at::kFloat));
        names_.emplace(tensor.unsafeGetTensorImpl(), name);
        see(tensor);
    }

    void see(const at::Tensor &tensor) {
        if (tensor.has_storage())
            sharers_[tensor.storage().unsafeGetStorageImpl()].push_back(tensor);
    }

    static bool is_other_float(const at::Tensor &tensor) {
        return tensor.defined() && at::isFloatingType(tensor.scalar_type()) && tensor.scalar_type() != at::kFloat;
    }

    int32_t add(const at::Tensor &tensor) {
        if (tensor.dim() > LEGO_MAX_DIMS)
            throw ScriptError("a tensor of " + std::to_string(tensor.dim()) + " dimensions");
        lg_script_tensor entry{};
        entry.dtype = dtype_of(tensor);
        entry.n_dims = static_cast<int32_t>(tensor.dim());
        for (int64_t i = 0; i < tensor.dim(); i++)
            entry.dims[i] = tensor.size(i);
        kept_.push_back(tensor);
        tensors_.push_back(entry);
        return static_cast<int32_t>(tensors_.size()) - 1;
    }

    int32_t computed(const at::Tensor &tensor) {
        const int32_t id = add(tensor);
        see(tensor);
        ids_[tensor.unsafeGetTensorImpl()] = id;
        return id;
    }

    int32_t constant(const at::Tensor &tensor) {
        const auto found = constants_.find(tensor.unsafeGetTensorImpl());
        if (found != constants_.end())
            return found->second;
        const at::Tensor dense = tensor.detach().to(at::kCPU).contiguous();
        const int32_t id = add(dense);
        const auto name = names_.find(tensor.unsafeGetTensorImpl());
        kept_.push_back(tensor);
        tensors_[static_cast<size_t>(id)].data = dense.data_ptr();
        tensors_[static_cast<size_t>(id)].name = name == names_.end() ? nullptr : keep(name->second);
        tensors_[static_cast<size_t>(id)].is_memory = memories_.count(tensor.unsafeGetTensorImpl()) != 0;
        constants_[tensor.unsafeGetTensorImpl()] = id;
        return id;
    }

    static int32_t dtype_of(const at::Tensor &tensor) {
        switch (tensor.scalar_type()) {
        case at::kFloat: return LEGO_DTYPE_F32;
        case at::kDouble: return LEGO_DTYPE_F64;
        case at::kHalf: return LEGO_DTYPE_F16;
        case at::kBFloat16: return LEGO_DTYPE_BF16;
        case at::kLong: return LEGO_DTYPE_I64;
        case at::kInt: return LEGO_DTYPE_I32;
        case at::kShort: return LEGO_DTYPE_I16;
        case at::kChar: return LEGO_DTYPE_I8;
        case at::kByte: return LEGO_DTYPE_U8;
        case at::kBool: return LEGO_DTYPE_BOOL;
        default: return -1; // complex, quantised
        }
    }

    // A list of anything can hold itself.
    template <class Visit>
    static void each_tensor(const IValue &value, const Visit &visit, int depth = 0) {
        if (depth > max_depth)
            throw ScriptError("lists, tuples or dictionaries nested deeper than " + std::to_string(max_depth));
        if (value.isTensor()) {
            if (value.toTensor().defined())
                visit(value.toTensor());
        } else if (value.isTensorList()) {
            for (const at::Tensor &tensor : value.toTensorVector())
                visit(tensor);
        } else if (value.isList()) {
            for (const IValue &item : value.toListRef())
                each_tensor(item, visit, depth + 1);
        } else if (value.isTuple()) {
            for (const IValue &item : value.toTupleRef().elements())
                each_tensor(item, visit, depth + 1);
        } else if (value.isGenericDict()) {
            for (const auto &item : value.toGenericDict())
                each_tensor(item.value(), visit, depth + 1);
        }
    }

    bool is_computed(const IValue &value) const {
        bool found = false;
        each_tensor(value, [&](const at::Tensor &t) { found |= ids_.count(t.unsafeGetTensorImpl()) != 0; });
        return found;
    }

    void finish(const IValue &value) {
        each_tensor(value, [&](const at::Tensor &tensor) {
            const auto id = ids_.find(tensor.unsafeGetTensorImpl());
            if (id == ids_.end())
                throw ScriptError("an output does not depend on the input");
            if (id->second >= 0 && tensors_[static_cast<size_t>(id->second)].data)
                throw ScriptError("an output does not depend on the input");
            if (id->second < 0)
                throw ScriptError("an output was changed in place through a view of it");
            outputs_.push_back(id->second);
        });
    }

    // --- arguments ---

    lg_script_arg argument(const IValue &value, std::string *problem) {
        lg_script_arg arg{};
        arg.type = LG_SCRIPT_OTHER;
        if (value.isNone()) {
            arg.type = LG_SCRIPT_NONE;
        } else if (value.isTensor()) {
            arg.type = value.toTensor().defined() ? LG_SCRIPT_TENSOR : LG_SCRIPT_NONE;
            if (value.toTensor().defined())
                arg.integer = reference(value.toTensor(), problem);
        } else if (value.isBool()) {
            arg.type = LG_SCRIPT_BOOL;
            arg.integer = value.toBool();
            arg.number = value.toBool();
        } else if (value.isInt()) {
            arg.type = LG_SCRIPT_INT;
            arg.integer = value.toInt();
            arg.number = static_cast<double>(value.toInt());
        } else if (value.isDouble()) {
            arg.type = LG_SCRIPT_DOUBLE;
            arg.number = value.toDouble();
        } else if (value.isString()) {
            arg.type = LG_SCRIPT_TEXT;
            arg.text = keep(value.toStringRef());
        } else if (value.isIntList() || value.isBoolList() || value.isTensorList()) {
            std::vector<int64_t> items;
            arg.type = value.isTensorList() ? LG_SCRIPT_TENSORS : LG_SCRIPT_INTS;
            if (value.isIntList())
                items = value.toIntVector();
            else if (value.isBoolList())
                for (const bool item : value.toBoolList())
                    items.push_back(item);
            else
                for (const at::Tensor &tensor : value.toTensorVector())
                    items.push_back(reference(tensor, problem));
            arg.n = static_cast<int32_t>(items.size());
            ints_.push_back(std::move(items));
            arg.ints = ints_.back().data();
        } else if (value.isDoubleList()) {
            doubles_.push_back(value.toDoubleVector());
            arg.type = LG_SCRIPT_DOUBLES;
            arg.n = static_cast<int32_t>(doubles_.back().size());
            arg.doubles = doubles_.back().data();
        }
        return arg;
    }

    int32_t reference(const at::Tensor &tensor, std::string *problem) {
        const auto id = ids_.find(tensor.unsafeGetTensorImpl());
        if (id == ids_.end())
            return constant(tensor);
        if (id->second < 0) {
            *problem = "reads a tensor that was changed in place through another view of it";
            return 0;
        }
        return id->second;
    }

    // The module path that the node was inlined from: "layer1.0".
    static std::string scope_of(const Node *node) {
        std::string scope;
        if (const auto stack = node->callstack()) {
            for (const auto &entry : (*stack)->vec()) {
                const auto &instance = std::get<2>(entry);
                if (!instance || instance->instance_name().empty() || instance->instance_name() == "SELF")
                    continue;
                scope += (scope.empty() ? "" : ".") + instance->instance_name();
            }
        }
        return scope;
    }

    void record(const Node *node, const char *kind, std::vector<lg_script_arg> args, const std::vector<at::Tensor> &results,
                const std::string &problem) {
        lg_script_node entry{};
        std::vector<int32_t> outputs;
        for (const at::Tensor &result : results)
            outputs.push_back(computed(result));
        args_.push_back(std::move(args));
        output_ids_.push_back(std::move(outputs));
        entry.kind = keep(kind);
        entry.scope = keep(scope_of(node));
        entry.problem = problem.empty() ? nullptr : keep(problem);
        entry.n_args = static_cast<int32_t>(args_.back().size());
        entry.n_outputs = static_cast<int32_t>(output_ids_.back().size());
        entry.args = args_.back().data();
        entry.outputs = output_ids_.back().data();
        nodes_.push_back(entry);
    }

    lg_script_arg tensor_arg(int32_t id) {
        lg_script_arg arg{};
        arg.type = LG_SCRIPT_TENSOR;
        arg.integer = id;
        return arg;
    }

    lg_script_arg ints_arg(const std::vector<int64_t> &values) {
        lg_script_arg arg{};
        arg.type = LG_SCRIPT_INTS;
        arg.n = static_cast<int32_t>(values.size());
        ints_.push_back(values);
        arg.ints = ints_.back().data();
        return arg;
    }

private:
    std::deque<std::string> texts_;
    std::deque<std::vector<lg_script_arg>> args_;
    std::deque<std::vector<int64_t>> ints_;
    std::deque<std::vector<double>> doubles_;
    std::deque<std::vector<int32_t>> output_ids_;
};

} // namespace lg

#endif
