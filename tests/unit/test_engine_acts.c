/* engine: the exponentials of vector_math.h and every activation of plain C against double precision, over all floats, by
 * every instruction set that the CPU has. */
#include "support/graphs.h"

#include <float.h>

#include "engine/plain.h"
#include "engine/vector_math.h"

/* --- functions --- */

/* Distance in units of the last place of the true value; of results below the normal numbers, in units of the smallest
 * normal number, which they may lose. */
static double error_of(float got, double truth)
{
    const float rounded = (float)truth;
    int exponent;

    if (isnan(truth) || isinf(rounded))
        return isnan(truth) == isnan(got) && (isnan(truth) || got == rounded) ? 0.0 : INFINITY;
    if (fabs(truth) < FLT_MIN)
        return fabs(got - truth) <= (double)FLT_MIN ? 0.0 : INFINITY;
    (void)frexp(rounded, &exponent);
    return fabs(got - truth) / ldexp(1.0, exponent - 24);
}

static double true_share(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

static double true_logistic(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static void test_engine_acts__exponentials_are_exact_to_a_few_places(void **state)
{
    static const struct {
        const char *name;
        float (*function)(float x);
        double (*truth)(double x);
        double limit; /* in units of the last place */
    } functions[] = {
        { "lg_expf", lg_expf, exp, 1.0 },
        { "lg_logisticf", lg_logisticf, true_logistic, 3.0 },
        { "lg_tanhf", lg_tanhf, tanh, 1.5 },
        { "lg_erff", lg_erff, erf, 2.5 },
        { "lg_normal_share", lg_normal_share, true_share, 5.0 },
    };

    for (size_t k = 0; k < sizeof(functions) / sizeof(functions[0]); k++)
        for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 4093) {
            const float x = lg_float_of((uint32_t)bits), y = functions[k].function(x);
            const double error = error_of(y, functions[k].truth(x));
            if (!(error <= functions[k].limit))
                fail_msg("%s(%a) is %a, %g units of the last place off", functions[k].name, (double)x, (double)y, error);
        }
}

/* --- activations --- */

/* act(x) of all values by one instruction set. */
static void run_act(float *y, const float *x, int64_t n, const char *op, const lg_attrs *attrs, lg_isa isa, lg_act *act)
{
    maker m;
    int32_t input;
    lg_program *program;
    lg_plain_call call = { .in = LG_LAYOUT_PLAIN, .out = LG_LAYOUT_PLAIN, .block = 16, .y = y, .n_parts = 1, .isa = isa };

    maker_start(&m, 1);
    assert_ok(lg_graph_add_input(&input, m.graph, "x", LEGO_DTYPE_F32, &(lg_shape){ 1, { n } }));
    maker_finish(&m, make_unary(&m, input, op, attrs));
    assert_ok(lg_program_create(&program, m.graph, 1, 1));
    call.program = program;
    call.step = program->steps;
    call.inputs = &x;
    lg_plain_run(&call);
    *act = program->steps[0].act;
    lg_program_free(program);
    lg_graph_free(m.graph);
}

static void test_engine_acts__every_activation_of_every_float(void **state)
{
    static const struct {
        const char *op;
        lg_attrs attrs;
        double absolute, relative; /* errors; absolute ones where a sum cancels, of the truth's own in double for gelu */
    } acts[] = {
        { "relu", { .gelu = { 0 } }, 0.0, 0.0 },
        { "clip", { .clip = { -0.75, 1.5 } }, 0.0, 0.0 },
        { "leaky_relu", { .leaky_relu = { 0.1 } }, 0.0, 1e-7 },
        { "sigmoid", { .gelu = { 0 } }, 0.0, 3e-7 },
        { "tanh", { .gelu = { 0 } }, 0.0, 2e-7 },
        { "hard_sigmoid", { .hard_sigmoid = { 0.2, 0.5 } }, 1e-7, 2e-7 },
        { "hard_swish", { .gelu = { 0 } }, 5e-7, 2e-7 },
        { "silu", { .gelu = { 0 } }, 1e-35, 3e-7 },
        { "gelu", { .gelu = { 0 } }, 1e-14, 5e-7 },
        { "gelu", { .gelu = { 1 } }, 1e-14, 5e-6 },
    };
    enum { STEP = 32749, N = (int)(UINT32_MAX / STEP) + 1 };
    float *x = calloc(N, sizeof(*x)), *y = calloc(N, sizeof(*y));

    assert_true(x != NULL && y != NULL);
    for (int64_t i = 0; i < N; i++)
        x[i] = lg_float_of((uint32_t)(i * STEP));
    for (size_t k = 0; k < sizeof(acts) / sizeof(acts[0]); k++)
        for (int isa = 0; isa <= (int)lg_kernels_isa(); isa++) {
            lg_act act;
            run_act(y, x, N, acts[k].op, &acts[k].attrs, (lg_isa)isa, &act);
            for (int64_t i = 0; i < N; i++) {
                const float expected = lg_act_apply(&act, x[i]);
                if (isnan(expected) || isinf(expected)
                        ? isnan(expected) != isnan(y[i]) || (isinf(expected) && y[i] != expected)
                        : !(fabs((double)y[i] - expected) <=
                            acts[k].relative * fabs(expected) + acts[k].absolute + (double)FLT_MIN))
                    fail_msg("%s by instruction set %d: act(%a) is %a instead of %a", acts[k].op, isa, (double)x[i],
                             (double)y[i], (double)expected);
            }
        }
    free(x);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_acts__exponentials_are_exact_to_a_few_places),
        cmocka_unit_test(test_engine_acts__every_activation_of_every_float),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
