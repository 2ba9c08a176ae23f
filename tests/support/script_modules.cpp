// See the header. libtorch compiles the source, so a test says in TorchScript what it means.
#include "support/script_modules.h"

#include <torch/script.h>

#include <algorithm>
#include <sstream>
#include <string>

namespace {

thread_local std::string message;

template <class Body>
const char *guarded(Body &&body) {
    try {
        at::NoGradGuard no_grad;
        body();
        return nullptr;
    } catch (const std::exception &error) {
        message = error.what();
        return message.c_str();
    }
}

// "8,3,3,3"
at::Tensor random_tensor(const std::string &dims, bool positive) {
    std::vector<int64_t> shape;
    std::istringstream list(dims);
    for (std::string item; std::getline(list, item, ',');)
        shape.push_back(std::stoll(item));
    return positive ? at::rand(shape) + 0.5 : at::randn(shape) * 0.3;
}

void add_parameters(torch::jit::Module &module, const std::string &parameters) {
    std::istringstream list(parameters);
    for (std::string item; list >> item;) {
        at::ScalarType type = at::kFloat;
        for (const auto &[prefix, its_type] : {std::pair("half:", at::kHalf), std::pair("double:", at::kDouble)})
            if (item.rfind(prefix, 0) == 0) {
                type = its_type;
                item.erase(0, std::string(prefix).size());
            }
        const bool positive = item[0] == '+';
        const std::string name = item.substr(positive, item.find(':') - positive);
        const at::Tensor value = random_tensor(item.substr(item.find(':') + 1), positive).to(type);
        const size_t dot = name.find('.');
        if (dot == std::string::npos) {
            module.register_parameter(name, value, false);
            continue;
        }
        const std::string child = name.substr(0, dot);
        if (!module.hasattr(child))
            module.register_module(child, torch::jit::Module(child));
        module.attr(child).toModule().register_parameter(name.substr(dot + 1), value, false);
    }
}

const at::Tensor first_tensor(const c10::IValue &value) {
    if (value.isTensor())
        return value.toTensor();
    if (value.isTuple())
        return first_tensor(value.toTupleRef().elements()[0]);
    if (value.isTensorList())
        return value.toTensorVector().at(0);
    return value.toGenericDict().begin()->value().toTensor();
}

} // namespace

extern "C" const char *script_write(const char *path, const char *source, const char *parameters) {
    return guarded([&] {
        at::manual_seed(5);
        torch::jit::Module module("net");
        module.register_attribute("training", c10::BoolType::get(), true);
        add_parameters(module, parameters);
        module.define(source);
        module.save(path);
    });
}

extern "C" const char *script_run(const char *path, int n_inputs, const script_input *inputs, float *y, int64_t *n_y) {
    return guarded([&] {
        torch::jit::Module module = torch::jit::load(path);
        module.eval();
        std::vector<c10::IValue> values;
        for (int i = 0; i < n_inputs; i++)
            values.emplace_back(at::from_blob(const_cast<float *>(inputs[i].values),
                                              at::IntArrayRef(inputs[i].dims, inputs[i].n_dims)).clone());
        const at::Tensor output = first_tensor(module.forward(values)).contiguous();
        if (output.numel() > *n_y)
            throw std::runtime_error("the output is too large");
        *n_y = output.numel();
        std::copy_n(output.data_ptr<float>(), output.numel(), y);
    });
}
