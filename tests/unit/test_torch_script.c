/* TorchScript files into graphs: what libtorch compiles, saves and computes is computed by the imported graph as well, for
 * another batch than it was recorded with; and what cannot be imported is named completely. */
#include "support/scripts.h"

#include "import/script.h"
#include "support/pt_files.h"

#define CONV "torch.conv2d(x, self.conv.weight, self.conv.bias, [1, 1], [1, 1])"
#define CONV_WEIGHTS "conv.weight:6,3,3,3 conv.bias:6"

static const script_case cases[] = {
    { "conv2d", "return torch.conv2d(x, self.w, None, [2, 1], [1, 2], [2, 1], 2)", "w:4,2,3,3", { 4, 9, 8 }, "conv2d" },
    { "conv2d same", "return torch.conv2d(x, self.w, self.b, [1, 1], 'same', [2, 1])", "w:4,3,4,3 b:4", { 3, 9, 8 },
      "conv2d" },
    { "conv2d valid", "return torch.conv2d(x, self.w, self.b, [2, 2], 'valid')", "w:4,3,4,3 b:4", { 3, 9, 8 }, "conv2d" },
    { "conv_transpose2d", "return torch.conv_transpose2d(x, self.w, self.b, [2, 3], [1, 0], [1, 2], 1, [1, 1])",
      "w:3,4,3,3 b:4", { 3, 5, 4 }, "conv_transpose2d" },
    { "conv1d",
      "y = torch.conv1d(x, self.w, self.b, [2], [1], [2], 1)\n    z = torch.conv1d(y, self.u, None, 1, 'same', 1, 4)\n"
      "    return torch.conv_transpose1d(torch.relu(y + z), self.w, None, [2], [1], [1], 1, [2])",
      "w:4,3,3 b:4 u:4,1,4", { 3, 17 }, "conv2d conv_transpose2d relu add reshape" },
    { "one axis",
      "y = torch.max_pool1d(x, 3, 2, 1, 1, True) + torch.avg_pool1d(x, [3], [2], [1], True, False)\n"
      "    z, indices = torch.adaptive_max_pool1d(y, 3)\n    z = torch.upsample_linear1d(z, [6], True) * 2.0\n"
      "    return torch.constant_pad_nd(torch.upsample_nearest1d(z + torch.adaptive_avg_pool1d(y, [6]), [12]), [3, 0], 1.5)",
      "", { 4, 13 }, "max_pool avg_pool adaptive_max_pool adaptive_avg_pool upsample pad reshape" },
    { "conv3d",
      "y = torch.conv3d(x, self.w, self.b, [2, 1, 1], [1, 0, 2], [1, 2, 1], 2)\n"
      "    z = torch.conv3d(y, self.u, None, 1, 'same', 1)\n"
      "    y = torch.batch_norm(y + z, self.g, self.b, self.m, self.v, False, 0.1, 1e-3, True)\n"
      "    return torch.conv_transpose3d(y, self.w, None, [1, 2, 1], [0, 1, 1], [0, 1, 0], 2)",
      "w:4,2,3,2,3 b:4 u:4,4,2,3,1 g:4 m:4 +v:4", { 4, 6, 5, 7 }, "conv3d conv_transpose3d batch_norm add" },
    { "three axes",
      "y = torch.max_pool3d(x, [1, 3, 2], [1, 2, 2], [0, 1, 0], 1, True) + torch.avg_pool3d(x, [1, 3, 2], [1, 2, 2], [0, 1, 0], "
      "True, False)\n"
      "    z, indices = torch.adaptive_max_pool3d(y, [2, 3, 1])\n"
      "    z = torch.upsample_trilinear3d(z, [4, 4, 4], False) + torch.upsample_nearest3d(z, None, [2.0, 1.0, 4.0])[:, :, :, :1]\n"
      "    return torch.constant_pad_nd(z * torch.adaptive_avg_pool3d(y, 1), [0, 1, 2, 0, 1, 1], 0.25).mean([2, 3, 4])",
      "", { 3, 5, 7, 6 }, "max_pool3d avg_pool3d adaptive_max_pool3d adaptive_avg_pool3d upsample3d pad3d mean" },
    { "linear", "return torch.linear(x, self.w, self.b)", "w:5,7 b:5", { 7 }, "linear" },
    { "addmm", "return torch.addmm(self.b, x, self.w.t())", "w:5,7 b:5", { 7 }, "linear" },
    { "matmul", "y = torch.matmul(x, self.w)\n    return torch.matmul(y, x.transpose(1, 2))", "w:6,6", { 4, 6 },
      "linear matmul permute" },
    { "batch_norm", "return torch.batch_norm(" CONV ", self.g, self.b, self.m, self.v, False, 0.1, 1e-3, True)",
      CONV_WEIGHTS " g:6 b:6 m:6 +v:6", { 3, 6, 6 }, "batch_norm" },
    { "layer_norm", "return torch.layer_norm(x, [5, 6], self.g, self.b, 1e-4)", "g:5,6 b:5,6", { 4, 5, 6 },
      "layer_norm" },
    { "group_norm", "return torch.group_norm(x, 2, self.g, self.b, 1e-4)", "g:4 b:4", { 4, 5, 6 }, "group_norm" },
    { "instance_norm", "return torch.instance_norm(x, self.g, self.b, None, None, True, 0.1, 1e-4, True)", "g:4 b:4",
      { 4, 5, 6 }, "group_norm" },
    { "activations",
      "y = torch.sigmoid(x) + torch.tanh(x) + torch.hardsigmoid(x) + torch.hardswish(x)\n"
      "    y = y + torch.silu(x) + torch.gelu(x) + torch.leaky_relu(x, 0.2)\n"
      "    y = y + torch.gelu(x, approximate='tanh') + torch.relu6(3.0 * x)\n"
      "    y = y + torch.hardtanh(x, -0.5, 0.25) + torch.clamp(x, max=0.3) + torch.prelu(x, self.p)\n"
      "    return torch.softmax(y, -1) + torch.relu(y)",
      "p:4", { 4, 5 }, "sigmoid tanh hard_sigmoid hard_swish silu gelu leaky_relu clip prelu softmax relu" },
    { "more activations",
      "y = torch.elu(x, 0.7) + torch.selu(x) + torch.celu(x, 0.5) + torch.softplus(x) + torch.softplus(x, 3.0)\n"
      "    y = y + torch.mish(x) + torch.log_sigmoid(x) + torch.hardshrink(x, 0.2) + torch.softshrink(x, 0.3)\n"
      "    return torch.log_softmax(torch.threshold(y, 0.1, 0.0), 1)",
      "", { 4, 5 }, "elu softplus mish log_sigmoid shrink thresholded_relu log_softmax" },
    { "functions",
      "y = torch.tanh(x) * 0.9\n    z = torch.acos(y) + torch.asin(y) + torch.atanh(y) + torch.atan(x) + torch.asinh(x)\n"
      "    z = z + torch.acosh(torch.abs(x) + 1.5) + torch.sin(x) + torch.cos(x) + torch.tan(y) + torch.sinh(y) + torch.cosh(y)\n"
      "    z = z + torch.exp(y) + torch.log(z * z + 1.0) + torch.sqrt(torch.abs(x) + 0.1) + torch.rsqrt(x * x + 0.5)\n"
      "    z = z + torch.reciprocal(y + 2.0) + torch.erf(x) + torch.pow(torch.abs(x) + 0.1, 1.5)\n"
      "    return z + torch.sign(x) + torch.floor(x) + torch.ceil(x) * torch.round(x)",
      "", { 4, 5 }, "acos asin atanh atan asinh acosh sin cos tan sinh cosh exp log sqrt reciprocal erf pow sign floor" },
    { "extremes over axes",
      "y = torch.amax(x, [1, 3], True) + torch.amin(x, [2, 3]).unsqueeze(-1).unsqueeze(-1)\n"
      "    return y * torch.max(x, 1, True)[0] - torch.min(x, -1)[0].unsqueeze(3)",
      "", { 4, 5, 6 }, "adaptive_max_pool" },
    { "paddings",
      "y = torch.reflection_pad2d(x, [2, 1, 1, 3]) + torch.replication_pad2d(x, [0, 3, 2, 2])\n"
      "    return y * torch.reflection_pad2d(x, [3, 0, 4, 0])", "", { 3, 5, 6 }, "slice concat" },
    { "minimum and maximum", "return torch.minimum(torch.max(x, self.c), torch.maximum(x * 0.5, x))", "c:1,5", { 4, 5 },
      "min max" },
    { "arithmetic",
      "y = torch.add(x, self.c, alpha=0.5) - torch.sub(x, 2.0, alpha=3) * self.d + (1.0 - x) / 4.0\n"
      "    return -y / self.e + torch.pow(x, 2) - torch.square(y)",
      "c:4,1,1 d:1,4,5,6 +e:6", { 4, 5, 6 }, "add sub mul div constant" },
    { "pools",
      "y = torch.max_pool2d(x, [3, 3], [2, 2], [1, 1], [1, 1], True)\n"
      "    z = torch.avg_pool2d(x, [3, 3], [2, 2], [1, 1], True, False)\n"
      "    return (y + z)[:, :, 1:, 1:] + torch.avg_pool2d(x, 2, 2, 0, True)",
      "", { 3, 8, 8 }, "max_pool avg_pool" },
    { "global pools",
      "m, indices = torch.adaptive_max_pool2d(x, [1, 1])\n"
      "    y = torch.adaptive_avg_pool2d(x, [1, 1]) + m\n    return torch.flatten(y, 1) + torch.mean(x, [2, 3])",
      "", { 3, 7, 5 }, "adaptive_avg_pool adaptive_max_pool flatten mean" },
    { "resizing",
      "y = torch.upsample_nearest2d(x, None, [2.0, 2.0])\n"
      "    z = torch.upsample_bilinear2d(x, [10, 12], False)\n"
      "    u = torch.upsample_bilinear2d(x, y.shape[2:], True)\n"
      "    return torch.pad(torch.constant_pad_nd(y + z * u, [0, 1], 2.0), [1, 1, 0, 3], value=0.5)",
      "", { 2, 5, 6 }, "upsample pad" },
    { "views",
      "y = x.view(x.size(0), -1).reshape([x.shape[0], 4, 30]).unsqueeze(2).squeeze(2)\n"
      "    return y.permute([0, 2, 1]).contiguous().view(-1, 5, 24)",
      "", { 4, 5, 6 }, "reshape permute" },
    { "channel shuffle and pixel shuffle",
      "b, c, h, w = x.shape\n"
      "    y = x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)\n"
      "    return torch.pixel_shuffle(torch.channel_shuffle(y, 4), 2)",
      "", { 8, 3, 4 }, "reshape permute" },
    { "cutting and joining",
      "a, b = torch.chunk(x, 2, 1)\n"
      "    c, d, e = torch.split(x, [1, 2, 3], 1)\n"
      "    f = torch.stack([x[:, 0], x.select(1, 3)], 1)\n"
      "    g = torch.unbind(x[:, 1:3, :, -2:], 3)\n"
      "    return torch.cat([a * b, c, d, e, f, torch.relu(a)], 1) + torch.mean(torch.stack([g[1], g[0]], 3), [1, 2, 3], True)",
      "", { 6, 4, 5 }, "split slice concat reshape" },
    { "in steps", "return torch.cat([x[:, :, 1::3], x[:, :, :7:3]], 2)[:, ::2]", "", { 5, 8 }, "slice concat" },
    { "in place",
      "y = " CONV "\n    z = torch.relu_(y)\n    y.add_(0.5)\n    y *= 2.0\n    return y + z", CONV_WEIGHTS, { 3, 5, 5 },
      "relu add mul" },
    { "more pools",
      "y = torch.avg_pool2d(x, [2, 3], [1, 2], [0, 1], False, True, 5)\n"
      "    return torch.avg_pool2d(y, [2, 2], [2, 2], [0, 0], False, False, 3)",
      "", { 3, 8, 8 }, "avg_pool mul" },
    { "instance_norm with running statistics",
      "return torch.instance_norm(x, self.g, self.b, self.m, self.v, False, 0.1, 1e-4, True)", "g:4 b:4 m:4 +v:4",
      { 4, 5, 6 }, "batch_norm" },
    { "pads of any axes",
      "y = torch.pad(x[:, :, ::1], [0, 0, 0, 0, 2, 1])\n    y = torch.pad(y, [1, -1, -2, 0, 0, 1], value=0.5)\n"
      "    return torch.pad(torch.flatten(y, 2), [2, 1], value=-1.0)",
      "", { 3, 5, 6 }, "pad concat slice" },
    { "expanding and repeating",
      "y = torch.mean(x, [2, 3], True)\n    y = y.expand_as(x) * x + y.expand(-1, -1, 5, 6)\n"
      "    return y.repeat(1, 2, 1, 3) + torch.mean(x, [1], True).repeat(1, 8, 1, 3)",
      "", { 4, 5, 6 }, "add concat" },
    { "constants in the form of a value",
      "y = torch.cat([x, torch.zeros_like(x), torch.full_like(x, 2), x.new_ones([x.size(0), 1, 5, 6])], 1)\n"
      "    return y * self.n.type_as(x) + self.c.expand_as(y).to(x)",
      "n:1 c:13,1,1", { 4, 5, 6 }, "concat mul add" },
    { "numbers that are tensors",
      "y = torch.clamp(x, self.a, self.b) + torch.pow(x, torch.tensor(2))\n"
      "    return y * torch.tensor([1, 2, 3]).view(3, 1, 1) + torch.clamp_min(x, 0.1) - torch.clamp_max(x, 0.2)",
      "a:1 +b:1", { 3, 5, 6 }, "clip mul" },
    { "sums", "return torch.sum(x, [2, 3]) + torch.sum(x, [-1], True).sum([3, 2])", "", { 3, 5, 6 }, "mean mul" },
    { "pixel_unshuffle and glu", "return torch.glu(torch.pixel_unshuffle(x, 2), 1)", "", { 3, 4, 6 },
      "reshape permute sigmoid mul" },
    { "resizing by scales with aligned corners", "return torch.upsample_bilinear2d(x, None, True, [1.7, 1.3])", "",
      { 2, 5, 6 }, "upsample" },
    { "shapes decide",
      "h = x.size(2)\n    y = x\n    while y.size(2) > 2:\n        y = torch.max_pool2d(y, 2)\n"
      "    if h % 2 == 1 and x.size(3) > 3:\n        y = torch.relu(y)\n    elif h > 100:\n        y = torch.sigmoid(y)\n"
      "    sizes = [s * 2 for s in x.shape[2:]]\n    return torch.upsample_nearest2d(y, sizes)",
      "", { 3, 9, 8 }, "max_pool relu upsample" },
    { "dropout and casts",
      "y = torch.dropout(x, 0.5, self.training)\n    return torch.relu(y.to(6)).clone().detach()", "",
      { 3, 4 }, "relu" },
    { "branches and loops",
      "y = x\n    ys = [x]\n    for i in range(3):\n        if i % 2 == 0 and x.dim() == 4:\n            y = " CONV "[:, :3] + y\n"
      "        else:\n            y = torch.relu(y)\n        ys.append(y)\n    assert len(ys) == 4\n"
      "    return {'out': torch.cat(ys, 1), 'last': y}",
      CONV_WEIGHTS, { 3, 5, 5 }, "conv2d relu concat" },
    { "dictionaries",
      "d = dict([('a', x)])\n    d['b'] = torch.relu(x)\n    for key in d.keys():\n        d[key] = d[key] + 1.0\n"
      "    return d['a'] * d['b']",
      "", { 3, 4 }, "relu add mul" },
    { "attention with the batch beside the heads",
      "l, n = x.size(1), x.size(0)\n    q, k, v = torch.linear(x.transpose(0, 1), self.w, self.b).chunk(3, -1)\n"
      "    q = q.contiguous().view(l, n * 2, 4).transpose(0, 1) * 0.5\n    k = k.reshape(l, n * 2, 4).transpose(0, 1)\n"
      "    v = v.reshape(l, n * 2, 4).transpose(0, 1)\n"
      "    y = torch.bmm(torch.softmax(torch.bmm(q, k.transpose(1, 2)) + self.m, -1), v)\n"
      "    y = torch.addmm(self.c, y.transpose(0, 1).reshape(l * n, 8), self.p)\n    return x + y.view(l, n, 8).transpose(1, 0)",
      "w:24,8 b:24 m:5,5 p:8,8 c:8", { 5, 8 }, "linear softmax matmul permute" },
    { "attention as one operator",
      "y = torch._native_multi_head_attention(x, x, x, 8, 2, self.w, self.b, self.p, self.c, None, False)[0]\n"
      "    return x + y",
      "w:24,8 b:24 p:8,8 c:8", { 5, 8 }, "linear softmax matmul permute" },
    { "attention that looks back",
      "q = torch.linear(x, self.w).view(-1, 5, 2, 4).transpose(1, 2)\n"
      "    y = torch._scaled_dot_product_attention(q, q * 0.5, torch.relu(q), None, 0.0, False, True)[0]\n"
      "    z = torch._scaled_dot_product_attention(y, q, q, self.m)[0]\n    return z.transpose(1, 2).flatten(2)",
      "w:8,8 m:5,5", { 5, 8 }, "softmax matmul permute" },
    { "shifted windows",
      "n, c = x.size(0), x.size(3)\n    y = torch.roll(x, [-1, 1], [1, 2]).flip([2])\n"
      "    y = y.view(n, 2, 2, 3, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n * 6, 4, c)\n"
      "    a = torch.matmul(y, torch.linear(y, self.w).transpose(1, 2))\n"
      "    a = torch.softmax((a.view(n, 6, 4, 4) + self.m).view(-1, 4, 4), 2)\n"
      "    y = torch.layer_norm(torch.matmul(a, y), [c], self.g, self.b, 1e-5)\n"
      "    y = y.view(n, 2, 3, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n, 4, 6, c)\n"
      "    return torch.cat([y[:, 0::2, 1::2], y[:, 1::2, 0::2]], -1)",
      "w:3,3 m:6,4,4 g:3 b:3", { 4, 6, 3 }, "slice concat matmul softmax layer_norm" },
    { "products that broadcast",
      "y = x.unsqueeze(1)\n    return torch.matmul(torch.matmul(self.w, y), self.u)",
      "w:3,2,4 u:3,5,6", { 4, 5 }, "matmul add" },
    { "tuples", "a = torch.relu(x)\n    t = (a, x)\n    u, v = t\n    return (u * v, u)", "", { 3, 4 }, "relu mul" },
};

static void test_script__computes_what_torch_computes(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_case(state, &cases[i]);
}

static void test_script__names_are_those_of_the_modules(void **state)
{
    const char *path = in_folder(state, "m.pt");
    lego_model *model;

    write_module(path, "return torch.relu(" CONV " + torch.conv2d(x, self.conv.weight, None, [1, 1], [1, 1]))",
                 CONV_WEIGHTS);
    assert_ok(import_shape(&model, path, 4, (int64_t[]){ 1, 3, 6, 6 }));
    assert_int_equal(model->graph->n_weights, 2); /* shared by both convolutions */
    assert_true(lg_graph_find_weight(model->graph, "conv.weight") != LG_NONE);
    assert_true(lg_graph_find_weight(model->graph, "conv.bias") != LG_NONE);
    assert_true(lg_graph_find_node(model->graph, "conv") != LG_NONE);
    assert_true(lg_graph_find_node(model->graph, "conv_2") != LG_NONE);
    lego_model_free(model);
}

static void refuse(void **state, const char *body, const char *parameters, const char *const *says)
{
    const char *path = in_folder(state, "m.pt");
    lego_model *model;

    write_module(path, body, parameters);
    assert_fails(LEGO_EUNSUPPORTED, import_shape(&model, path, 4, (int64_t[]){ 1, 3, 6, 6 }));
    assert_null(model);
    assert_says("m.pt");
    for (; *says; says++)
        assert_says(*says);
}
#define REFUSE(body, parameters, ...) refuse(state, body, parameters, (const char *const[]){ __VA_ARGS__, NULL })

static void test_script__all_that_cannot_be_imported_is_named(void **state)
{
    REFUSE("y = torch.erfinv(x)\n    return torch.relu(torch.cumsum(x, 1)) + torch.lgamma(y)", "", "3 operations",
           "'erfinv' (aten::erfinv): this operator is unknown", "'cumsum' (aten::cumsum)",
           "'lgamma' (aten::lgamma)");
    REFUSE("return x.permute(1, 0, 2, 3)", "", "the batch is not the first axis of output 0");
    REFUSE("return torch.softmax(x, 0)", "", "along axis 0, which holds the batch");
    REFUSE("return x.view(-1, 6)", "", "the batch is not the first axis of output 0");
    REFUSE("return x.permute(1, 0, 2, 3).reshape(2, -1)", "", "the batch would be torn apart");
    REFUSE("return torch.matmul(x.transpose(0, 2), x.transpose(0, 3))", "", "the batch is on different axes");
    REFUSE("return torch.matmul(x.transpose(0, 3), self.w)", "w:2,2", "along the axis that holds the batch");
    REFUSE("return x.unsqueeze(0) + x.unsqueeze(1)", "", "the batch is on different axes");
    REFUSE("return torch.cat([x, x], 0)", "", "along axis 0, which holds the batch");
    REFUSE("if bool(x.sum() > 0):\n        x = -x\n    return x", "", "what depends on the data cannot be a graph");
    REFUSE("return torch.dropout(x, 0.5, True)", "", "drops at random");
    REFUSE("return torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-3, True)", "",
           "the batch's own statistics");
    REFUSE("torch.save(x, 'stolen')\n    return x", "", "aten::save");
    REFUSE("assert x.size(1) == 4, 'four channels'\n    return x", "", "raises an exception", "four channels");
    REFUSE("assert x.size(1) == 4, 'not {} channels'.format(x.size(1))\n    return x", "", "not 3 channels");
    REFUSE("return self.w", "w:3", "does not depend on the input");
    REFUSE("while True:\n        pass\n    return x", "", "steps");
    REFUSE("return x + torch.arange(x.size(0)).view(-1, 1, 1, 1)", "", "constant");
}

static void test_script__files_that_are_no_modules(void **state)
{
    const char *path = in_folder(state, "m.pt");
    static char zeros[(64 << 20) + 1];
    const int64_t dims[4] = { 1, 3, 6, 6 };
    lego_model *model;
    char *data;
    size_t size;

    write_module(path, "return " CONV, CONV_WEIGHTS);
    assert_fails(LEGO_EINVAL, lego_model_import(&model, NULL, path, NULL));
    assert_says("--input");
    assert_fails(LEGO_EBACKEND, import_shape(&model, path, 4, (int64_t[]){ 1, 4, 6, 6 }));
    assert_says("channels");
    assert_ok(lg_file_read(&data, &size, path, 1 << 20));
    for (size_t length = 4; length < size; length += size / 9) {
        write_file(*state, "m.pt", data, length);
        assert_true(import_shape(&model, in_folder(state, "m.pt"), 4, dims) != LEGO_OK);
    }
    for (size_t at = 30; at < size; at += size / 100) { /* an error or a model, never a crash */
        data[at] = (char)(data[at] ^ 16);
        write_file(*state, "m.pt", data, size);
        data[at] = (char)(data[at] ^ 16);
        if (import_shape(&model, in_folder(state, "m.pt"), 4, dims) == LEGO_OK)
            lego_model_free(model);
    }
    lg_free(data);
    path = in_folder(state, "m.pt");
    write_zip(path, 1, &(pt_entry){ "net/data.pkl", "}.", 2, 0 });
    assert_fails(LEGO_EUNSUPPORTED, import_shape(&model, path, 4, dims));
    assert_says("legodnn weights");
    write_zip(path, 2, (pt_entry[]){ { "net/constants.pkl", ").", 2, 0 }, { "net/code/a", zeros, sizeof(zeros), 1 } });
    assert_fails(LEGO_EFORMAT, import_shape(&model, path, 4, dims));
    assert_says("'net/code/a' unpacks to 67108865 bytes");
}

static void test_script__survives_allocation_failures(void **state)
{
    const char *path = in_folder(state, "m.pt");
    const lg_script_sample shape = { NULL, 4, 0, { 1, 3, 6, 6 } };
    const lg_torch_api *api;
    const lg_script *script;
    lg_graph *graph;

    write_module(path, "y = torch.relu(" CONV ") * 2.0\n    a, b = torch.chunk(y, 2, 1)\n    return torch.cat([b, a], 1)",
                 CONV_WEIGHTS);
    assert_ok(lg_torch_open(&api, NULL, "cpu"));
    assert_ok(lg_torch_check(api, api->script_record(&script, path, 2, 1, &shape), path));
    assert_survives_oom(lg_script_convert(&graph, NULL, path, script), lg_graph_free(graph));
    api->script_free(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_script__computes_what_torch_computes),
        folder_test(test_script__names_are_those_of_the_modules),
        folder_test(test_script__all_that_cannot_be_imported_is_named),
        folder_test(test_script__files_that_are_no_modules),
        folder_test(test_script__survives_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
