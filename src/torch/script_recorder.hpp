// A TorchScript module as a flat list of tensor operations: lg_script.
//
// The module's forward is inlined and walked node by node on a real input. Numbers, shapes, lists, attributes, branches and
// loops are evaluated and disappear; what computes a tensor from the input is run and written down with its arguments, as
// torch.jit.trace would. So traced, scripted and frozen files all come out the same way, and nothing has to be guessed about
// shapes.
//
// A tensor is known by its TensorImpl. An operation that returns its argument (dropout outside training, contiguous)
// adds nothing. One that writes in place gives the tensor a new number. So do all others that share its memory: they are made
// of the written one by nodes of our own, lg::write_box (a value with a part of it replaced), lg::read_box (a part) and
// lg::read_as (another shape). A view that is none of these is stale from then on, and using it is reported.
//
// Everything of floating point is float32 here, whatever the module says: that is what graphs compute with.
//
// TorchScript is a language with operators that write files. Only what computes (aten and prim, no side effects) is run;
// operators without a tensor argument must stand in a list.
#ifndef LG_TORCH_SCRIPT_RECORDER_HPP
#define LG_TORCH_SCRIPT_RECORDER_HPP

#include "script_operators.hpp"
#include "script_tape.hpp"
#include "script_views.hpp"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/serialization/import.h>

#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace lg {

using torch::jit::Block;
using torch::jit::Stack;
using torch::jit::Value;

class ScriptRecorder : ScriptTape {
public:
    ScriptRecorder(torch::jit::Module &module, int64_t n_samples, const std::vector<lg_script_sample> &shapes) {
        for (const auto &parameter : module.named_parameters())
            add_named(parameter.name, parameter.value);
        for (const auto &buffer : module.named_buffers())
            add_named(buffer.name, buffer.value);
        const auto forward = module.get_method("forward");
        auto graph = forward.graph()->copy();
        torch::jit::Inline(*graph);
        set_inputs(*graph, forward.function().getSchema(), module, n_samples, shapes);
        run(*graph->block());
        for (const Value *output : graph->outputs())
            finish(get(output));
        if (outputs_.empty())
            throw ScriptError("forward returns no tensor that depends on its input");
        publish(n_samples);
        env_.clear();
    }

    static const lg_script *release(std::unique_ptr<ScriptRecorder> recorder) { return recorder.release(); }
    static void destroy(const lg_script *script) { delete static_cast<const ScriptRecorder *>(script); }

private:
    static constexpr int64_t max_steps = 1000000;

    std::unordered_map<const Value *, IValue> env_;
    std::set<std::pair<const void *, std::string>> read_; // attributes
    int64_t steps_ = 0;

    const IValue &get(const Value *value) {
        const auto found = env_.find(value);
        if (found == env_.end())
            throw ScriptError("value %" + value->debugName() + " is used before it is computed");
        return found->second;
    }

    // --- inputs ---

    // "forward takes (x: Tensor, mask: Optional[Tensor] = None)"
    static std::string signature(const c10::FunctionSchema &schema) {
        std::string text = "forward takes (";
        for (size_t i = 1; i < schema.arguments().size(); i++) {
            const c10::Argument &argument = schema.arguments()[i];
            text += (i > 1 ? ", " : "") + argument.name() + ": " + argument.type()->annotation_str() +
                    (argument.default_value() ? " = ..." : "");
        }
        return text + ")";
    }

    // The shape that is given for argument i; NULL.
    static const lg_script_sample *shape_of(const c10::FunctionSchema &schema, size_t i,
                                           const std::vector<lg_script_sample> &shapes) {
        for (const lg_script_sample &shape : shapes)
            if (shape.name && schema.arguments()[i].name() == shape.name)
                return &shape;
        return i - 1 < shapes.size() && !shapes[i - 1].name ? &shapes[i - 1] : nullptr;
    }

    // Random tensors of the shapes that are given; defaults for everything else.
    void set_inputs(const torch::jit::Graph &graph, const c10::FunctionSchema &schema, const torch::jit::Module &module,
                    int64_t n_samples, const std::vector<lg_script_sample> &shapes) {
        size_t n_used = 0;
        if (graph.inputs().size() != schema.arguments().size())
            throw ScriptError("forward has another number of inputs than it says");
        env_[graph.inputs()[0]] = module._ivalue();
        for (size_t i = 1; i < graph.inputs().size(); i++) {
            const c10::Argument &argument = schema.arguments()[i];
            const lg_script_sample *shape = shape_of(schema, i, shapes);
            if (!shape && argument.default_value()) {
                env_[graph.inputs()[i]] = *argument.default_value();
                continue;
            }
            if (!c10::TensorType::get()->isSubtypeOf(*argument.type()))
                throw ScriptError("input '" + argument.name() + "' is no tensor but " +
                                  argument.type()->annotation_str() + "; wrap the module in one that sets it. " +
                                  signature(schema));
            if (!shape)
                throw ScriptError("no shape is given for input '" + argument.name() + "'; " + signature(schema));
            std::vector<int64_t> dims(shape->dims, shape->dims + shape->n_dims);
            dims[0] = n_samples;
            const at::Tensor sample = at::rand(dims);
            env_[graph.inputs()[i]] = sample;
            inputs_.push_back(computed(sample));
            tensors_.back().name = keep(argument.name());
            n_used++;
        }
        if (n_used != shapes.size())
            throw ScriptError(std::to_string(shapes.size()) + " shapes are given for " + std::to_string(n_used) +
                              " of its inputs; " + signature(schema));
    }

    // --- running ---

    void run(Block &block) {
        for (Node *node : block.nodes())
            step(node);
    }

    void step(Node *node) {
        if (++steps_ > max_steps)
            throw ScriptError("forward takes more than " + std::to_string(max_steps) + " steps");
        switch (node->kind()) {
        case c10::prim::Constant: {
            const auto value = torch::jit::toIValue(node->output());
            env_[node->output()] = value ? widened(*value, true) : IValue();
            each_tensor(get(node->output()), [&](const at::Tensor &tensor) { see(tensor); });
            return;
        }
        case c10::prim::GetAttr: {
            const auto object = get(node->input()).toObject();
            env_[node->output()] = object->getAttr(node->s(c10::attr::name));
            read_.emplace(object.get(), node->s(c10::attr::name));
            return;
        }
        case c10::prim::SetAttr: return set_attribute(node);
        case c10::prim::ListConstruct: return construct_list(node);
        case c10::prim::TupleConstruct:
            env_[node->output()] = c10::ivalue::Tuple::create(all_inputs(node));
            return;
        case c10::prim::DictConstruct: return construct_dict(node);
        case c10::prim::TupleUnpack: return unpack(node, get(node->input()).toTupleRef().elements().vec());
        case c10::prim::ListUnpack: return unpack(node, get(node->input()).toListRef().vec());
        case c10::prim::If: return branch(node);
        case c10::prim::Loop: return loop(node);
        case c10::prim::RaiseException:
            throw ScriptError("forward raises an exception for this input: " +
                              (get(node->input(0)).isString() ? get(node->input(0)).toStringRef() : ""));
        case c10::prim::Uninitialized: env_[node->output()] = IValue(); return;
        case c10::prim::unchecked_cast: env_[node->output()] = get(node->input()); return;
        case c10::prim::Print:
        case c10::aten::warn:
            return;
        default: call(node);
        }
    }

    std::vector<IValue> all_inputs(const Node *node) {
        std::vector<IValue> inputs;
        for (const Value *input : node->inputs())
            inputs.push_back(get(input));
        return inputs;
    }

    void unpack(const Node *node, const std::vector<IValue> &items) {
        if (items.size() != node->outputs().size())
            throw ScriptError("a list of " + std::to_string(items.size()) + " items is unpacked into " +
                              std::to_string(node->outputs().size()));
        for (size_t i = 0; i < items.size(); i++)
            env_[node->outputs()[i]] = items[i];
    }

    void construct_list(Node *node) {
        const auto element = node->output()->type()->expectRef<c10::ListType>().getElementType();
        c10::impl::GenericList list(element);
        for (const Value *input : node->inputs())
            list.push_back(get(input));
        env_[node->output()] = IValue(list);
    }

    void construct_dict(Node *node) {
        const auto &type = node->output()->type()->expectRef<c10::DictType>();
        c10::impl::GenericDict dict(type.getKeyType(), type.getValueType());
        for (size_t i = 0; i + 1 < node->inputs().size(); i += 2)
            dict.insert_or_assign(get(node->inputs()[i]), get(node->inputs()[i + 1]));
        env_[node->output()] = IValue(dict);
    }

    void branch(Node *node) {
        Block &taken = *node->blocks()[get(node->input()).toBool() ? 0 : 1];
        run(taken);
        for (size_t i = 0; i < node->outputs().size(); i++)
            env_[node->outputs()[i]] = get(taken.outputs()[i]);
    }

    // inputs: trip count, condition, carried values; body: (trip, carried) -> (condition, carried)
    void loop(Node *node) {
        const int64_t trips = get(node->inputs()[0]).toInt();
        bool go_on = get(node->inputs()[1]).toBool();
        Block &body = *node->blocks()[0];
        std::vector<IValue> carried;
        for (size_t i = 2; i < node->inputs().size(); i++)
            carried.push_back(get(node->inputs()[i]));
        for (int64_t trip = 0; go_on && trip < trips; trip++) {
            if (++steps_ > max_steps)
                throw ScriptError("forward takes more than " + std::to_string(max_steps) + " steps");
            env_[body.inputs()[0]] = trip;
            for (size_t i = 0; i < carried.size(); i++)
                env_[body.inputs()[i + 1]] = carried[i];
            run(body);
            go_on = get(body.outputs()[0]).toBool();
            for (size_t i = 0; i < carried.size(); i++)
                carried[i] = get(body.outputs()[i + 1]);
        }
        unpack(node, carried);
    }

    void call(Node *node) {
        const std::string name = node->kind().toQualString();
        const torch::jit::Operator *op = node->maybeOperator();
        const std::vector<IValue> inputs = all_inputs(node);
        bool has_tensor = false, depends = false, remembers = false;
        for (size_t i = 0; i < inputs.size(); i++) {
            each_tensor(inputs[i], [&](const at::Tensor &tensor) {
                has_tensor = true;
                remembers |= memories_.count(tensor.unsafeGetTensorImpl()) != 0;
            });
            depends |= (i == 0 || !is_of_first(name)) && is_computed(inputs[i]);
        }
        depends &= !is_of_form(name);
        refuse_foreign(node, name, op, has_tensor);

        std::string problem;
        std::vector<lg_script_arg> args; // before the operator runs: it may write
        const at::Tensor *written = written_tensor(op->schema(), inputs);
        if (written && !asks_for_form(name))
            prepare_write(*written, depends);
        if (depends)
            for (const IValue &input : inputs)
                args.push_back(argument(input, &problem));

        Stack stack(inputs.begin(), inputs.end());
        if (op->schema().is_vararg())
            stack.emplace_back(static_cast<int64_t>(inputs.size()));
        node->getOperation()(stack);
        if (stack.size() != node->outputs().size())
            throw ScriptError(name + " gives another number of results than it says");
        for (size_t i = 0; i < stack.size(); i++) {
            stack[i] = widened(stack[i], !depends);
            env_[node->outputs()[i]] = stack[i];
        }
        if (depends)
            note(node, name, written, std::move(args), stack, problem);
        else
            note_constants(name, written, stack, remembers);
    }

    void refuse_foreign(const Node *node, const std::string &name, const torch::jit::Operator *op, bool has_tensor) {
        const std::string place = name + (scope_of(node).empty() ? "" : " in " + scope_of(node));
        if (name.rfind("quantized::", 0) == 0 || name == "aten::quantize_per_tensor" || name == "aten::dequantize")
            throw ScriptError(place + ": the module is quantised; import the float module that it was made of");
        // these two say that they have effects, but only ask
        const bool acts =
            node->hasSideEffects() && name != "aten::is_autocast_enabled" && name != "aten::is_grad_enabled";
        if (!op || (!node->kind().is_aten() && !node->kind().is_prim()) || acts || (!has_tensor && !is_harmless(name)))
            throw ScriptError(place + " is none of the operators that are run; rewrite the module without it");
    }

    // Floating point of any other width as float32; of constants only the narrow ones, which would not go with it.
    static IValue widened(const IValue &value, bool only_narrow) {
        const auto widen = [&](const at::Tensor &tensor) {
            return is_other_float(tensor) && !(only_narrow && tensor.scalar_type() == at::kDouble) ? tensor.to(at::kFloat)
                                                                                                    : tensor;
        };
        if (value.isTensor() && value.toTensor().defined())
            return widen(value.toTensor());
        if (!value.isTensorList())
            return value;
        for (const at::Tensor &tensor : value.toTensorVector())
            if (!widen(tensor).is_same(tensor)) {
                c10::List<at::Tensor> list;
                for (const at::Tensor &item : value.toTensorVector())
                    list.push_back(widen(item));
                return list;
            }
        return value;
    }

    // Write down what `node` made, if it made anything.
    void note(const Node *node, const std::string &name, const at::Tensor *written, std::vector<lg_script_arg> args,
              const Stack &stack, const std::string &problem) {
        std::vector<at::Tensor> results;
        const bool form = asks_for_form(name);
        bool only_numbers = !form;
        for (const IValue &output : stack) {
            each_tensor(output, [&](const at::Tensor &tensor) {
                only_numbers = false;
                if (!form && ids_.count(tensor.unsafeGetTensorImpl()) == 0)
                    results.push_back(tensor);
            });
        }
        if (only_numbers) {
            record(node, name.c_str(), std::move(args), {},
                   "makes numbers of computed values: what depends on the data cannot be a graph");
        } else if (written && !form) {
            record(node, name.c_str(), std::move(args), {*written}, problem);
            update_sharers(node, *written);
        } else if (!results.empty()) {
            record(node, name.c_str(), std::move(args), results, problem);
        }
    }

    void note_constants(const std::string &name, const at::Tensor *written, const Stack &stack, bool remembers) {
        for (const IValue &output : stack) {
            bool has_tensor = false;
            each_tensor(output, [&](const at::Tensor &tensor) {
                has_tensor = true;
                see(tensor);
                if (remembers)
                    memories_.insert(tensor.unsafeGetTensorImpl());
            });
            if (remembers && !has_tensor && !asks_for_form(name))
                throw ScriptError(name + " makes a number of what forward itself changes: a module with a memory is no graph");
        }
        if (written && overwrites(name))
            memories_.erase(written->unsafeGetTensorImpl());
        else if (written && names_.count(written->unsafeGetTensorImpl()) != 0)
            remember(*written);
    }

    // --- writing ---

    // A module's state that forward changes: what was and will be read of it is what the last call left.
    void remember(const at::Tensor &tensor) {
        memories_.insert(tensor.unsafeGetTensorImpl());
        for (size_t i = 0; i < tensors_.size(); i++)
            if (tensors_[i].name && names_.at(tensor.unsafeGetTensorImpl()) == tensors_[i].name)
                tensors_[i].is_memory = 1;
    }

    void set_attribute(const Node *node) {
        const auto object = get(node->inputs()[0]).toObject();
        const std::string &name = node->s(c10::attr::name);
        const IValue old = object->getAttr(name);
        if (read_.count({object.get(), name}) != 0) {
            if (!old.isTensor())
                throw ScriptError("forward reads the attribute '" + name + "' and then changes it: a module with a memory "
                                  "is no graph");
            if (old.toTensor().defined() && names_.count(old.toTensor().unsafeGetTensorImpl()) != 0)
                remember(old.toTensor());
        }
        object->setAttr(name, get(node->inputs()[1]));
    }

    static const at::Tensor *written_tensor(const c10::FunctionSchema &schema, const std::vector<IValue> &inputs) {
        for (size_t i = 0; i < schema.arguments().size() && i < inputs.size(); i++) {
            const c10::AliasInfo *alias = schema.arguments()[i].alias_info();
            if (alias && alias->isWrite() && inputs[i].isTensor())
                return &inputs[i].toTensor();
        }
        return nullptr;
    }

    // Constants in the memory that is going to be written: those that were written down keep what they had; if computed
    // values come in, all that share it are to be known with what they had.
    void prepare_write(const at::Tensor &written, bool depends) {
        for (const at::Tensor &tensor : sharers_[written.storage().unsafeGetStorageImpl()]) {
            const at::TensorImpl *impl = tensor.unsafeGetTensorImpl();
            if (ids_.count(impl) != 0)
                continue;
            if (depends)
                (void)constant(tensor);
            const auto known = constants_.find(impl);
            if (known == constants_.end())
                continue;
            const at::Tensor copy = tensor.detach().contiguous().clone();
            kept_.push_back(copy);
            tensors_[static_cast<size_t>(known->second)].data = copy.data_ptr();
            if (depends)
                ids_[impl] = known->second; // a value that happens to be constant so far
            constants_.erase(known);
        }
    }

    // `written` is a new tensor from here on, and so are all that have memory in common with it.
    void update_sharers(const Node *node, const at::Tensor &written) {
        const std::vector<at::Tensor> sharers = sharers_[written.storage().unsafeGetStorageImpl()];
        const int32_t source = ids_.at(written.unsafeGetTensorImpl());
        std::unordered_set<const at::TensorImpl *> done = {written.unsafeGetTensorImpl()};
        for (const at::Tensor &tensor : sharers) {
            const auto old = ids_.find(tensor.unsafeGetTensorImpl());
            if (!done.insert(tensor.unsafeGetTensorImpl()).second || old == ids_.end())
                continue;
            const int32_t was = old->second;
            if (are_apart(tensor, written)) {
                if (was >= 0 && tensors_[static_cast<size_t>(was)].data)
                    ids_.erase(old); // still a constant
                continue;
            }
            if (are_same(tensor, written)) {
                record(node, "lg::read_as", {tensor_arg(source)}, {tensor}, "");
            } else if (const auto part = box_of(tensor, written)) {
                record(node, "lg::read_box", {tensor_arg(source), ints_arg(part->starts), ints_arg(part->sizes)}, {tensor}, "");
            } else if (const auto place = was >= 0 ? box_of(written, tensor) : std::nullopt) {
                record(node, "lg::write_box",
                       {tensor_arg(was), tensor_arg(source), ints_arg(place->starts), ints_arg(place->sizes)}, {tensor}, "");
            } else {
                old->second = -1;
            }
        }
    }
};

} // namespace lg

#endif
