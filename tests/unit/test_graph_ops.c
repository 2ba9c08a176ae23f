/* graph/ops: shapes inferred against a count by hand or brute force, what each op refuses, attributes in JSON, costs. */
#include "support/graphs.h"

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

static void test_ops__attributes_survive_json(void **state)
{
    for (int kind = 0; kind < LG_OP_N_KINDS; kind++) {
        const lg_op *op = lg_op_of_kind((lg_op_kind)kind);
        lg_attrs attrs, again;
        lg_json *object;

        assert_ptr_equal(lg_op_find(op->name), op);
        assert_int_equal(op->kind, kind);
        memset(&attrs, 0, sizeof(attrs));
        for (const lg_field *field = op->fields; field->name; field++) {
            char *at = (char *)&attrs + field->offset;
            for (int i = 0; i < field->count; i++) {
                if (field->type == LG_FIELD_INT || field->type == LG_FIELD_INTS)
                    ((int64_t *)(void *)at)[i] = 3 + i;
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
            const size_t size = field->type == LG_FIELD_BOOL ? 4 : 8 * (size_t)field->count;
            assert_memory_equal((char *)&attrs + field->offset, (char *)&again + field->offset, size);
        }
        assert_ok(lg_json_set_int(object, "surprise", 1));
        assert_fails(LEGO_EFORMAT, lg_attrs_from_json(&again, op, object, "test"));
        assert_says("surprise");
        lg_json_free(object);
    }
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
        cmocka_unit_test(test_ops__refuse_bad_attributes_naming_the_node),
        cmocka_unit_test(test_ops__dimensions_and_types_are_checked),
        cmocka_unit_test(test_ops__batch_norm_slots),
        cmocka_unit_test(test_ops__linear_and_flatten_shapes),
        cmocka_unit_test(test_ops__saturate_instead_of_overflowing),
        cmocka_unit_test(test_ops__attributes_survive_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
