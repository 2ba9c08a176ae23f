/* graph/ops: shapes inferred against a count by hand or brute force, what each op refuses, attributes in JSON, costs. */
#include "support/volumes.h"

#include <float.h>

#include "graph/ops/common.h"

/* How many windows a kernel finds, by sliding it: the oracle of the size formula. */
static int64_t slide(int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t before, int64_t after,
                     int ceil_mode)
{
    int64_t n = 0;

    for (int64_t start = -before;; start += stride) {
        const int64_t last = start + dilation * (kernel - 1);
        if (last >= in + after && !(ceil_mode && start < in && n > 0 && last - stride < in + after - 1))
            break;
        n++;
    }
    return n;
}

static void test_ops__conv_shape_equals_sliding(void **state)
{
    for (uint64_t seed = 0; seed < 400; seed++) {
        maker m;
        lg_attrs attrs = { 0 };
        int64_t kernel[2];
        int32_t x, y, weights[2] = { LG_NONE, LG_NONE };

        maker_start(&m, seed);
        x = make_input(&m, 4, pick(&m, 1, 12), pick(&m, 1, 12));
        for (int i = 0; i < 2; i++) {
            kernel[i] = pick(&m, 1, 4);
            attrs.conv.stride[i] = pick(&m, 1, 3);
            attrs.conv.dilation[i] = pick(&m, 1, 3);
            attrs.conv.pads[i] = pick(&m, 0, 3);
            attrs.conv.pads[2 + i] = pick(&m, 0, 3);
        }
        attrs.conv.groups = pick(&m, 1, 2) * 2;
        weights[0] = make_weight(&m, "c", "weight", 4, (int64_t[]){ 8, 4 / attrs.conv.groups, kernel[0], kernel[1] },
                                 0);
        int64_t want[2];
        for (int i = 0; i < 2; i++)
            want[i] = slide(extent_of(&m, x, 2 + i), kernel[i], attrs.conv.stride[i], attrs.conv.dilation[i],
                            attrs.conv.pads[i], attrs.conv.pads[2 + i], 0);
        if (want[0] == 0 || want[1] == 0) {
            assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "conv2d", "c", &attrs, 1, &x, 2, weights));
            assert_says("does not fit");
        } else {
            assert_ok(lg_graph_add_node(&y, m.graph, "conv2d", "c", &attrs, 1, &x, 2, weights));
            assert_int_equal(extent_of(&m, y, 1), 8);
            assert_int_equal(extent_of(&m, y, 2), want[0]);
            assert_int_equal(extent_of(&m, y, 3), want[1]);
            assert_int_equal(lg_graph_macs(m.graph), 8 * want[0] * want[1] * (4 / attrs.conv.groups) * kernel[0] *
                                                         kernel[1]);
        }
        lg_graph_free(m.graph);
    }
}

static void test_ops__conv_refuses_what_does_not_fit(void **state)
{
    static const struct {
        lg_conv_attrs conv;
        int64_t weight[4];
        const char *says;
    } bad[] = {
        { { { 1, 1 }, { 1, 1 }, { 0 }, 3 }, { 6, 1, 3, 3 }, "groups=3" },
        { { { 1, 1 }, { 1, 1 }, { 0 }, 2 }, { 5, 2, 3, 3 }, "groups=2" },
        { { { 1, 1 }, { 1, 1 }, { 0 }, 0 }, { 6, 4, 3, 3 }, "groups 0" },
        { { { 1, 1 }, { 1, 1 }, { 0 }, 1 }, { 6, 3, 3, 3 }, "(6,4,3,3) is needed" },
        { { { 0, 1 }, { 1, 1 }, { 0 }, 1 }, { 6, 4, 3, 3 }, "stride 0" },
        { { { 1, INT64_MAX }, { 1, 1 }, { 0 }, 1 }, { 6, 4, 3, 3 }, "stride" },
        { { { 1, 1 }, { 1, INT64_MAX }, { 0 }, 1 }, { 6, 4, 3, 3 }, "dilation" },
        { { { 1, 1 }, { 1, INT32_MAX }, { 0 }, 1 }, { 6, 4, 3, 3 }, "does not fit" },
        { { { 1, 1 }, { 1, 1 }, { 0, 0, INT64_MAX, 0 }, 1 }, { 6, 4, 3, 3 }, "pads" },
        { { { 1, 1 }, { 1, 1 }, { 0 }, 1 }, { 6, 4, 9, 3 }, "does not fit" },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const lg_attrs attrs = { .conv = bad[i].conv };
        maker m;
        int32_t x, y, weights[2] = { LG_NONE, LG_NONE };

        maker_start(&m, 1);
        x = make_input(&m, 4, 8, 8);
        weights[0] = make_weight(&m, "c", "weight", 4, bad[i].weight, 0);
        assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "conv2d", "conv", &attrs, 1, &x, 2, weights));
        assert_says("'conv'");
        assert_says(bad[i].says);
        lg_graph_free(m.graph);
    }
}

static void test_ops__pool_shape_equals_sliding(void **state)
{
    for (uint64_t seed = 0; seed < 600; seed++) {
        maker m;
        lg_attrs attrs = { 0 };
        int32_t x, y;
        int fits = 1;
        int64_t want[2];

        maker_start(&m, seed);
        const char *op = pick(&m, 0, 1) ? "max_pool" : "avg_pool";
        x = make_input(&m, 3, pick(&m, 1, 12), pick(&m, 1, 12));
        attrs.pool.ceil_mode = (int32_t)pick(&m, 0, 1);
        attrs.pool.count_include_pad = (int32_t)pick(&m, 0, 1);
        for (int i = 0; i < 2; i++) {
            attrs.pool.kernel[i] = pick(&m, 1, 4);
            attrs.pool.stride[i] = pick(&m, 1, 4);
            attrs.pool.dilation[i] = op[0] == 'm' ? pick(&m, 1, 2) : 1;
            attrs.pool.pads[i] = pick(&m, 0, attrs.pool.kernel[i] - 1);
            attrs.pool.pads[2 + i] = pick(&m, 0, attrs.pool.kernel[i] - 1);
            want[i] = slide(extent_of(&m, x, 2 + i), attrs.pool.kernel[i], attrs.pool.stride[i],
                            attrs.pool.dilation[i], attrs.pool.pads[i], attrs.pool.pads[2 + i], attrs.pool.ceil_mode);
            fits &= want[i] > 0;
        }
        if (fits) {
            assert_ok(lg_graph_add_node(&y, m.graph, op, "p", &attrs, 1, &x, 0, NULL));
            assert_int_equal(extent_of(&m, y, 2), want[0]);
            assert_int_equal(extent_of(&m, y, 3), want[1]);
        } else {
            assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, op, "p", &attrs, 1, &x, 0, NULL));
        }
        lg_graph_free(m.graph);
    }
}

/* Shape of the only output of `op` over one input (N,c,h,w), as text. */
static const char *shape_of(char text[128], const char *op, const lg_attrs *attrs, int64_t c, int64_t h, int64_t w)
{
    maker m;

    maker_start(&m, 1);
    const int32_t y = make_unary(&m, make_input(&m, c, h, w), op, attrs);
    lg_shape_format(text, &m.graph->values[y].shape);
    lg_graph_free(m.graph);
    return text;
}

static void test_ops__shapes_of_the_wider_set(void **state)
{
    char text[128];

    assert_string_equal(shape_of(text, "reshape", &(lg_attrs){ .reshape = { { 2, { -1, 6 } } } }, 4, 3, 3), "(N,6,6)");
    assert_string_equal(shape_of(text, "reshape", &(lg_attrs){ .reshape = { { 1, { -1 } } } }, 4, 3, 3), "(N,36)");
    assert_string_equal(shape_of(text, "reshape", &(lg_attrs){ .reshape = { { 5, { 2, 2, 3, 1, 3 } } } }, 4, 3, 3),
                        "(N,2,2,3,1,3)");
    assert_string_equal(shape_of(text, "permute", &(lg_attrs){ .permute = { { 3, { 3, 1, 2 } } } }, 4, 5, 6),
                        "(N,6,4,5)");
    assert_string_equal(shape_of(text, "mean", &(lg_attrs){ .mean = { { 2, { 2, 3 } }, 0 } }, 4, 5, 6), "(N,4)");
    assert_string_equal(shape_of(text, "mean", &(lg_attrs){ .mean = { { 1, { 1 } }, 1 } }, 4, 5, 6), "(N,1,5,6)");
    assert_string_equal(shape_of(text, "pad", &(lg_attrs){ .pad = { { 1, 2, 3, 4 }, 0.0 } }, 4, 5, 6), "(N,4,9,12)");
    assert_string_equal(shape_of(text, "upsample", &(lg_attrs){ .upsample = { { 7, 3 }, 1, 1 } }, 4, 5, 6),
                        "(N,4,7,3)");
    assert_string_equal(shape_of(text, "adaptive_max_pool", NULL, 4, 5, 6), "(N,4,1,1)");
    assert_string_equal(shape_of(text, "slice", &(lg_attrs){ .slice = { 2, 1, 4, 1 } }, 4, 5, 6), "(N,4,3,6)");
    assert_string_equal(shape_of(text, "slice", &(lg_attrs){ .slice = { 2, 0, 5, 2 } }, 4, 5, 6), "(N,4,3,6)");
    assert_string_equal(shape_of(text, "slice", &(lg_attrs){ .slice = { 2, 1, 5, 3 } }, 4, 5, 6), "(N,4,2,6)");
    assert_string_equal(shape_of(text, "slice", &(lg_attrs){ .slice = { 2, 4, -1, -1 } }, 4, 5, 6), "(N,4,5,6)");
    assert_string_equal(shape_of(text, "slice", &(lg_attrs){ .slice = { 2, 4, 0, -3 } }, 4, 5, 6), "(N,4,2,6)");
    assert_string_equal(shape_of(text, "softmax", NULL, 4, 5, 6), "(N,4,5,6)");
}

static void test_ops__split_concat_broadcast_and_matmul(void **state)
{
    maker m;
    int32_t x, y, parts, joined;
    char text[128];

    maker_start(&m, 1);
    x = make_input(&m, 9, 4, 6);
    parts = make_unary(&m, x, "split", &(lg_attrs){ .split = { 1, { 3, { 2, 3, 4 } } } });
    assert_int_equal(extent_of(&m, parts, 1), 2);
    assert_int_equal(extent_of(&m, parts + 2, 1), 4);
    assert_string_equal(m.graph->values[parts + 1].name, "split0:1");
    joined = make_concat(&m, parts, parts + 2);
    assert_int_equal(extent_of(&m, joined, 1), 6);
    y = make_binary(&m, "mul", x, make_unary(&m, x, "adaptive_avg_pool", NULL));
    assert_string_equal(lg_shape_format(text, &m.graph->values[y].shape), "(N,9,4,6)");
    y = make_binary(&m, "matmul", make_permute(&m, x, 3, (int64_t[]){ 1, 3, 2 }), x); /* (N,9,6,4) x (N,9,4,6) */
    assert_string_equal(lg_shape_format(text, &m.graph->values[y].shape), "(N,9,6,6)");
    assert_int_equal(lg_node_macs(m.graph, &m.graph->nodes[m.graph->n_nodes - 1]), 9 * 6 * 6 * 4);
    y = make_constant(&m, 2, (int64_t[]){ 3, 5 });
    assert_string_equal(lg_shape_format(text, &m.graph->values[y].shape), "(N,3,5)");

    assert_fails(LEGO_EINVAL,
                 lg_graph_add_node(&y, m.graph, "matmul", "mm", NULL, 2, (int32_t[]){ x, x }, 0, NULL));
    assert_says("'mm'");
    assert_fails(LEGO_EINVAL,
                 lg_graph_add_node(&y, m.graph, "mul", "product", NULL, 2, (int32_t[]){ x, joined }, 0, NULL));
    assert_says("differ in shape");
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "concat", "cat", &(lg_attrs){ .axis = { 2 } }, 2,
                                                (int32_t[]){ x, joined }, 0, NULL));
    assert_says("'cat'");
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "concat", "cat", &(lg_attrs){ .axis = { 4 } }, 2,
                                                (int32_t[]){ x, x }, 0, NULL));
    assert_says("axis 4");
    lg_graph_free(m.graph);
}

/* out = (in - 1) stride - pads + dilation (kernel - 1) + output_padding + 1: the size whose convolution gives `in`. */
static void test_ops__conv_transpose_inverts_the_convolutions_size(void **state)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        maker m;
        lg_attrs attrs = { .conv_transpose = { .groups = 2 } };
        int32_t x, y, weights[2] = { LG_NONE, LG_NONE };
        const int64_t k = 3;
        int64_t back;

        maker_start(&m, seed);
        x = make_input(&m, 4, pick(&m, 2, 6), pick(&m, 2, 6));
        for (int i = 0; i < 2; i++) {
            attrs.conv_transpose.stride[i] = pick(&m, 1, 3);
            attrs.conv_transpose.dilation[i] = pick(&m, 1, 2);
            attrs.conv_transpose.pads[i] = pick(&m, 0, 1);
            attrs.conv_transpose.pads[2 + i] = pick(&m, 0, 1);
            attrs.conv_transpose.output_padding[i] = pick(&m, 0, attrs.conv_transpose.stride[i] - 1);
        }
        weights[0] = make_weight(&m, "t", "weight", 4, (int64_t[]){ 4, 5, k, k }, 0);
        assert_ok(lg_graph_add_node(&y, m.graph, "conv_transpose2d", "t", &attrs, 1, &x, 2, weights));
        assert_int_equal(extent_of(&m, y, 1), 10);
        for (int i = 0; i < 2; i++) {
            back = slide(extent_of(&m, y, 2 + i), k, attrs.conv_transpose.stride[i], attrs.conv_transpose.dilation[i],
                         attrs.conv_transpose.pads[i], attrs.conv_transpose.pads[2 + i], 0);
            assert_int_equal(back, extent_of(&m, x, 2 + i));
        }
        assert_int_equal(lg_graph_macs(m.graph),
                         4 * extent_of(&m, x, 2) * extent_of(&m, x, 3) * 5 * k * k);
        lg_graph_free(m.graph);
    }
}

static void test_ops__normalisations_check_their_weights(void **state)
{
    maker m;
    int32_t x, y, weights[2];
    const int64_t dims[3] = { 6, 4, 4 };

    maker_start(&m, 1);
    x = make_input(&m, 6, 4, 4);
    make_affine(&m, x, "group_norm", &(lg_attrs){ .group_norm = { 3, 1e-5 } }, 1, dims);
    make_affine(&m, x, "layer_norm", &(lg_attrs){ .layer_norm = { 1, 1e-5 } }, 3, dims);
    make_affine(&m, x, "layer_norm", &(lg_attrs){ .layer_norm = { 3, 1e-5 } }, 1, dims + 1);
    weights[0] = weights[1] = make_weight(&m, "w", "weight", 1, dims, 0);
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "group_norm", "gn",
                                                &(lg_attrs){ .group_norm = { 4, 1e-5 } }, 1, &x, 2, weights));
    assert_says("groups=4");
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "layer_norm", "ln",
                                                &(lg_attrs){ .layer_norm = { 3, 1e-5 } }, 1, &x, 2, weights));
    assert_says("(4) is needed");
    weights[0] = make_weight(&m, "p", "weight", 1, (int64_t[]){ 5 }, 0);
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "prelu", "pr", NULL, 1, &x, 1, weights));
    assert_says("(6) is needed");
    lg_graph_free(m.graph);
}

static void test_ops__refuse_bad_attributes_naming_the_node(void **state)
{
    static const struct {
        const char *op;
        lg_attrs attrs;
        const char *says;
    } bad[] = {
        { "max_pool", { .pool = { { 2, 2 }, { 2, 2 }, { 1, 1 }, { 2, 0, 0, 0 }, 0, 0 } }, "pads" },
        { "max_pool", { .pool = { { 0, 2 }, { 2, 2 }, { 1, 1 }, { 0 }, 0, 0 } }, "kernel 0" },
        { "max_pool", { .pool = { { 9, 2 }, { 2, 2 }, { 1, 1 }, { 0 }, 0, 0 } }, "does not fit" },
        { "avg_pool", { .pool = { { 2, 2 }, { 2, 2 }, { 2, 1 }, { 0 }, 0, 0 } }, "dilation 2" },
        { "avg_pool", { .pool = { { 2, 2 }, { 2, -2 }, { 1, 1 }, { 0 }, 0, 0 } }, "stride -2" },
        { "adaptive_avg_pool", { .adaptive_pool = { { 0, 1 } } }, "size 0" },
        { "adaptive_avg_pool", { .adaptive_pool = { { INT32_MAX, INT32_MAX } } }, "too many elements" },
        { "flatten", { .flatten = { 0 } }, "axis 0" },
        { "flatten", { .flatten = { 4 } }, "axis 4" },
        { "dropout", { .dropout = { 1.0 } }, "p 1" },
        { "dropout", { .dropout = { -0.5 } }, "p -0.5" },
        { "clip", { .clip = { 2.0, 1.0 } }, "min 2" },
        { "clip", { .clip = { -DBL_MAX, 1.0 } }, "no range" },
        { "leaky_relu", { .leaky_relu = { DBL_MAX } }, "slope" },
        { "hard_sigmoid", { .hard_sigmoid = { DBL_MAX, 0.5 } }, "alpha" },
        { "softmax", { .axis = { 0 } }, "axis 0" },
        { "slice", { .slice = { 2, 2, 2, 1 } }, "elements 2 to 2" },
        { "slice", { .slice = { 2, -1, 2, 1 } }, "elements -1" },
        { "slice", { .slice = { 2, 1, INT64_MAX, 1 } }, "elements 1" },
        { "slice", { .slice = { 2, 1, 2, 0 } }, "a step of 0" },
        { "slice", { .slice = { 2, 1, 2, INT64_MIN } }, "a step of -" },
        { "slice", { .slice = { 2, 1, -2, -1 } }, "elements 1 to -2 in steps of -1" },
        { "slice", { .slice = { 2, INT64_MAX, 0, -1 } }, "elements 9223372036854775807" },
        { "log_softmax", { .axis = { 4 } }, "axis 4" },
        { "elu", { .elu = { 1.0, DBL_MAX, 1.0 } }, "scale 1.79769e+308 is no float" },
        { "elu", { .elu = { 1.0, 1.0, 0.0 } }, "input_scale 0" },
        { "softplus", { .softplus = { 0.0 } }, "beta 0" },
        { "pow", { .pow = { -DBL_MAX } }, "exponent" },
        { "shrink", { .shrink = { DBL_MAX, 0.0 } }, "lambda" },
        { "thresholded_relu", { .thresholded_relu = { DBL_MAX } }, "alpha" },
        { "split", { .split = { 2, { 2, { 1, 1 } } } }, "add up to 2" },
        { "split", { .split = { 2, { 0, { 0 } } } }, "outputs" },
        { "reshape", { .reshape = { { 2, { -1, -1 } } } }, "extent -1" },
        { "reshape", { .reshape = { { 2, { 7, 5 } } } }, "do not fit" },
        { "reshape", { .reshape = { { 2, { -1, 19 } } } }, "do not fit" },
        { "reshape", { .reshape = { { 0, { 0 } } } }, "0 extents" },
        { "permute", { .permute = { { 2, { 1, 2 } } } }, "2 entries" },
        { "permute", { .permute = { { 3, { 1, 2, 2 } } } }, "twice" },
        { "permute", { .permute = { { 3, { 1, 2, 4 } } } }, "order 4" },
        { "mean", { .mean = { { 0, { 0 } }, 0 } }, "no axes" },
        { "mean", { .mean = { { 1, { 4 } }, 0 } }, "axis 4" },
        { "pad", { .pad = { { 0, -1, 0, 0 }, 0.0 } }, "pads -1" },
        { "pad", { .pad = { { INT32_MAX, 0, 0, 0 }, 0.0 } }, "extent" },
        { "upsample", { .upsample = { { 0, 1 }, 0, 0 } }, "size 0" },
        { "upsample", { .upsample = { { 1, 1 }, 0, 1 } }, "align_corners" },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        maker m;
        int32_t x, y;

        maker_start(&m, 1);
        x = make_input(&m, 2100000000, 4, 4);
        assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, bad[i].op, "it", &bad[i].attrs, 1, &x, 0, NULL));
        assert_says("'it'");
        if (!strstr(lego_last_error(), bad[i].says))
            fail_msg("%s: '%s' does not say '%s'", bad[i].op, lego_last_error(), bad[i].says);
        lg_graph_free(m.graph);
    }
}

static void test_ops__dimensions_and_types_are_checked(void **state)
{
    maker m;
    int32_t flat, i64, y;

    maker_start(&m, 1);
    assert_ok(lg_graph_add_input(&flat, m.graph, "flat", LEGO_DTYPE_F32, &(lg_shape){ 1, { 8 } }));
    assert_ok(lg_graph_add_input(&i64, m.graph, "ints", LEGO_DTYPE_I64, &(lg_shape){ 3, { 2, 4, 4 } }));
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "max_pool", "p", NULL, 1, &flat, 0, NULL));
    assert_says("4 dimensions");
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "relu", "r", NULL, 1, &i64, 0, NULL));
    assert_says("I64");
    assert_fails(LEGO_EINVAL, lg_graph_add_input(&y, m.graph, "empty", LEGO_DTYPE_F32, &(lg_shape){ 0, { 0 } }));
    assert_fails(LEGO_EINVAL, lg_graph_add_input(&y, m.graph, "zero", LEGO_DTYPE_F32, &(lg_shape){ 2, { 3, 0 } }));
    assert_fails(LEGO_EINVAL,
                 lg_graph_add_input(&y, m.graph, "huge", LEGO_DTYPE_F32,
                                    &(lg_shape){ 3, { INT32_MAX, INT32_MAX, INT32_MAX } }));
    assert_says("too many elements");
    lg_graph_free(m.graph);
}

static void test_ops__batch_norm_slots(void **state)
{
    maker m;
    int32_t x, y, weights[4];
    lg_attrs attrs = { .batch_norm = { 1e-3, 0.01 } };

    maker_start(&m, 1);
    x = make_input(&m, 3, 4, 4);
    weights[0] = weights[1] = LG_NONE; /* affine=False */
    weights[2] = make_weight(&m, "bn", "running_mean", 1, (int64_t[]){ 3 }, 0);
    weights[3] = make_weight(&m, "bn", "running_var", 1, (int64_t[]){ 3 }, 1);
    assert_ok(lg_graph_add_node(&y, m.graph, "batch_norm", "bn", &attrs, 1, &x, 4, weights));
    assert_int_equal(lg_graph_parameters(m.graph), 0);
    weights[3] = make_weight(&m, "bn2", "running_var", 1, (int64_t[]){ 4 }, 1);
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "batch_norm", "b", NULL, 1, &x, 4, weights));
    assert_says("running_var 'bn2.running_var' has shape (4)");
    attrs.batch_norm.eps = 0.0;
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "batch_norm", "b", &attrs, 1, &x, 4, weights));
    assert_says("eps 0");
    weights[2] = LG_NONE;
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "batch_norm", "b", NULL, 1, &x, 4, weights));
    assert_says("needs a running_mean");
    lg_graph_free(m.graph);
}

static void test_ops__linear_and_flatten_shapes(void **state)
{
    maker m;
    int32_t x, y;

    maker_start(&m, 1);
    x = make_input(&m, 3, 4, 5);
    y = make_unary(&m, x, "flatten", &(lg_attrs){ .flatten = { 2 } });
    assert_int_equal(m.graph->values[y].shape.n_dims, 3);
    assert_int_equal(extent_of(&m, y, 2), 20);
    y = make_linear(&m, y, 7); /* (N,3,20) -> (N,3,7) */
    assert_int_equal(extent_of(&m, y, 1), 3);
    assert_int_equal(extent_of(&m, y, 2), 7);
    assert_int_equal(lg_node_macs(m.graph, &m.graph->nodes[1]), 3 * 7 * 20);
    y = make_unary(&m, x, "flatten", NULL);
    assert_int_equal(m.graph->values[y].shape.n_dims, 2);
    assert_int_equal(extent_of(&m, y, 1), 60);
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "add", "sum", NULL, 2, (int32_t[]){ x, y }, 0, NULL));
    assert_says("differ in shape");
    lg_graph_free(m.graph);
}

static void test_ops__saturate_instead_of_overflowing(void **state)
{
    assert_true(lg_add_sat(INT64_MAX, 1) == INT64_MAX);
    assert_true(lg_add_sat(INT64_MAX - 1, 1) == INT64_MAX);
    assert_true(lg_mul_sat((int64_t)1 << 40, (int64_t)1 << 40) == INT64_MAX);
    assert_true(lg_mul_sat(0, INT64_MAX) == 0);
    assert_true(lg_mul_sat(INT64_MAX, 0) == 0);
    assert_true(lg_mul_sat(3, 5) == 15);
}

static void test_ops__volumes_are_counted_by_hand(void **state)
{
    const lg_attrs pool = { .pool = { { 1, 3, 2 }, { 1, 2, 2 }, { 1, 1, 1 }, { 0, 1, 0, 0, 1, 1 }, 1, 0 } };
    const lg_attrs pad = { .pad = { { 1, 2, 3, 4, 5, 6 }, 0.0 } };
    const lg_attrs conv = { .conv = { { 1, 2, 3 }, { 2, 1, 1 }, { 2, 1, 0, 1, 0, 1 }, 2 } };
    const lg_attrs up = { .upsample = { { 2, 3, 4 }, LG_UPSAMPLE_BILINEAR, 1 } };
    maker m;
    int32_t x, y, weights[2] = { LG_NONE, LG_NONE };

    maker_start(&m, 1);
    x = make_volume(&m, 4, 5, 9, 7);
    weights[0] = make_kernel(&m, "c", 6, 2, (const int64_t[]){ 3, 2, 1 });
    assert_ok(lg_graph_add_node(&y, m.graph, "conv3d", "c", &conv, 1, &x, 2, weights));
    assert_true(lg_shape_equal(&m.graph->values[y].shape, &(lg_shape){ 5, { LG_BATCH, 6, 4, 5, 3 } }));
    assert_int_equal(lg_graph_macs(m.graph), 6 * 4 * 5 * 3 * 2 * 3 * 2 * 1);
    assert_int_equal(lg_graph_parameters(m.graph), 6 * 2 * 3 * 2 * 1);
    y = make_unary(&m, x, "max_pool3d", &pool);
    assert_true(lg_shape_equal(&m.graph->values[y].shape, &(lg_shape){ 5, { LG_BATCH, 4, 5, 5, 4 } }));
    assert_int_equal(lg_node_flops(m.graph, &m.graph->nodes[1]), 4 * 5 * 5 * 4 * 6);
    y = make_unary(&m, x, "pad3d", &pad);
    assert_true(lg_shape_equal(&m.graph->values[y].shape, &(lg_shape){ 5, { LG_BATCH, 4, 10, 16, 16 } }));
    y = make_unary(&m, x, "upsample3d", &up);
    assert_true(lg_shape_equal(&m.graph->values[y].shape, &(lg_shape){ 5, { LG_BATCH, 4, 2, 3, 4 } }));
    y = make_conv_transpose3d(&m, x, 3, 1, 1);
    assert_true(lg_shape_equal(&m.graph->values[y].shape, &(lg_shape){ 5, { LG_BATCH, 3, 10, 18, 14 } }));
    assert_int_equal(lg_node_macs(m.graph, &m.graph->nodes[4]), 4 * 5 * 9 * 7 * 3 * 8);
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "conv2d", "d", NULL, 1, &x, 2, weights));
    assert_says("conv2d takes 4 dimensions");
    weights[0] = make_weight(&m, "flat", "weight", 4, (int64_t[]){ 6, 4, 3, 3 }, 0);
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "conv3d", "e", NULL, 1, &x, 2, weights));
    assert_says("conv3d takes (K,C/groups) and 3 of a kernel");
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "max_pool3d", "f",
                                                &(lg_attrs){ .pool = { { 1, 1, 8 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0 }, 0,
                                                                       0 } }, 1, &x, 0, NULL));
    assert_says("a window of 8 does not fit into 7");
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&y, m.graph, "upsample3d", "g",
                                                &(lg_attrs){ .upsample = { { INT32_MAX, INT32_MAX, INT32_MAX }, 0, 0 } },
                                                1, &x, 0, NULL));
    assert_says("too many elements");
    lg_graph_free(m.graph);
}

/* What files of earlier versions hold is what is written now. */
static void test_ops__json_of_images_is_as_it_was(void **state)
{
    static const char *const texts[][2] = {
        { "conv2d", "{\"stride\":[1,1],\"dilation\":[1,1],\"pads\":[0,0,0,0],\"groups\":1}" },
        { "conv_transpose2d", "{\"stride\":[1,1],\"dilation\":[1,1],\"pads\":[0,0,0,0],\"output_padding\":[0,0],"
                              "\"groups\":1}" },
        { "max_pool", "{\"kernel\":[1,1],\"stride\":[1,1],\"dilation\":[1,1],\"pads\":[0,0,0,0],\"ceil_mode\":false}" },
        { "avg_pool", "{\"kernel\":[1,1],\"stride\":[1,1],\"pads\":[0,0,0,0],\"ceil_mode\":false,"
                      "\"count_include_pad\":true}" },
        { "adaptive_avg_pool", "{\"size\":[1,1]}" },
        { "adaptive_max_pool", "{\"size\":[1,1]}" },
        { "pad", "{\"pads\":[0,0,0,0],\"value\":0}" },
        { "upsample", "{\"size\":[1,1],\"mode\":\"nearest\",\"align_corners\":false}" },
        { "conv3d", "{\"stride\":[1,1,1],\"dilation\":[1,1,1],\"pads\":[0,0,0,0,0,0],\"groups\":1}" },
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const lg_op *op = lg_op_find(texts[i][0]);
        lg_json *object;
        char *text;

        assert_ok(lg_json_create_object(&object));
        assert_ok(lg_attrs_to_json(object, op, &op->defaults));
        assert_ok(lg_json_print(&text, object, 0));
        assert_string_equal(text, texts[i][1]);
        lg_free(text);
        lg_json_free(object);
    }
}

static void test_ops__attributes_survive_json(void **state)
{
    for (int k = 0; lg_op_at(k); k++) {
        const lg_op *op = lg_op_at(k);
        lg_attrs attrs, again;
        lg_json *object;

        assert_ptr_equal(lg_op_find(op->name), op);
        assert_ptr_equal(lg_op_of_axes(op->kind, op->n_axes), op);
        assert_int_equal(lg_op_of_kind(op->kind)->kind, op->kind);
        memset(&attrs, 0, sizeof(attrs));
        for (const lg_field *field = op->fields; field->name; field++) {
            char *at = (char *)&attrs + field->offset;
            for (int i = 0; i < field->count; i++) {
                if (field->type == LG_FIELD_INT || field->type == LG_FIELD_INTS)
                    ((int64_t *)(void *)at)[i] = 3 + i;
                else if (field->type == LG_FIELD_DIMS)
                    *(lg_dims *)(void *)at = (lg_dims){ 3, { 7, 8, 9 } };
                else if (field->type == LG_FIELD_DOUBLE)
                    *(double *)(void *)at = 0.1;
                else
                    *(int32_t *)(void *)at = 1;
            }
        }
        assert_ok(lg_json_create_object(&object));
        assert_ok(lg_attrs_to_json(object, op, &attrs));
        assert_ok(lg_attrs_from_json(&again, op, object, "test"));
        for (const lg_field *field = op->fields; field->name; field++) {
            const size_t size = field->type == LG_FIELD_BOOL || field->type == LG_FIELD_CHOICE ? 4
                                : field->type == LG_FIELD_DIMS                                  ? sizeof(lg_dims)
                                                                                                : 8 * (size_t)field->count;
            assert_memory_equal((char *)&attrs + field->offset, (char *)&again + field->offset, size);
        }
        assert_ok(lg_json_set_int(object, "surprise", 1));
        assert_fails(LEGO_EFORMAT, lg_attrs_from_json(&again, op, object, "test"));
        assert_says("surprise");
        lg_json_free(object);
    }
    lg_json *object;
    lg_attrs attrs;
    assert_ok(lg_json_create_object(&object));
    assert_ok(lg_json_set_string(object, "mode", "cubic"));
    assert_fails(LEGO_EFORMAT, lg_attrs_from_json(&attrs, lg_op_find("upsample"), object, "test"));
    assert_says("'cubic'");
    lg_json_free(object);
    assert_ok(lg_json_parse(&object, "{\"order\":[1,2,3,4,5,6,7,8,9]}", 29, "test"));
    assert_fails(LEGO_EFORMAT, lg_attrs_from_json(&attrs, lg_op_find("permute"), object, "test"));
    assert_says("9 entries");
    lg_json_free(object);
    assert_null(lg_op_find("teleport"));
    assert_true(lg_op_is_compressible(lg_op_find("conv2d")) && lg_op_is_compressible(lg_op_find("linear")));
    assert_false(lg_op_is_compressible(lg_op_find("batch_norm")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops__conv_shape_equals_sliding),
        cmocka_unit_test(test_ops__conv_refuses_what_does_not_fit),
        cmocka_unit_test(test_ops__pool_shape_equals_sliding),
        cmocka_unit_test(test_ops__shapes_of_the_wider_set),
        cmocka_unit_test(test_ops__split_concat_broadcast_and_matmul),
        cmocka_unit_test(test_ops__conv_transpose_inverts_the_convolutions_size),
        cmocka_unit_test(test_ops__normalisations_check_their_weights),
        cmocka_unit_test(test_ops__refuse_bad_attributes_naming_the_node),
        cmocka_unit_test(test_ops__dimensions_and_types_are_checked),
        cmocka_unit_test(test_ops__batch_norm_slots),
        cmocka_unit_test(test_ops__linear_and_flatten_shapes),
        cmocka_unit_test(test_ops__saturate_instead_of_overflowing),
        cmocka_unit_test(test_ops__volumes_are_counted_by_hand),
        cmocka_unit_test(test_ops__json_of_images_is_as_it_was),
        cmocka_unit_test(test_ops__attributes_survive_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
