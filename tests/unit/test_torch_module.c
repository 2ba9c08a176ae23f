/* torch/: the module's calls against double-precision references, the allocator, devices and missing modules. */
#include "support/support.h"

#include <math.h>

#include "base/context.h"
#include "base/rng.h"
#include "torch/torch.h"

static const lg_torch_api *api;

#define assert_torch(call) assert_ok(lg_torch_check(api, api->call, NULL))

static int load(void **state)
{
    return lg_torch_open(&api, NULL, "cpu") == LEGO_OK ? 0 : -1;
}

static lg_torch_tensor *tensor(int n_dims, const int64_t *dims, const float *data)
{
    lg_torch_tensor *out;

    assert_torch(tensor_from_host(&out, LEGO_DTYPE_F32, n_dims, dims, data, "cpu"));
    return out;
}

static void fill(lg_rng *rng, float *data, int64_t n, double scale)
{
    for (int64_t i = 0; i < n; i++)
        data[i] = (float)(scale * lg_rng_normal(rng));
}

static void read_back(const lg_torch_tensor *t, float *data, int64_t n)
{
    assert_torch(tensor_to_host(t, data, (size_t)n * sizeof(float)));
}

/* x (N,C,H,W), w (K,C/G,R,S) in double. */
static double conv_at(const float *x, const float *w, const float *b, const int64_t *xd, const int64_t *wd,
                      const lg_torch_window *o, int64_t n, int64_t k, int64_t p, int64_t q)
{
    const int64_t group = k / (wd[0] / o->groups);
    double sum = b ? b[k] : 0.0;

    for (int64_t c = 0; c < wd[1]; c++)
        for (int64_t r = 0; r < wd[2]; r++)
            for (int64_t s = 0; s < wd[3]; s++) {
                const int64_t y = p * o->stride[0] - o->pads[0] + r * o->dilation[0];
                const int64_t z = q * o->stride[1] - o->pads[1] + s * o->dilation[1];

                if (y >= 0 && y < xd[2] && z >= 0 && z < xd[3])
                    sum += (double)x[((n * xd[1] + group * wd[1] + c) * xd[2] + y) * xd[3] + z] *
                           w[((k * wd[1] + c) * wd[2] + r) * wd[3] + s];
            }
    return sum;
}

static void check_conv(lg_rng *rng, const int64_t xd[4], const int64_t wd[4], lg_torch_window window)
{
    float x[4096], w[4096], b[64], y[8192];
    int64_t yd[LEGO_MAX_DIMS];
    int n_dims;
    lg_torch_tensor *tx, *tw, *tb, *ty;

    fill(rng, x, xd[0] * xd[1] * xd[2] * xd[3], 1.0);
    fill(rng, w, wd[0] * wd[1] * wd[2] * wd[3], 1.0);
    fill(rng, b, wd[0], 1.0);
    tx = tensor(4, xd, x);
    tw = tensor(4, wd, w);
    tb = tensor(1, wd, b);
    assert_torch(conv(&ty, tx, tw, tb, &window));
    assert_torch(tensor_shape(ty, &n_dims, yd));
    read_back(ty, y, yd[0] * yd[1] * yd[2] * yd[3]);
    for (int64_t n = 0, i = 0; n < yd[0]; n++)
        for (int64_t k = 0; k < yd[1]; k++)
            for (int64_t p = 0; p < yd[2]; p++)
                for (int64_t q = 0; q < yd[3]; q++, i++)
                    assert_near(y[i], conv_at(x, w, b, xd, wd, &window, n, k, p, q), 1e-4, 1e-4);
    lg_torch_free_all(api, (lg_torch_tensor *[]){ tx, tw, tb, ty }, 4);
}

static void test_torch_module__convolution_equals_a_double_reference(void **state)
{
    lg_rng rng;

    lg_rng_init(&rng, 1, 0);
    check_conv(&rng, (int64_t[]){ 2, 3, 7, 5 }, (int64_t[]){ 4, 3, 3, 3 },
               (lg_torch_window){ .stride = { 1, 1 }, .pads = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1 });
    check_conv(&rng, (int64_t[]){ 1, 4, 9, 8 }, (int64_t[]){ 6, 2, 3, 1 },
               (lg_torch_window){ .stride = { 2, 1 }, .pads = { 1, 0 }, .dilation = { 2, 1 }, .groups = 2 });
    check_conv(&rng, (int64_t[]){ 1, 5, 6, 6 }, (int64_t[]){ 5, 1, 3, 3 },
               (lg_torch_window){ .stride = { 2, 2 }, .pads = { 1, 1 }, .dilation = { 1, 1 }, .groups = 5 });
}

static void test_torch_module__folded_batch_norm_equals_the_two_ops(void **state)
{
    const int64_t xd[4] = { 2, 3, 6, 6 }, wd[4] = { 5, 3, 3, 3 }, c = 5;
    const lg_torch_window window = { .stride = { 1, 1 }, .pads = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1 };
    float data[6][360], y[360], folded[360];
    lg_torch_tensor *x, *w, *gamma, *beta, *mean, *var, *fw, *fb, *conv, *normed, *once;
    lg_rng rng;

    lg_rng_init(&rng, 2, 0);
    for (int i = 0; i < 6; i++)
        fill(&rng, data[i], 360, 1.0);
    for (int i = 0; i < c; i++)
        data[5][i] = 0.3f + fabsf(data[5][i]);
    x = tensor(4, xd, data[0]);
    w = tensor(4, wd, data[1]);
    gamma = tensor(1, &c, data[2]);
    beta = tensor(1, &c, data[3]);
    mean = tensor(1, &c, data[4]);
    var = tensor(1, &c, data[5]);
    assert_torch(conv(&conv, x, w, NULL, &window));
    assert_torch(batch_norm(&normed, conv, gamma, beta, mean, var, 0, 0.1, 1e-5));
    assert_torch(fold_batch_norm(&fw, &fb, w, NULL, gamma, beta, mean, var, 1e-5));
    assert_torch(conv(&once, x, fw, fb, &window));
    read_back(normed, y, 360);
    read_back(once, folded, 360);
    for (int i = 0; i < 360; i++)
        assert_near(folded[i], y[i], 1e-4, 1e-4);
    lg_torch_free_all(api, (lg_torch_tensor *[]){ x, w, gamma, beta, mean, var, fw, fb, conv, normed, once }, 11);
}

/* Quadratic loss: mean over 4 elements of (w - target)^2, gradient (w - target) / 2. */
static void quadratic_backward(const lg_torch_tensor *w, const lg_torch_tensor *target)
{
    lg_torch_tensor *loss;

    assert_torch(distance(&loss, LG_TORCH_MSE, w, target));
    assert_torch(backward(loss));
    api->tensor_free(loss);
}

static void test_torch_module__sgd_equals_a_double_reference(void **state)
{
    const int64_t n = 4;
    const float start[4] = { 1.f, -2.f, 0.5f, 3.f }, goal[4] = { 0.f, 1.f, 0.25f, -1.f };

    for (int nesterov = 0; nesterov < 2; nesterov++) {
        double w[4], v[4] = { 0 };
        float got[4];
        lg_torch_tensor *tw = tensor(1, &n, start), *tg = tensor(1, &n, goal), *tv;

        assert_torch(tensor_set_trainable(tw, 1));
        assert_torch(tensor_zeros_like(&tv, tw));
        for (int i = 0; i < 4; i++)
            w[i] = start[i];
        for (int step = 0; step < 5; step++) {
            quadratic_backward(tw, tg);
            assert_torch(sgd_step(1, &tw, &tv, &(double){ 0.01 }, 0.1, 0.9, nesterov));
            for (int i = 0; i < 4; i++) {
                const double g = (w[i] - goal[i]) / 2 + 0.01 * w[i];

                v[i] = 0.9 * v[i] + g;
                w[i] -= 0.1 * (nesterov ? g + 0.9 * v[i] : v[i]);
            }
        }
        read_back(tw, got, 4);
        for (int i = 0; i < 4; i++)
            assert_near(got[i], w[i], 1e-6, 1e-6);
        lg_torch_free_all(api, (lg_torch_tensor *[]){ tw, tg, tv }, 3);
    }
}

static void test_torch_module__adam_equals_a_double_reference(void **state)
{
    const int64_t n = 4;
    const float start[4] = { 1.f, -2.f, 0.5f, 3.f }, goal[4] = { 0.f, 1.f, 0.25f, -1.f };
    const double max_norm = 0.5;
    double w[4], m[4] = { 0 }, v[4] = { 0 }, norm = 0.0;
    float got[4];
    lg_torch_tensor *tw = tensor(1, &n, start), *tg = tensor(1, &n, goal), *tm, *tv;

    assert_torch(tensor_set_trainable(tw, 1));
    assert_torch(tensor_zeros_like(&tm, tw));
    assert_torch(tensor_zeros_like(&tv, tw));
    for (int i = 0; i < 4; i++)
        w[i] = start[i];
    for (int step = 1; step <= 6; step++) {
        const lg_torch_adam adam = { 0.05, 0.9, 0.999, 1e-8, max_norm, step };
        double g[4], square = 0.0;

        quadratic_backward(tw, tg);
        assert_torch(adam_step(&norm, 1, &tw, &tm, &tv, &adam));
        for (int i = 0; i < 4; i++) {
            g[i] = (w[i] - goal[i]) / 2;
            square += g[i] * g[i];
        }
        assert_near(norm, sqrt(square), 1e-6, 1e-6);
        for (int i = 0; i < 4; i++) {
            g[i] *= sqrt(square) > max_norm ? max_norm / sqrt(square) : 1.0;
            m[i] = 0.9 * m[i] + 0.1 * g[i];
            v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
            w[i] -= 0.05 * (m[i] / (1 - pow(0.9, step))) / (sqrt(v[i] / (1 - pow(0.999, step))) + 1e-8);
        }
    }
    read_back(tw, got, 4);
    for (int i = 0; i < 4; i++)
        assert_near(got[i], w[i], 1e-5, 1e-5);
    lg_torch_free_all(api, (lg_torch_tensor *[]){ tw, tg, tm, tv }, 4);
}

static void test_torch_module__adam_refuses_a_gradient_that_is_not_finite(void **state)
{
    const int64_t n = 2;
    const lg_torch_adam adam = { 0.05, 0.9, 0.999, 1e-8, 1.0, 1 };
    lg_torch_tensor *w = tensor(1, &n, (float[]){ 1.f, 2.f }), *m, *v;
    lg_torch_tensor *goal = tensor(1, &n, (float[]){ 1.f, NAN });
    double norm = 0.0;
    float got[2];

    assert_torch(tensor_set_trainable(w, 1));
    assert_torch(tensor_zeros_like(&m, w));
    assert_torch(tensor_zeros_like(&v, w));
    quadratic_backward(w, goal);
    assert_torch(adam_step(&norm, 1, &w, &m, &v, &adam));
    assert_false(isfinite(norm));
    read_back(w, got, 2);
    assert_true(got[0] == 1.f && got[1] == 2.f);
    read_back(m, got, 2);
    assert_true(got[0] == 0.f && got[1] == 0.f);
    lg_torch_free_all(api, (lg_torch_tensor *[]){ w, m, v, goal }, 4);
}

static void test_torch_module__label_smoothing_equals_a_double_reference(void **state)
{
    const int64_t dims[2] = { 2, 3 }, n = 2, labels[2] = { 2, 0 };
    const float logits[6] = { 0.3f, -1.f, 2.f, 0.f, 1.f, 0.5f };
    lg_torch_tensor *x = tensor(2, dims, logits), *y, *loss;
    double want = 0.0, got = 0.0;
    int64_t correct = -1;

    assert_torch(tensor_from_host(&y, LEGO_DTYPE_I64, 1, &n, labels, "cpu"));
    assert_torch(cross_entropy(&loss, x, y, 0.1));
    assert_torch(tensor_item(&got, loss));
    assert_torch(count_correct(&correct, x, y));
    for (int i = 0; i < 2; i++) {
        double sum = 0.0;

        for (int k = 0; k < 3; k++)
            sum += exp(logits[3 * i + k]);
        for (int k = 0; k < 3; k++)
            want -= ((k == labels[i] ? 0.9 : 0.0) + 0.1 / 3) * (logits[3 * i + k] - log(sum)) / 2;
    }
    assert_near(got, want, 1e-6, 1e-6);
    assert_int_equal(correct, 1);
    lg_torch_free_all(api, (lg_torch_tensor *[]){ x, y, loss }, 3);
}

static void test_torch_module__bf16_batch_norm_trains(void **state)
{
    const int64_t xd[4] = { 4, 3, 5, 5 }, c = 3;
    float data[300], ones[3] = { 1, 1, 1 }, zeros[3] = { 0 };
    lg_torch_tensor *f32, *x, *gamma = tensor(1, &c, ones), *beta = tensor(1, &c, zeros);
    lg_torch_tensor *mean = tensor(1, &c, zeros), *var = tensor(1, &c, ones), *y, *zero, *loss, *grad;
    lg_rng rng;

    lg_rng_init(&rng, 3, 0);
    fill(&rng, data, 300, 2.0);
    f32 = tensor(4, xd, data);
    assert_torch(tensor_cast(&x, f32, LEGO_DTYPE_BF16, LG_TORCH_CHANNELS_LAST));
    assert_torch(tensor_set_trainable(gamma, 1));
    assert_torch(batch_norm(&y, x, gamma, beta, mean, var, 1, 0.1, 1e-5));
    assert_torch(tensor_zeros_like(&zero, y));
    assert_torch(distance(&loss, LG_TORCH_MSE, y, zero));
    assert_torch(backward(loss));
    assert_torch(tensor_grad(&grad, gamma));
    assert_non_null(grad); /* d mean(gamma^2 xhat^2) / d gamma = 2/3 a channel */
    read_back(grad, data, 3);
    assert_near(data[0], 2.0 / 3.0, 0.01, 0.01);
    lg_torch_free_all(api, (lg_torch_tensor *[]){ f32, x, gamma, beta, mean, var, y, zero, loss, grad }, 10);
}

static void test_torch_module__allocator_keeps_and_trims(void **state)
{
    const int64_t n = 4 << 20;
    size_t used_before = 0, used = 0, cached = 0;
    float *data = calloc((size_t)n, sizeof(float));
    lg_torch_tensor *t;

    assert_torch(allocator_trim());
    assert_torch(allocator_stats(&used_before, &cached));
    assert_int_equal(cached, 0);
    t = tensor(1, &n, data);
    assert_torch(allocator_stats(&used, &cached));
    assert_true(used - used_before >= (size_t)n * 4);
    api->tensor_free(t);
    assert_torch(allocator_stats(&used, &cached));
    assert_int_equal(used, used_before);
    assert_true(cached >= (size_t)n * 4);
    t = tensor(1, &(int64_t){ n * 9 / 10 }, data); /* within 25 %: served from the cache */
    assert_torch(allocator_stats(&used, &cached));
    assert_int_equal(cached, 0);
    api->tensor_free(t);
    assert_torch(allocator_trim());
    assert_torch(allocator_stats(&used, &cached));
    assert_int_equal(cached, 0);
    free(data);
}

static void test_torch_module__failures_say_what_was_wrong(void **state)
{
    const int64_t n = 4, m = 3;
    float data[4] = { 0 };
    lg_torch_tensor *a = tensor(1, &n, data), *b = tensor(1, &m, data), *c;
    const lg_torch_api *other;

    assert_fails(LEGO_EBACKEND, LG_TORCH(api, add(&c, a, b, 0)));
    assert_null(c);
    assert_says("libtorch: ");
    assert_null(strchr(lego_last_error(), '\n'));
    assert_fails(LEGO_EINVAL, lg_torch_open(&other, NULL, "tpu"));
    assert_says("device 'tpu'");
    if (lg_torch_open(&other, NULL, "cuda") != LEGO_OK)
        assert_says("device 'cuda'");
    assert_fails(LEGO_EINVAL, LG_TORCH(api, tensor_to_host(a, data, 3)));
    lg_torch_free_all(api, (lg_torch_tensor *[]){ a, b }, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch_module__convolution_equals_a_double_reference),
        cmocka_unit_test(test_torch_module__folded_batch_norm_equals_the_two_ops),
        cmocka_unit_test(test_torch_module__sgd_equals_a_double_reference),
        cmocka_unit_test(test_torch_module__adam_equals_a_double_reference),
        cmocka_unit_test(test_torch_module__adam_refuses_a_gradient_that_is_not_finite),
        cmocka_unit_test(test_torch_module__label_smoothing_equals_a_double_reference),
        cmocka_unit_test(test_torch_module__bf16_batch_norm_trains),
        cmocka_unit_test(test_torch_module__allocator_keeps_and_trims),
        cmocka_unit_test(test_torch_module__failures_say_what_was_wrong),
    };

    return cmocka_run_group_tests(tests, load, NULL);
}
