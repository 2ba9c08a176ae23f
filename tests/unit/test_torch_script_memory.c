/* TorchScript modules that write to memory: values changed through views of them, buffers that forward fills, state that it
 * keeps, and modules of other widths than float32. */
#include "support/scripts.h"

static const script_case cases[] = {
    { "a channel changed through a view", "y = x[:, 0]\n    y.relu_()\n    return x", "", { 3, 5, 6 }, "relu slice concat" },
    { "a view read after its base was changed",
      "a = x + 0.5\n    v = a[:, 1:3]\n    w = a.view(x.size(0), -1)\n    a.relu_()\n    return torch.cat([torch.flatten(v, 1), w], 1)",
      "", { 4, 3, 5 }, "relu slice" },
    { "boxes in boxes",
      "a = x * 1.0\n    b = a[:, 1:]\n    c = b[:, :, 2, 1:4]\n    c.mul_(3.0)\n    return torch.cat([torch.flatten(a, 1), torch.flatten(b, 1), torch.flatten(c, 1)], 1)",
      "", { 3, 4, 5 }, NULL },
    { "channels assigned, as decoders do",
      "y = torch.sigmoid(x)\n    y[:, 0:2] = (y[:, 0:2] * 2.0 - 0.5 + self.grid) * 8.0\n    y[:, 2:4] = (y[:, 2:4] * 2.0) ** 2\n"
      "    return y",
      "grid:2,5,6", { 5, 5, 6 }, "sigmoid slice concat" },
    { "a buffer filled piece by piece",
      "out = torch.zeros([x.size(0), 5, 6, 6])\n    out[:, 0] = x[:, 1]\n    out[:, 1:4] = torch.relu(x)\n    out[:, 4, 1:5, 2:4] = 2.0\n"
      "    return out",
      "", { 3, 6, 6 }, "concat constant" },
    { "a temporal shift, as TSM does it in two dimensions",
      "out = torch.zeros_like(x)\n    out[:, :1, :-1] = x[:, :1, 1:]\n    out[:, 1:2, 1:] = x[:, 1:2, :-1]\n    out[:, 2:] = x[:, 2:]\n"
      "    return out",
      "", { 4, 5, 6 }, "slice concat" },
    { "through a transposed view", "y = x * 1.0\n    y.transpose(1, 2)[:, 1].relu_()\n    return y.transpose(2, 3)", "", { 3, 5, 6 },
      "relu concat" },
    { "filled, zeroed and copied",
      "a = x + 1.0\n    a[:, 0].zero_()\n    a[:, 1].fill_(0.25)\n    a[:, 2].copy_(x[:, 0])\n    return a", "", { 4, 3, 5 }, "concat" },
    { "a counter that nobody reads", "self.n.add_(1.0)\n    return torch.relu(x)", "n:1", { 3, 5 }, "relu" },
    { "a scratch buffer that is overwritten first", "self.n.fill_(2.0)\n    return x * self.n", "n:1", { 3, 5 }, "mul" },
};

static void test_script_memory__writes_are_values_of_the_graph(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_case(state, &cases[i]);
}

static void refuse(void **state, const char *body, const char *parameters, const char *says)
{
    const char *path = in_folder(state, "m.pt");
    lego_model *model;

    write_module(path, body, parameters);
    if (import_shape(&model, path, 4, (int64_t[]){ 1, 3, 6, 6 }) != LEGO_EUNSUPPORTED)
        fail_msg("%s\n%s", body, lego_last_error());
    assert_says(says);
}

static void test_script_memory__state_and_what_has_no_box_is_refused(void **state)
{
    refuse(state, "y = x * self.n\n    self.n.add_(1.0)\n    return y", "n:1", "it reads 'n', which forward itself changes");
    refuse(state, "self.n.add_(1.0)\n    return x * self.n", "n:1", "it reads 'n', which forward itself changes");
    refuse(state, "self.n.add_(1.0)\n    return x * (self.n * 2.0)", "n:1", "which forward itself changes");
    refuse(state, "self.n.add_(1.0)\n    return x * float(self.n.item())", "n:1", "a module with a memory is no graph");
    refuse(state, "y = x * self.n\n    self.n = self.n + 1.0\n    return y", "n:1", "it reads 'n', which forward itself changes");
    refuse(state, "y = x * 1.0\n    y[:, ::2].relu_()\n    return y", "", "changed in place through a view");
    refuse(state, "y = x * 1.0\n    y[0].relu_()\n    return y", "", "it works along axis 0, which holds the batch");
    refuse(state, "y = x * 1.0\n    torch.flatten(y, 2)[:, :, 3:20].relu_()\n    return y", "", "changed in place through a view");
    refuse(state, "return x.to(3).to(6)", "", "it gives I32; graphs compute with float32");
    refuse(state, "y, i = torch.max_pool2d_with_indices(x, [2, 2])\n    return y + i", "", "its indices are used");
    refuse(state, "return torch.avg_pool2d(x, [4, 4], [3, 3], [0, 0], True, False, 3)", "", "windows over the edge");
}

static void test_script_memory__other_widths_become_float32(void **state)
{
    const char *path = in_folder(state, "m.pt");
    float want[512];
    const int64_t dims[4] = { SCRIPT_SAMPLES, 3, 4, 4 };
    int64_t n_want = 512;
    float *x = random_values(SCRIPT_SAMPLES * 48, 5), *y;
    lego_model *model;

    write_module(path, "return torch.conv2d(x.to(self.w.dtype), self.w, self.b).to(6)", "double:w:2,3,3,3 double:b:2");
    assert_null(script_run(path, 1, &(script_input){ 4, dims, x }, want, &n_want));
    assert_ok(import_shape(&model, path, 4, dims));
    y = run_exact(model->graph, x, SCRIPT_SAMPLES);
    for (int64_t i = 0; i < n_want; i++)
        assert_true(close_to(y[i], want[i]));
    lego_model_free(model);
    lg_free(y);
    lg_free(x);
    /* half precision, which no CPU of libtorch 1.13 convolves: what counts is that it is imported, with its names */
    write_module(path, "return torch.relu(torch.conv2d(x.half(), self.w, self.b) + torch.zeros([1], dtype=5))",
                 "half:w:2,3,3,3 half:b:2");
    assert_ok(import_shape(&model, path, 4, dims));
    assert_true(lg_graph_find_weight(model->graph, "w") != LG_NONE);
    assert_int_equal(model->graph->weights[0].tensor.dtype, LEGO_DTYPE_F32);
    lego_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_script_memory__writes_are_values_of_the_graph),
        folder_test(test_script_memory__state_and_what_has_no_box_is_refused),
        folder_test(test_script_memory__other_widths_become_float32),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
