/* zoo/: parameters and MACs equal to the reference's table and torchvision's, names as PyTorch's, options, errors. */
#include "support/support.h"

#include "graph/channels.h"
#include "graph/ops.h"
#include "legodnn/model.h"
#include "zoo/family.h"

/* Without initialisation: structure is what these tests are about. */
static lego_model *build(const char *name, const lego_zoo_options *options)
{
    lg_graph *graph;
    lego_model *model;

    assert_ok(lg_zoo_graph(&graph, name, options));
    assert_ok(lg_model_from_graph(&model, graph));
    return model;
}

static void test_zoo__counts_equal_the_published_ones(void **state)
{
    static const struct {
        const char *name;
        int64_t parameters;
        double mega_macs;
    } published[] = {
        { "resnet18-cifar", 11220132, 555.5 },    { "mobilenet_v2-cifar", 8953188, 338.6 },
        { "resnext29-cifar", 4866468, 772.6 },    { "resnet18", 11689512, 1814.1 },
        { "resnet34", 21797672, 3663.8 },         { "resnet50", 25557032, 4089.2 },
        { "resnet101", 44549160, 7801.4 },        { "mobilenet_v2", 3504872, 300.8 },
        { "resnext50_32x4d", 25028904, 4230.5 },
    };

    for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
        lego_model *model = build(published[i].name, NULL);
        lego_model_info info;

        assert_ok(lego_model_get_info(&info, model));
        if (info.n_parameters != published[i].parameters)
            fail_msg("%s: %lld parameters, %lld published", published[i].name, (long long)info.n_parameters,
                     (long long)published[i].parameters);
        assert_near((double)info.n_macs / 1e6, published[i].mega_macs, 0.06, 0.0);
        lego_model_free(model);
    }
}

static void test_zoo__every_name_builds_and_has_its_line(void **state)
{
    const lego_zoo_options small = { sizeof(small), 4, 7, { 1, 64, 64 }, 0, 0.0 };
    const lego_zoo_options narrow = { sizeof(narrow), 0, 7, { 1, 64, 64 }, 0, 0.1 };
    size_t n = 0;

    for (; lego_zoo_name(n); n++) {
        lego_model *model;
        int n_dims;
        int64_t dims[LEGO_MAX_DIMS];

        assert_ok(lego_zoo_build(&model, NULL, lego_zoo_name(n),
                                 strstr(lego_zoo_name(n), "mobilenet") ? &narrow : &small));

        assert_true(strlen(lego_zoo_summary(n)) > 10);
        assert_ok(lego_model_input_shape(model, 0, &n_dims, dims));
        assert_int_equal(n_dims, 4);
        assert_int_equal(dims[1], 1);
        assert_ok(lego_model_output_shape(model, 0, &n_dims, dims));
        assert_int_equal(n_dims, 2);
        assert_int_equal(dims[0], 1);
        assert_int_equal(dims[1], 7);
        assert_ok(lg_graph_check_finite(model->graph));
        lego_model_free(model);
    }
    assert_true(n >= 10);
    assert_null(lego_zoo_summary(n));
}

static void assert_weight(const lego_model *model, const char *name, int n_dims, const int64_t *dims)
{
    const int32_t weight = lg_graph_find_weight(model->graph, name);
    const lg_shape wanted = lg_shape_make(n_dims, dims);

    if (weight == LG_NONE)
        fail_msg("no weight '%s'", name);
    assert_true(lg_shape_equal(&model->graph->weights[weight].tensor.shape, &wanted));
}

static void test_zoo__names_are_pytorch_state_dict_names(void **state)
{
    lego_model *model = build("resnet50", NULL);

    assert_weight(model, "conv1.weight", 4, (int64_t[]){ 64, 3, 7, 7 });
    assert_weight(model, "bn1.running_var", 1, (int64_t[]){ 64 });
    assert_weight(model, "layer1.0.downsample.0.weight", 4, (int64_t[]){ 256, 64, 1, 1 });
    assert_weight(model, "layer1.0.downsample.1.running_mean", 1, (int64_t[]){ 256 });
    assert_weight(model, "layer3.5.conv2.weight", 4, (int64_t[]){ 256, 256, 3, 3 });
    assert_weight(model, "layer4.2.bn3.bias", 1, (int64_t[]){ 2048 });
    assert_weight(model, "fc.weight", 2, (int64_t[]){ 1000, 2048 });
    assert_int_equal(model->graph->n_weights, 267); /* torchvision's 320 less its 53 num_batches_tracked */
    lego_model_free(model);

    model = build("mobilenet_v2", NULL);
    assert_weight(model, "features.0.0.weight", 4, (int64_t[]){ 32, 3, 3, 3 });
    assert_weight(model, "features.1.conv.0.0.weight", 4, (int64_t[]){ 32, 1, 3, 3 });
    assert_weight(model, "features.1.conv.1.weight", 4, (int64_t[]){ 16, 32, 1, 1 });
    assert_weight(model, "features.1.conv.2.running_mean", 1, (int64_t[]){ 16 });
    assert_weight(model, "features.2.conv.0.0.weight", 4, (int64_t[]){ 96, 16, 1, 1 });
    assert_weight(model, "features.2.conv.1.1.bias", 1, (int64_t[]){ 96 });
    assert_weight(model, "features.2.conv.2.weight", 4, (int64_t[]){ 24, 96, 1, 1 });
    assert_weight(model, "features.17.conv.3.weight", 1, (int64_t[]){ 320 });
    assert_weight(model, "features.18.0.weight", 4, (int64_t[]){ 1280, 320, 1, 1 });
    assert_weight(model, "classifier.1.weight", 2, (int64_t[]){ 1000, 1280 });
    lego_model_free(model);

    model = build("resnext50_32x4d", NULL);
    assert_weight(model, "layer1.0.conv2.weight", 4, (int64_t[]){ 128, 4, 3, 3 });
    assert_weight(model, "layer4.2.conv2.weight", 4, (int64_t[]){ 1024, 32, 3, 3 });
    lego_model_free(model);

    model = build("resnet18-cifar", NULL);
    assert_weight(model, "conv1.weight", 4, (int64_t[]){ 64, 3, 3, 3 });
    assert_weight(model, "layer2.0.shortcut.0.weight", 4, (int64_t[]){ 128, 64, 1, 1 });
    assert_weight(model, "linear.bias", 1, (int64_t[]){ 100 });
    lego_model_free(model);

    model = build("mobilenet_v2-cifar", NULL);
    assert_weight(model, "features.1.conv.0.weight", 4, (int64_t[]){ 64, 1, 3, 3 });
    assert_weight(model, "features.1.conv.3.weight", 4, (int64_t[]){ 32, 64, 1, 1 });
    assert_weight(model, "features.2.conv.6.weight", 4, (int64_t[]){ 48, 192, 1, 1 });
    assert_weight(model, "conv.0.weight", 4, (int64_t[]){ 2560, 640, 1, 1 });
    assert_weight(model, "classifier.weight", 2, (int64_t[]){ 100, 2560 });
    lego_model_free(model);

    model = build("resnext29-cifar", NULL);
    assert_weight(model, "conv1.weight", 4, (int64_t[]){ 64, 3, 1, 1 });
    assert_weight(model, "layer3.0.conv2.weight", 4, (int64_t[]){ 512, 16, 3, 3 });
    assert_weight(model, "layer3.0.shortcut.0.weight", 4, (int64_t[]){ 1024, 512, 1, 1 });
    lego_model_free(model);
}

static void test_zoo__width_classes_and_input_scale(void **state)
{
    lego_zoo_options options = LEGO_ZOO_OPTIONS_INIT;
    lego_model *model;

    options.width = 16;
    options.classes = 10;
    options.input[0] = 1;
    model = build("resnet18-cifar", &options);
    assert_weight(model, "conv1.weight", 4, (int64_t[]){ 16, 1, 3, 3 });
    assert_weight(model, "layer4.1.conv2.weight", 4, (int64_t[]){ 128, 128, 3, 3 });
    assert_weight(model, "linear.weight", 2, (int64_t[]){ 10, 128 });
    lego_model_free(model);
    model = build("resnext29-cifar", &options); /* fewer groups, as wide as before */
    assert_weight(model, "layer1.0.conv2.weight", 4, (int64_t[]){ 32, 4, 3, 3 });
    lego_model_free(model);
    options.width = 0;
    options.width_mult = 0.5;
    model = build("mobilenet_v2-cifar", &options);
    assert_weight(model, "features.0.0.weight", 4, (int64_t[]){ 16, 1, 3, 3 });
    assert_weight(model, "conv.0.weight", 4, (int64_t[]){ 1280, 160, 1, 1 });
    lego_model_free(model);
}

static void test_zoo__bad_options_are_refused(void **state)
{
    lego_zoo_options options = LEGO_ZOO_OPTIONS_INIT;
    lego_model *model;

    assert_fails(LEGO_ENOTFOUND, lego_zoo_build(&model, NULL, "resnet19", NULL));
    assert_says("resnet18-cifar");
    assert_null(model);
    assert_fails(LEGO_EINVAL, lego_zoo_build(NULL, NULL, "resnet18", NULL));
    options.width = -1;
    assert_fails(LEGO_EINVAL, lego_zoo_build(&model, NULL, "resnet18", &options));
    assert_says("width -1");
    options.width = 7;
    assert_fails(LEGO_EINVAL, lego_zoo_build(&model, NULL, "resnext29-cifar", &options));
    assert_fails(LEGO_EINVAL, lego_zoo_build(&model, NULL, "mobilenet_v2", &options));
    assert_says("multiplier");
    options.width = 0;
    options.width_mult = 0.0 / 0.0;
    assert_fails(LEGO_EINVAL, lego_zoo_build(&model, NULL, "mobilenet_v2", &options));
    options.width_mult = 0.0;
    options.input[1] = 1000000;
    assert_fails(LEGO_EINVAL, lego_zoo_build(&model, NULL, "resnet18", &options));
    options.input[1] = 0;
    options.struct_size = 0;
    assert_fails(LEGO_EINVAL, lego_zoo_build(&model, NULL, "resnet18", &options));
}

static void test_zoo__only_interfaces_and_spatial_axes_are_frozen(void **state)
{
    static const struct {
        const char *name;
        size_t n_free; /* coupled groups inside the whole model */
    } known[] = {
        /* each unit's inside, and one a stage for the channels that the sums tie together */
        { "resnet18-cifar", 8 + 4 },
        { "resnet50-cifar", 2 * 16 + 1 + 4 }, /* the stem's 64 go into no sum */
        { "resnext29-cifar", 2 * 9 + 1 + 3 },
        { "mobilenet_v2-cifar", 17 + 7 + 1 }, /* stem + unit 1: one group; 16 insides; 7 stages; the last conv */
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        lego_model *model = build(known[i].name, NULL);
        lg_channels *channels;
        size_t n_free = 0;

        assert_ok(lg_channels_analyze(&channels, model->graph, 1));
        for (size_t g = 0; g < lg_channels_n_groups(channels); g++) {
            const char *frozen = lg_channels_group(channels, g)->frozen;
            n_free += frozen == NULL;
            assert_true(frozen == NULL || strcmp(frozen, "interface of the block") == 0);
        }
        if (n_free != known[i].n_free)
            fail_msg("%s: %zu free groups, %zu expected", known[i].name, n_free, known[i].n_free);
        lg_channels_free(channels);
        lego_model_free(model);
    }
}

static void test_zoo__seed_of_the_context_decides_the_weights(void **state)
{
    const lego_zoo_options options = { sizeof(options), 4, 0, { 0, 0, 0 }, 0, 0.0 };
    lego_context *context;
    lego_model *a, *b;

    assert_ok(lego_context_create(&context));
    assert_ok(lego_zoo_build(&a, context, "resnet10-cifar", &options));
    assert_ok(lego_context_set_seed(context, 1));
    assert_ok(lego_zoo_build(&b, context, "resnet10-cifar", &options));
    assert_memory_not_equal(lg_tensor_data(&a->graph->weights[0].tensor), lg_tensor_data(&b->graph->weights[0].tensor),
                            lg_tensor_bytes(&a->graph->weights[0].tensor));
    lego_model_free(a);
    lego_model_free(b);
    lego_context_free(context);
}

static void test_zoo__survives_allocation_failures(void **state)
{
    const lego_zoo_options options = { sizeof(options), 2, 0, { 0, 0, 0 }, 0, 0.0 };
    lego_model *model;

    assert_survives_oom(lego_zoo_build(&model, NULL, "resnet10-cifar", &options), lego_model_free(model));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zoo__counts_equal_the_published_ones),
        cmocka_unit_test(test_zoo__every_name_builds_and_has_its_line),
        cmocka_unit_test(test_zoo__names_are_pytorch_state_dict_names),
        cmocka_unit_test(test_zoo__width_classes_and_input_scale),
        cmocka_unit_test(test_zoo__bad_options_are_refused),
        cmocka_unit_test(test_zoo__only_interfaces_and_spatial_axes_are_frozen),
        cmocka_unit_test(test_zoo__seed_of_the_context_decides_the_weights),
        cmocka_unit_test(test_zoo__survives_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
