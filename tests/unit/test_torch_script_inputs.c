/* TorchScript modules of several inputs: by place, by name, with defaults, by keyword; and those that no shape makes. */
#include "support/scripts.h"

#define MAX_VALUES 4096

static lego_import_input image = { "image", 4, 0, { 1, 3, 6, 5 } }, mask = { "mask", 4, 0, { 1, 1, 6, 5 } },
                         vector = { "v", 2, 0, { 1, 7 } };

static lego_status import_inputs(lego_model **out, const char *path, int64_t n, const lego_import_input *inputs)
{
    lego_import_options options = LEGO_IMPORT_OPTIONS_INIT;

    options.inputs = inputs;
    options.n_inputs = n;
    return lego_model_import(out, NULL, path, &options);
}

/* The graph computes what torch does for inputs of these shapes, in this order. */
static void check(lego_model *model, const char *path, int n, const lego_import_input *const *order)
{
    int64_t dims[4][LEGO_MAX_DIMS], n_want = MAX_VALUES;
    float want[MAX_VALUES], got[MAX_VALUES], *values[4];
    script_input inputs[4];
    const char *error;

    assert_int_equal(model->graph->n_inputs, n);
    for (int i = 0; i < n; i++) {
        int64_t count = 1;

        memcpy(dims[i], order[i]->dims, sizeof(dims[i]));
        dims[i][0] = SCRIPT_SAMPLES;
        for (int k = 0; k < order[i]->n_dims; k++)
            count *= dims[i][k];
        values[i] = random_values(count, 7 + (uint64_t)i);
        inputs[i] = (script_input){ order[i]->n_dims, dims[i], values[i] };
        assert_string_equal(lego_model_input_name(model, i), order[i]->name);
    }
    error = script_run(path, n, inputs, want, &n_want);
    if (error)
        fail_msg("libtorch: %s", error);
    assert_int_equal(n_want, SCRIPT_SAMPLES * lg_value_elements(&model->graph->values[model->graph->outputs[0]]));
    run_exact_inputs(got, model->graph, (const float *const *)values, SCRIPT_SAMPLES);
    for (int64_t i = 0; i < n_want; i++)
        if (!close_to(got[i], want[i]))
            fail_msg("element %lld is %g, torch has %g", (long long)i, (double)got[i], (double)want[i]);
    for (int i = 0; i < n; i++)
        lg_free(values[i]);
    lego_model_free(model);
}

#define MASKED                                                                              \
    "def forward(self, image, mask, v: Optional[Tensor] = None, gain: float = 2.0):\n"      \
    "    y = torch.conv2d(image, self.w, None, [1, 1], [1, 1]) * mask * gain\n"             \
    "    if v is not None:\n"                                                               \
    "        return torch.flatten(y, 1)[:, :7] - v\n"                                       \
    "    return torch.relu(y) + image[:, 0:1]\n"

static void test_script_inputs__by_place_by_name_and_left_out(void **state)
{
    const char *path = in_folder(state, "m.pt");
    const lego_import_input *const order[] = { &image, &mask, &vector };
    lego_import_input first = image, second = mask;
    lego_model *model;

    first.name = second.name = NULL;
    write_source(path, MASKED, "w:4,3,3,3");
    assert_ok(import_inputs(&model, path, 2, (lego_import_input[]){ first, second }));
    check(model, path, 2, order);
    assert_ok(import_inputs(&model, path, 2, (lego_import_input[]){ mask, image }));
    check(model, path, 2, order);
    assert_ok(import_inputs(&model, path, 2, (lego_import_input[]){ first, mask }));
    check(model, path, 2, order);
    assert_ok(import_inputs(&model, path, 3, (lego_import_input[]){ vector, mask, image }));
    check(model, path, 3, order);
}

static void test_script_inputs__shared_weights_stay_shared(void **state)
{
    const char *path = in_folder(state, "m.pt");
    lego_import_input left = image, right = image;
    const lego_import_input *const order[] = { &left, &right };
    lego_model *model;

    left.name = "left";
    right.name = "right";
    write_source(path,
                 "def forward(self, left, right):\n"
                 "    a = torch.relu(torch.conv2d(left, self.w, self.b))\n"
                 "    b = torch.relu(torch.conv2d(right, self.w, self.b))\n"
                 "    return torch.mean(torch.cat([a * b, a - b], 1), [2, 3])\n",
                 "w:4,3,3,3 b:4");
    assert_ok(import_inputs(&model, path, 2, (lego_import_input[]){ left, right }));
    assert_int_equal(model->graph->n_weights, 2);
    check(model, path, 2, order);
}

static void refuse(const char *path, int64_t n, const lego_import_input *inputs, lego_status status, const char *says,
                   const char *also)
{
    lego_model *model;

    assert_fails(status, import_inputs(&model, path, n, inputs));
    assert_says(says);
    assert_says(also);
}

static void test_script_inputs__what_no_shape_makes_is_refused_with_the_reason(void **state)
{
    const char *path = in_folder(state, "m.pt");
    lego_import_input other = image;

    write_source(path, MASKED, "w:4,3,3,3");
    refuse(path, 1, &image, LEGO_EUNSUPPORTED, "no shape is given for input 'mask'", "forward takes (image: Tensor, mask");
    other.name = "gain";
    refuse(path, 3, (lego_import_input[]){ image, mask, other }, LEGO_EUNSUPPORTED, "input 'gain' is no tensor but float",
           "wrap the module");
    other.name = "picture";
    refuse(path, 3, (lego_import_input[]){ image, mask, other }, LEGO_EUNSUPPORTED, "3 shapes are given for 2 of its inputs",
           "gain: float");
    other.name = "image";
    refuse(path, 3, (lego_import_input[]){ image, mask, other }, LEGO_EUNSUPPORTED, "3 shapes are given for 2", "image");
    write_source(path, "def forward(self, x, n: int):\n    return x * n\n", "");
    other.name = NULL;
    refuse(path, 1, &other, LEGO_EUNSUPPORTED, "input 'n' is no tensor but int", "forward takes (x: Tensor, n: int)");
    write_source(path, "def forward(self, x: List[Tensor]):\n    return x[0] * 2.0\n", "");
    refuse(path, 1, &other, LEGO_EUNSUPPORTED, "input 'x' is no tensor but List[Tensor]", "forward takes");
    write_source(path, "def forward(self, x, ids):\n    return x + torch.embedding(self.w, ids)\n", "w:5,3");
    other = vector;
    other.name = NULL;
    refuse(path, 2, (lego_import_input[]){ other, other }, LEGO_EBACKEND, "to have one of the following scalar types",
           "m.pt");
    other.n_dims = 1;
    refuse(path, 2, (lego_import_input[]){ other, other }, LEGO_EINVAL, "the batch and at least one more axis", "m.pt");
    write_source(path, "def forward(self, x):\n    return x + 1\n", "");
    refuse(path, 2, (lego_import_input[]){ vector, vector }, LEGO_EUNSUPPORTED, "no shape is given for input 'x'", "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_script_inputs__by_place_by_name_and_left_out),
        folder_test(test_script_inputs__shared_weights_stay_shared),
        folder_test(test_script_inputs__what_no_shape_makes_is_refused_with_the_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
