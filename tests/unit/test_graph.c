/* graph/: building, validation, order, cutting and composing, JSON and files, above all damaged ones. */
#include "support/files.h"
#include "support/graphs.h"

#include <math.h>

#include "graph/channels.h"
#include "tensor/safetensors.h"

/* conv -> bn -> relu -> conv, added to the input. */
static lg_graph *residual_graph(void)
{
    maker m;
    int32_t x, y;

    maker_start(&m, 9);
    x = make_input(&m, 4, 6, 6);
    y = make_unary(&m, make_bn(&m, make_conv(&m, x, 5, 3, 1, 1, 1)), "relu", NULL);
    y = make_conv(&m, y, 4, 3, 1, 1, 0);
    return maker_finish(&m, make_add(&m, y, x));
}

static void assert_same_graph(const lg_graph *a, const lg_graph *b)
{
    lg_json *left, *right;
    char *left_text, *right_text;

    assert_ok(lg_graph_to_json(&left, a));
    assert_ok(lg_graph_to_json(&right, b));
    assert_ok(lg_json_print(&left_text, left, 0));
    assert_ok(lg_json_print(&right_text, right, 0));
    assert_string_equal(left_text, right_text);
    for (int32_t i = 0; i < a->n_values; i++)
        assert_true(lg_shape_equal(&a->values[i].shape, &b->values[i].shape));
    for (int32_t i = 0; i < a->n_weights; i++)
        assert_memory_equal(lg_tensor_data(&a->weights[i].tensor), lg_tensor_data(&b->weights[i].tensor),
                            lg_tensor_bytes(&a->weights[i].tensor));
    lg_free(left_text);
    lg_free(right_text);
    lg_json_free(left);
    lg_json_free(right);
}

static void test_graph__counts_what_torch_counts(void **state)
{
    lg_graph *graph = residual_graph();

    /* conv0 4*5*9 + 5, bn1 5 + 5, conv3 5*4*9 */
    assert_int_equal(lg_graph_parameters(graph), 185 + 10 + 180);
    assert_int_equal(lg_graph_macs(graph), 36 * (180 + 180));
    assert_int_equal(lg_graph_weight_bytes(graph), (185 + 20 + 180) * 4);
    /* twice the MACs, bias, two a batch-norm element, one a relu and sum element */
    assert_int_equal(lg_graph_flops(graph), 2 * 36 * 360 + 36 * 5 + 2 * 36 * 5 + 36 * 5 + 36 * 4);
    lg_graph_free(graph);
}

static void test_graph__shared_weight_counts_once(void **state)
{
    maker m;
    int32_t x, weights[2] = { LG_NONE, LG_NONE };

    maker_start(&m, 1);
    x = make_input(&m, 3, 4, 4);
    weights[0] = make_weight(&m, "shared", "weight", 4, (int64_t[]){ 3, 3, 1, 1 }, 0);
    for (int i = 0; i < 2; i++)
        assert_ok(lg_graph_add_node(&x, m.graph, "conv2d", i ? "b" : "a", NULL, 1, (int32_t[]){ x }, 2, weights));
    lg_graph *graph = maker_finish(&m, x);
    assert_int_equal(lg_graph_parameters(graph), 9);
    assert_int_equal(lg_graph_macs(graph), 2 * 9 * 16);
    lg_graph_free(graph);
}

static void test_graph__validation_sorts_and_keeps_a_right_order(void **state)
{
    lg_graph *graph = residual_graph(), *copy;
    lg_node swap;

    assert_ok(lg_graph_clone(&copy, graph));
    swap = copy->nodes[0];
    copy->nodes[0] = copy->nodes[4];
    copy->nodes[4] = swap;
    assert_ok(lg_graph_validate(copy));
    for (int32_t i = 0; i < graph->n_nodes; i++)
        assert_string_equal(copy->nodes[i].name, graph->nodes[i].name);
    lg_graph_free(copy);

    for (uint64_t seed = 0; seed < 50; seed++) { /* any order of any graph */
        lg_graph *random = make_random_graph(seed), *sorted;
        lg_rng rng;

        assert_ok(lg_graph_clone(&sorted, random));
        assert_ok(lg_graph_validate(sorted));
        assert_same_graph(random, sorted);
        lg_rng_init(&rng, seed, 1);
        for (int32_t i = random->n_nodes - 1; i > 0; i--) {
            const int32_t k = (int32_t)lg_rng_below(&rng, (uint64_t)i + 1);
            swap = random->nodes[i];
            random->nodes[i] = random->nodes[k];
            random->nodes[k] = swap;
        }
        assert_ok(lg_graph_validate(random));
        for (int32_t i = 0; i < random->n_nodes; i++)
            for (int j = 0; j < random->nodes[i].n_inputs; j++)
                assert_true(random->values[random->nodes[i].inputs[j]].producer < i);
        lg_graph_free(sorted);
        lg_graph_free(random);
    }
    lg_graph_free(graph);
}

static void test_graph__cycles_and_broken_references_are_named(void **state)
{
    lg_graph *graph = residual_graph(), *copy;

    assert_ok(lg_graph_clone(&copy, graph));
    copy->nodes[0].inputs[0] = copy->nodes[2].outputs[0]; /* conv0 reads relu2 */
    assert_fails(LEGO_EINVAL, lg_graph_validate(copy));
    assert_says("depends on itself");
    lg_graph_free(copy);

    assert_ok(lg_graph_clone(&copy, graph));
    copy->nodes[0].inputs[0] = 99;
    assert_fails(LEGO_EINVAL, lg_graph_validate(copy));
    assert_says("'conv0'");
    lg_graph_free(copy);

    assert_ok(lg_graph_clone(&copy, graph));
    copy->nodes[0].weights[0] = 99;
    assert_fails(LEGO_EINVAL, lg_graph_validate(copy));
    lg_graph_free(copy);

    assert_ok(lg_graph_clone(&copy, graph));
    copy->nodes[1].outputs[0] = copy->nodes[0].outputs[0];
    assert_fails(LEGO_EINVAL, lg_graph_validate(copy));
    assert_says("made elsewhere");
    lg_graph_free(copy);

    assert_ok(lg_graph_clone(&copy, graph));
    memcpy(copy->nodes[3].name, "conv0", sizeof("conv0")); /* was conv3 */
    assert_fails(LEGO_EINVAL, lg_graph_validate(copy));
    assert_says("two nodes are named 'conv0'");
    lg_graph_free(copy);

    assert_ok(lg_graph_clone(&copy, graph));
    copy->n_outputs = 0;
    assert_fails(LEGO_EINVAL, lg_graph_validate(copy));
    lg_graph_free(copy);
    lg_graph_free(graph);
}

static void test_graph__very_long_chains_are_sorted(void **state)
{
    maker m;
    int32_t x;

    maker_start(&m, 1);
    x = make_input(&m, 1, 1, 1);
    for (int i = 0; i < 20000; i++)
        x = make_unary(&m, x, "relu", NULL);
    for (int32_t i = 0, k = m.graph->n_nodes - 1; i < k; i++, k--) {
        lg_node swap = m.graph->nodes[i];
        m.graph->nodes[i] = m.graph->nodes[k];
        m.graph->nodes[k] = swap;
    }
    lg_graph *graph = maker_finish(&m, x);
    assert_string_equal(graph->nodes[0].name, "relu0");
    assert_string_equal(graph->nodes[19999].name, "relu19999");
    lg_graph_free(graph);
}

static void test_graph__failed_add_leaves_the_graph_as_it_was(void **state)
{
    lg_graph *graph = residual_graph();
    const int32_t n_values = graph->n_values, n_nodes = graph->n_nodes;
    int32_t value;

    assert_fails(LEGO_EINVAL, lg_graph_add_node(&value, graph, "add", "bad", NULL, 2, (int32_t[]){ 0, 1 }, 0, NULL));
    assert_says("'bad'");
    assert_int_equal(value, LG_NONE);
    assert_fails(LEGO_EUNSUPPORTED,
                 lg_graph_add_node(&value, graph, "teleport", "bad", NULL, 1, (int32_t[]){ 0 }, 0, NULL));
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&value, graph, "relu", "bad", NULL, 1, (int32_t[]){ 77 }, 0, NULL));
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&value, graph, "relu", "bad", NULL, 2, (int32_t[]){ 0, 0 }, 0, NULL));
    assert_fails(LEGO_EINVAL, lg_graph_add_node(&value, graph, "conv2d", "bad", NULL, 1, (int32_t[]){ 0 }, 2,
                                                (int32_t[]){ LG_NONE, LG_NONE }));
    assert_says("needs a weight");
    assert_int_equal(graph->n_values, n_values);
    assert_int_equal(graph->n_nodes, n_nodes);
    lg_graph_free(graph);
}

static void test_graph__json_round_trip(void **state)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        lg_graph *graph = make_random_graph(seed), *again;
        const char *path = in_folder(state, "g.json"), *file = in_folder(state, "g.safetensors");

        graph->nodes[0].block = 3;
        assert_ok(lg_graph_save(graph, file, NULL));
        assert_ok(lg_graph_load(&again, file));
        assert_same_graph(graph, again);
        assert_int_equal(again->nodes[0].block, 3);
        assert_int_equal(lg_graph_parameters(again), lg_graph_parameters(graph));
        lg_graph_free(again);
        assert_ok(lg_graph_save_json(graph, path));
        assert_ok(lg_graph_load_json(&again, path, 1));
        assert_int_equal(lg_graph_parameters(again), lg_graph_parameters(graph));
        lg_graph_free(again);
        lg_graph_free(graph);
    }
}

static void test_graph__file_keeps_extra_metadata(void **state)
{
    lg_graph *graph = residual_graph();
    lg_json *extra;
    lg_safetensors *file;
    const char *text;

    assert_ok(lg_json_create_object(&extra));
    assert_ok(lg_json_set_string(extra, "epoch", "7"));
    assert_ok(lg_graph_save(graph, in_folder(state, "m.safetensors"), extra));
    assert_ok(lg_safetensors_load(&file, in_folder(state, "m.safetensors")));
    assert_ok(lg_json_get_string(&text, file->metadata, "epoch", "file"));
    assert_string_equal(text, "7");
    lg_safetensors_free(file);
    lg_json_free(extra);
    lg_graph_free(graph);
}

/* The graph's JSON with one piece of text replaced by another, read back. */
static lego_status reload_edited(void **state, const lg_graph *graph, const char *from, const char *to)
{
    lg_json *json;
    lg_graph *loaded = NULL;
    char *text, *at, edited[16384];
    lego_status status;

    assert_ok(lg_graph_to_json(&json, graph));
    assert_ok(lg_json_print(&text, json, 0));
    at = strstr(text, from);
    if (!at)
        fail_msg("'%s' is not in %s", from, text);
    snprintf(edited, sizeof(edited), "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    write_file(*state, "edited.json", edited, strlen(edited));
    status = lg_graph_load_json(&loaded, in_folder(state, "edited.json"), 0);
    lg_graph_free(loaded);
    lg_free(text);
    lg_json_free(json);
    return status;
}

static void test_graph__lying_json_is_refused_with_the_place(void **state)
{
    static const struct {
        const char *from, *to, *says;
        lego_status status;
    } lies[] = {
        { "legodnn.graph/1", "legodnn.graph/9", "legodnn.graph", LEGO_EFORMAT },
        { "\"op\":\"relu\"", "\"op\":\"teleport\"", "'relu2': unknown op 'teleport'", LEGO_EUNSUPPORTED },
        { "\"inputs\":[\"conv0\"]", "\"inputs\":[\"nowhere\"]", "'bn1' reads 'nowhere'", LEGO_EFORMAT },
        { "\"inputs\":[\"conv0\"]", "\"inputs\":[\"conv0\",\"conv0\"]", "bn1", LEGO_EFORMAT },
        { "\"inputs\":[\"conv0\"]", "\"inputs\":[]", "bn1", LEGO_EFORMAT },
        { "\"inputs\":[\"conv0\"]", "\"inputs\":[7]", "", LEGO_EFORMAT },
        { "\"outputs\":[\"conv0\"]", "\"outputs\":[]", "conv0", LEGO_EFORMAT },
        { "\"outputs\":[\"conv0\"]", "\"outputs\":[\"conv0\",\"b\"]", "conv0", LEGO_EFORMAT },
        { "\"outputs\":[\"conv0\"]", "\"outputs\":[\"input\"]", "'input'", LEGO_EFORMAT },
        { "}],\"outputs\":[\"add4\"]}", "}],\"outputs\":[\"add9\"]}", "add9", LEGO_EFORMAT },
        { "\"shape\":[4,6,6]", "\"shape\":[4,0,6]", "input", LEGO_EFORMAT },
        { "\"shape\":[4,6,6]", "\"shape\":[4,-6,6]", "", LEGO_EFORMAT },
        { "\"shape\":[4,6,6]", "\"shape\":[4,6.5,6]", "", LEGO_EFORMAT },
        { "\"shape\":[4,6,6]", "\"shape\":[9007199254740992,6,6]", "input", LEGO_EFORMAT },
        { "\"shape\":[4,6,6]", "\"shape\":[]", "input", LEGO_EFORMAT },
        { "\"shape\":[4,6,6]", "\"shape\":[1,1,1,1,1,1,1,1,1]", "input", LEGO_EFORMAT },
        { "\"shape\":[5,4,3,3]", "\"shape\":[5,4,3]", "conv0", LEGO_EFORMAT },
        { "\"shape\":[5,4,3,3]", "\"shape\":[5,3,3,3]", "conv0", LEGO_EFORMAT },
        { "\"shape\":[5,4,3,3]", "\"shape\":[0,4,3,3]", "conv0", LEGO_EFORMAT },
        { "\"shape\":[5,4,3,3]", "\"shape\":[1000000,1000000,3,3]", "conv0.weight", LEGO_EFORMAT },
        { "\"shape\":[5,4,3,3]", "\"shape\":[4294967296,4294967296,3,3]", "conv0.weight", LEGO_EFORMAT },
        { "\"dtype\":\"F32\"", "\"dtype\":\"F31\"", "F31", LEGO_EFORMAT },
        { "\"dtype\":\"F32\"", "\"dtype\":\"I64\"", "", LEGO_EFORMAT },
        { "\"stride\":[1,1]", "\"stride\":[0,1]", "stride 0", LEGO_EFORMAT },
        { "\"stride\":[1,1]", "\"stride\":[1]", "stride", LEGO_EFORMAT },
        { "\"stride\":[1,1]", "\"stride\":\"big\"", "stride", LEGO_EFORMAT },
        { "\"stride\":[1,1]", "\"speed\":[1,1]", "speed", LEGO_EFORMAT },
        { "\"dilation\":[1,1]", "\"dilation\":[9007199254740992,1]", "dilation", LEGO_EFORMAT },
        { "\"pads\":[1,1,1,1]", "\"pads\":[1,-1,1,1]", "pads -1", LEGO_EFORMAT },
        { "\"pads\":[1,1,1,1]", "\"pads\":[1,2147483647,1,2147483647]", "conv0", LEGO_EFORMAT },
        { "\"groups\":1", "\"groups\":3", "groups=3 does not divide", LEGO_EFORMAT },
        { "\"groups\":1", "\"groups\":1e300", "groups", LEGO_EFORMAT },
        { "\"eps\":", "\"eps\":-", "eps", LEGO_EFORMAT },
        { "\"weight\":\"conv0.weight\"", "\"weight\":\"bn1.weight\"", "conv0", LEGO_EFORMAT },
        { "\"weight\":\"conv0.weight\"", "\"weight\":\"lost\"", "'lost'", LEGO_EFORMAT },
        { "\"weight\":\"conv0.weight\",", "", "needs a weight", LEGO_EFORMAT },
        { "\"weight\":\"conv0.weight\"", "\"wait\":\"conv0.weight\"", "'wait'", LEGO_EFORMAT },
        { "\"name\":\"bn1\"", "\"name\":\"conv0\"", "two nodes are named", LEGO_EFORMAT },
        { "\"name\":\"bn1.bias\"", "\"name\":\"bn1.weight\"", "two weights are named", LEGO_EFORMAT },
        { "\"nodes\":[", "\"nodes\":[5,", "", LEGO_EFORMAT },
        { "\"nodes\":[", "\"knots\":[", "nodes", LEGO_EFORMAT },
    };
    lg_graph *graph = residual_graph();

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        const lego_status status = reload_edited(state, graph, lies[i].from, lies[i].to);

        if (status != lies[i].status)
            fail_msg("%s -> %s: %s (%s)", lies[i].from, lies[i].to, lego_status_name(status), lego_last_error());
        if (!strstr(lego_last_error(), lies[i].says) || !strstr(lego_last_error(), "edited.json"))
            fail_msg("%s -> %s: '%s' does not say '%s' and the file", lies[i].from, lies[i].to, lego_last_error(),
                     lies[i].says);
    }
    lg_graph_free(graph);
}

static void test_graph__file_and_graph_must_agree(void **state)
{
    const char *path = in_folder(state, "m.safetensors");
    lg_graph *graph = residual_graph(), *loaded;
    lg_safetensors *file;
    const char **names;
    const lego_tensor **tensors;
    lego_tensor wrong = { 0 };

    assert_ok(lg_graph_save(graph, path, NULL));
    assert_ok(lg_safetensors_load(&file, path));
    assert_ok(LG_CALLOC(&names, file->n_tensors + 1));
    assert_ok(LG_CALLOC(&tensors, file->n_tensors + 1));
    for (size_t i = 0; i < file->n_tensors; i++) {
        names[i] = file->names[i];
        tensors[i] = &file->tensors[i];
    }
    const char *other = in_folder(state, "other.safetensors");
    assert_ok(lg_safetensors_save(other, file->n_tensors - 1, names, tensors, file->metadata));
    assert_fails(LEGO_EFORMAT, lg_graph_load(&loaded, other));
    assert_says(names[file->n_tensors - 1]);
    assert_null(loaded);

    names[file->n_tensors] = "stowaway";
    tensors[file->n_tensors] = tensors[0];
    assert_ok(lg_safetensors_save(other, file->n_tensors + 1, names, tensors, file->metadata));
    assert_fails(LEGO_EFORMAT, lg_graph_load(&loaded, other));
    assert_says("stowaway");

    assert_ok(lg_tensor_init(&wrong, LEGO_DTYPE_F32, &(lg_shape){ 1, { 3 } }));
    tensors[0] = &wrong;
    assert_ok(lg_safetensors_save(other, file->n_tensors, names, tensors, file->metadata));
    assert_fails(LEGO_EFORMAT, lg_graph_load(&loaded, other));
    assert_says(names[0]);

    assert_ok(lg_safetensors_save(other, 1, names, tensors, NULL));
    assert_fails(LEGO_EFORMAT, lg_graph_load(&loaded, other));
    assert_says("no graph");
    lg_tensor_dispose(&wrong);
    lg_free(names);
    lg_free(tensors);
    lg_safetensors_free(file);
    lg_graph_free(graph);
}

static void test_graph__damaged_files_never_crash(void **state)
{
    const char *path = in_folder(state, "m.safetensors"), *damaged = in_folder(state, "d.safetensors");
    lg_graph *graph = residual_graph(), *loaded;
    char *data, *copy;
    size_t size;
    lg_rng rng;
    int n_refused = 0;

    assert_ok(lg_graph_save(graph, path, NULL));
    assert_ok(lg_file_read(&data, &size, path, 1 << 20));
    for (size_t cut = 0; cut < size; cut += 1 + size / 97) {
        write_file(*state, "d.safetensors", data, cut);
        assert_fails(LEGO_EFORMAT, lg_graph_load(&loaded, damaged));
        assert_null(loaded);
    }
    assert_ok(LG_CALLOC(&copy, size));
    lg_rng_init(&rng, 4, 4);
    for (int i = 0; i < 1500; i++) { /* flips in the header mostly; those in weights are legal */
        memcpy(copy, data, size);
        for (int flips = 1 + i % 3; flips > 0; flips--)
            copy[lg_rng_below(&rng, size - 1540)] ^= (char)(1 << lg_rng_below(&rng, 8));
        write_file(*state, "d.safetensors", copy, size);
        if (lg_graph_load(&loaded, damaged) == LEGO_OK)
            assert_ok(lg_graph_validate(loaded));
        else
            n_refused++;
        lg_graph_free(loaded);
    }
    assert_true(n_refused > 1000);
    lg_free(copy);
    lg_free(data);
    lg_graph_free(graph);
}

static void test_graph__subgraph_and_inline_rebuild_the_graph(void **state)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        lg_graph *graph = make_random_graph(seed), *part, *rebuilt;
        int32_t *inputs, *outputs, *made, *values;
        uint8_t *in_set;
        lg_rng rng;

        assert_ok(LG_CALLOC(&in_set, graph->n_nodes));
        assert_ok(LG_CALLOC(&values, graph->n_values));
        lg_rng_init(&rng, seed, 3);
        const int32_t cut = (int32_t)lg_rng_below(&rng, (uint64_t)graph->n_nodes); /* prefix | suffix: both convex */
        assert_ok(lg_graph_create(&rebuilt, graph->name));
        const int32_t input = graph->inputs[0];
        const lg_shape shape = lg_shape_make(graph->values[input].shape.n_dims - 1,
                                             graph->values[input].shape.dims + 1);
        assert_ok(lg_graph_add_input(&values[input], rebuilt, graph->values[input].name, LEGO_DTYPE_F32, &shape));
        for (int side = 0; side < 2; side++) {
            for (int32_t i = 0; i < graph->n_nodes; i++)
                in_set[i] = (i >= cut) == side;
            if (side == 0 && cut == 0)
                continue;
            assert_ok(lg_graph_subgraph(&part, graph, in_set, &inputs, &outputs));
            assert_ok(lg_graph_validate(part));
            assert_ok(LG_CALLOC(&made, part->n_outputs));
            for (int32_t i = 0; i < part->n_inputs; i++) {
                assert_string_equal(part->values[part->inputs[i]].name, graph->values[inputs[i]].name);
                inputs[i] = values[inputs[i]];
            }
            assert_ok(lg_graph_inline(rebuilt, part, inputs, made, side));
            for (int32_t i = 0; i < part->n_outputs; i++) {
                assert_string_equal(part->values[part->outputs[i]].name, graph->values[outputs[i]].name);
                values[outputs[i]] = made[i];
            }
            lg_free(inputs);
            lg_free(outputs);
            lg_free(made);
            lg_graph_free(part);
        }
        assert_ok(lg_graph_add_output(rebuilt, values[graph->outputs[0]]));
        assert_ok(lg_graph_validate(rebuilt));
        assert_int_equal(rebuilt->n_nodes, graph->n_nodes);
        for (int32_t i = 0; i < rebuilt->n_nodes; i++) {
            assert_int_equal(rebuilt->nodes[i].block, i >= cut);
            rebuilt->nodes[i].block = LG_NONE;
        }
        assert_same_graph(graph, rebuilt);
        for (int32_t i = 0; i < graph->n_weights; i++)
            assert_ptr_equal(graph->weights[i].tensor.buffer, rebuilt->weights[i].tensor.buffer);
        lg_free(in_set);
        lg_free(values);
        lg_graph_free(rebuilt);
        lg_graph_free(graph);
    }
}

static void test_graph__inline_refuses_other_shapes_and_other_weights(void **state)
{
    lg_graph *graph = residual_graph(), *part, *other, *copy;
    uint8_t in_set[5] = { 1, 1, 1, 1, 0 };
    int32_t outputs[4];

    assert_ok(lg_graph_subgraph(&part, graph, in_set, NULL, NULL));
    assert_ok(lg_graph_clone(&copy, graph));
    assert_fails(LEGO_EINVAL, lg_graph_inline(copy, part, (int32_t[]){ 1 }, outputs, 0)); /* conv0: 5 channels */
    assert_says("'input'");
    lg_graph_free(copy);
    assert_ok(lg_graph_clone(&copy, graph));
    assert_ok(lg_graph_clone(&other, part));
    lg_tensor_dispose(&other->weights[0].tensor);
    assert_ok(lg_tensor_copy(&other->weights[0].tensor, &part->weights[0].tensor));
    assert_fails(LEGO_EINVAL, lg_graph_inline(copy, other, copy->inputs, outputs, 0));
    assert_says("two different weights");
    lg_graph_free(copy);
    lg_graph_free(other);
    lg_graph_free(part);
    lg_graph_free(graph);
}

static void test_graph__frame_holds_blocks_and_round_trips(void **state)
{
    lg_graph *graph = residual_graph(), *frame, *again;
    const int32_t block_of[5] = { 0, 0, 0, 0, LG_NONE };
    const char *names[] = { "b0" };

    assert_ok(lg_graph_frame(&frame, graph, block_of, 1, names));
    assert_int_equal(frame->n_nodes, 2);
    const lg_node *block = &frame->nodes[0];
    assert_int_equal(block->op->kind, LG_OP_BLOCK);
    assert_string_equal(block->name, "b0");
    assert_string_equal(frame->values[block->inputs[0]].name, "input");
    assert_string_equal(frame->values[block->outputs[0]].name, "conv3");
    assert_int_equal(frame->values[block->outputs[0]].shape.dims[1], 4);
    assert_ok(lg_graph_save(frame, in_folder(state, "f.safetensors"), NULL));
    assert_ok(lg_graph_load(&again, in_folder(state, "f.safetensors")));
    assert_same_graph(frame, again);
    lg_graph_free(again);
    lg_graph_free(frame);

    const int32_t bad[5] = { 0, LG_NONE, 0, 0, LG_NONE }; /* bn1 between: not convex */
    assert_fails(LEGO_EINVAL, lg_graph_frame(&frame, graph, bad, 1, names));
    assert_says("convex");
    lg_graph_free(graph);
}

static void test_graph__initialisation_is_seeded_by_name(void **state)
{
    lg_graph *graph = residual_graph(), *other;
    const int32_t conv = lg_graph_find_weight(graph, "conv0.weight");
    const int32_t var = lg_graph_find_weight(graph, "bn1.running_var");
    double sum = 0.0;

    assert_ok(lg_graph_clone(&other, graph));
    assert_ok(lg_graph_initialize(graph, 5));
    assert_ok(lg_graph_initialize(other, 5));
    assert_same_graph(graph, other);
    assert_ok(lg_graph_initialize(other, 6));
    assert_true(memcmp(lg_tensor_data(&graph->weights[conv].tensor), lg_tensor_data(&other->weights[conv].tensor),
                       180 * 4) != 0);
    for (int i = 0; i < 5; i++)
        assert_true(((float *)lg_tensor_data(&graph->weights[var].tensor))[i] == 1.0f);
    for (int i = 0; i < 180; i++)
        sum += pow(((float *)lg_tensor_data(&graph->weights[conv].tensor))[i], 2);
    assert_near(sqrt(sum / 180), sqrt(2.0 / 45.0), 0.0, 0.2); /* fan out 5*3*3 */
    lg_graph_free(graph);
    lg_graph_free(other);
}

static void test_graph__non_finite_weights_are_found(void **state)
{
    lg_graph *graph = residual_graph();
    float *data = lg_tensor_data(&graph->weights[lg_graph_find_weight(graph, "conv3.weight")].tensor);

    assert_ok(lg_graph_check_finite(graph));
    data[17] = NAN;
    assert_fails(LEGO_EINVAL, lg_graph_check_finite(graph));
    assert_says("'conv3.weight': element 17 is NaN");
    data[17] = -INFINITY;
    assert_fails(LEGO_EINVAL, lg_graph_check_finite(graph));
    lg_graph_free(graph);
}

static void test_graph__uses_lists_every_consumer(void **state)
{
    lg_graph *graph = residual_graph();
    lg_uses uses;

    assert_ok(lg_graph_uses(&uses, graph));
    assert_int_equal(uses.offsets[graph->inputs[0] + 1] - uses.offsets[graph->inputs[0]], 2);
    assert_int_equal(uses.nodes[uses.offsets[graph->inputs[0]] + 1], 4);
    assert_int_equal(uses.offsets[graph->outputs[0] + 1], uses.offsets[graph->outputs[0]]);
    lg_uses_dispose(&uses);
    lg_graph_free(graph);
}

/* Saving may do without an allocation that only serves durability, so success is allowed at any point. */
#define assert_save_survives_oom(expr)                                        \
    do {                                                                      \
        int delivered_ = 1;                                                   \
        for (long n_ = 0; delivered_; n_++) {                                 \
            lg_alloc_fail_after(n_);                                          \
            lego_status status_ = (expr);                                     \
            delivered_ = lg_alloc_fail_after(-1);                             \
            assert_true(status_ == LEGO_OK || (delivered_ && status_ == LEGO_ENOMEM)); \
        }                                                                     \
    } while (0)

static void test_graph__survives_allocation_failures(void **state)
{
    const char *path = in_folder(state, "m.safetensors"), *json = in_folder(state, "m.json");
    const int32_t block_of[5] = { 0, 0, 0, 0, LG_NONE };
    const char *names[] = { "b0" };
    const uint8_t in_set[5] = { 0, 1, 1, 1, 0 };
    lg_graph *graph = residual_graph(), *made;
    lg_uses uses;

    assert_survives_oom(lg_graph_clone(&made, graph), lg_graph_free(made));
    assert_survives_oom(lg_graph_validate(graph), (void)0);
    assert_survives_oom(lg_graph_uses(&uses, graph), lg_uses_dispose(&uses));
    assert_survives_oom(lg_graph_subgraph(&made, graph, in_set, NULL, NULL), lg_graph_free(made));
    assert_survives_oom(lg_graph_frame(&made, graph, block_of, 1, names), lg_graph_free(made));
    assert_save_survives_oom(lg_graph_save(graph, path, NULL));
    assert_survives_oom(lg_graph_load(&made, path), lg_graph_free(made));
    assert_save_survives_oom(lg_graph_save_json(graph, json));
    assert_survives_oom(lg_graph_load_json(&made, json, 3), lg_graph_free(made));
    assert_survives_oom(lg_graph_initialize(graph, 3), (void)0);
    lg_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph__counts_what_torch_counts),
        cmocka_unit_test(test_graph__shared_weight_counts_once),
        cmocka_unit_test(test_graph__validation_sorts_and_keeps_a_right_order),
        cmocka_unit_test(test_graph__cycles_and_broken_references_are_named),
        cmocka_unit_test(test_graph__very_long_chains_are_sorted),
        cmocka_unit_test(test_graph__failed_add_leaves_the_graph_as_it_was),
        folder_test(test_graph__json_round_trip),
        folder_test(test_graph__file_keeps_extra_metadata),
        folder_test(test_graph__lying_json_is_refused_with_the_place),
        folder_test(test_graph__file_and_graph_must_agree),
        folder_test(test_graph__damaged_files_never_crash),
        cmocka_unit_test(test_graph__subgraph_and_inline_rebuild_the_graph),
        cmocka_unit_test(test_graph__inline_refuses_other_shapes_and_other_weights),
        folder_test(test_graph__frame_holds_blocks_and_round_trips),
        cmocka_unit_test(test_graph__initialisation_is_seeded_by_name),
        cmocka_unit_test(test_graph__non_finite_weights_are_found),
        cmocka_unit_test(test_graph__uses_lists_every_consumer),
        folder_test(test_graph__survives_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
