// The same from C++: handles in unique_ptr, statuses as exceptions, and a budget that follows a falling share of the
// original's latency. The runtime says what it does.
//
//     switch-cpp STORE
#include <legodnn/legodnn.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void check(lego_status status)
{
    if (status != LEGO_OK)
        throw std::runtime_error(std::string(lego_status_text(status)) + ": " + lego_last_error());
}

struct Free {
    void operator()(lego_context *p) const { lego_context_free(p); }
    void operator()(lego_store *p) const { lego_store_free(p); }
    void operator()(lego_selection *p) const { lego_selection_free(p); }
    void operator()(lego_model *p) const { lego_model_free(p); }
    void operator()(lego_runtime *p) const { lego_runtime_free(p); }
    void operator()(char *p) const { lego_string_free(p); }
};
template <typename T> using Handle = std::unique_ptr<T, Free>;

// Calls a function of the library that creates something, out-parameter first.
template <typename T, typename... Parameters, typename... Arguments>
Handle<T> create(lego_status (*function)(T **, Parameters...), Arguments... arguments)
{
    T *created = nullptr;
    check(function(&created, arguments...));
    return Handle<T>(created);
}

std::size_t count(int n_dims, const std::int64_t *dims)
{
    std::size_t n = 1;
    for (int i = 0; i < n_dims; i++)
        n *= static_cast<std::size_t>(dims[i]);
    return n;
}

void on_event(const lego_event *event, void *payload)
{
    const auto *store = static_cast<const lego_store *>(payload);
    char *text = nullptr;
    if (event->kind != LEGO_EVENT_SWITCHED || lego_selection_format(&text, event->selection, store) != LEGO_OK)
        return;
    Handle<char> owned(text);
    std::printf("  switched to [%s]: %.3f ms and %.1f %% predicted, ready after %.2f ms\n", *text ? text : "all originals",
                event->predicted.latency_ms, 100.0 * event->predicted.accuracy, event->prepare_ms);
}

void run(const char *path)
{
    auto context = create(lego_context_create);
    check(lego_context_set_threads(context.get(), 1));
    auto store = create(lego_store_open, context.get(), path);
    auto originals = create(lego_selection_parse, store.get(), "");
    auto original = create(lego_store_compose, store.get(), originals.get());

    std::int64_t dims[LEGO_MAX_DIMS];
    int n_dims = 0;
    check(lego_model_input_shape(original.get(), 0, &n_dims, dims));
    std::vector<float> input(count(n_dims, dims));
    check(lego_model_output_shape(original.get(), 0, &n_dims, dims));
    std::vector<float> output(count(n_dims, dims));
    const float *inputs[] = {input.data()};
    float *outputs[] = {output.data()};

    lego_runtime_options options = LEGO_RUNTIME_OPTIONS_INIT;
    options.on_event = on_event;
    options.payload = store.get();
    auto runtime = create(lego_runtime_open, context.get(), path, &options);

    lego_runtime_stats stats{};
    check(lego_runtime_get_stats(&stats, runtime.get()));
    for (double share : {1.0, 0.9, 0.8, 0.7}) {
        lego_budget budget = LEGO_BUDGET_INIT;
        budget.latency_ms = share * stats.predicted_ms;
        std::printf("budget %.3f ms\n", budget.latency_ms);
        if (lego_runtime_set_budget(runtime.get(), &budget) != LEGO_OK)
            std::printf("  %s\n", lego_last_error());
        for (int i = 0; i < 30; i++)
            check(lego_runtime_infer(runtime.get(), inputs, outputs));
        check(lego_runtime_adapt(runtime.get(), nullptr));
    }
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: switch-cpp STORE\n");
        return 2;
    }
    try {
        run(argv[1]);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "switch-cpp: %s\n", error.what());
        return 1;
    }
    return 0;
}
