/* Files whose values have the batch elsewhere than in front: attention as torch exports it, windows as Swin has them. The
 * batch is open, 1 or 2 in the file; imported, every file must compute what plain loops do for three samples. */
#include "support/eval.h"
#include "support/onnx_graphs.h"

#define SAMPLES 3
static const int64_t batches[] = { 0, 1, 2 };

/* Fill the shape "%lld..." of a file with this batch: the numbers given, times the batch. */
static const char *shape_text(char text[64], int64_t batch, const char *format)
{
    snprintf(text, 64, format, (long long)batch);
    return text;
}

/* The size of the batch times `factor`, as a list of one, under `name`: as a number, or calculated where it is open. */
static void times_batch(onnx_graph *g, int64_t batch, const char *name, int factor)
{
    char line[96], number[32];

    if (batch > 0) {
        snprintf(number, sizeof(number), "%lld", (long long)batch * factor);
        onnx_ints(g, name, number);
        return;
    }
    snprintf(line, sizeof(line), "%s.factor", name);
    snprintf(number, sizeof(number), "%d", factor);
    onnx_ints(g, line, number);
    snprintf(line, sizeof(line), "Shape x -> %s.shape", name);
    onnx_line(g, line);
    snprintf(line, sizeof(line), "Gather %s.shape zero -> %s.batch axis=0", name, name);
    onnx_line(g, line);
    snprintf(line, sizeof(line), "Mul %s.batch %s.factor -> %s", name, name, name);
    onnx_line(g, line);
}

/* What the imported graph computes for x, in double precision, compared with `want`. */
static void check(const lego_model *model, const double *x, const double *want, int64_t n)
{
    const double *const inputs[] = { x };
    eval_value *values = eval_graph_of(model->graph, inputs, SAMPLES);
    const eval_value *y = &values[model->graph->outputs[0]];

    assert_int_equal(SAMPLES * lg_value_elements(&model->graph->values[model->graph->outputs[0]]), n);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(y->data[i] - want[i]) <= 1e-6 * (1.0 + fabs(want[i]))))
            fail_msg("element %lld is %g, wanted %g", (long long)i, y->data[i], want[i]);
    eval_free(values, model->graph);
}

static void random_numbers(double *x, int64_t n, uint64_t seed)
{
    lg_rng rng;

    lg_rng_init(&rng, seed, 0);
    for (int64_t i = 0; i < n; i++)
        x[i] = lg_rng_normal(&rng);
}

/* --- attention: x (N,L,E) --- */

enum { L = 5, E = 8, HEADS = 2, D = E / HEADS };

static void attention(double *y, const double *x, const float *in, const float *out, const float *bias)
{
    double qkv[L][3 * E], mixed[L][E];

    for (int l = 0; l < L; l++)
        for (int c = 0; c < 3 * E; c++) {
            qkv[l][c] = 0.0;
            for (int e = 0; e < E; e++)
                qkv[l][c] += x[l * E + e] * (double)in[e * 3 * E + c];
        }
    for (int l = 0; l < L; l++)
        for (int h = 0; h < HEADS; h++) {
            double weight[L], sum = 0.0;

            for (int k = 0; k < L; k++) {
                double score = 0.0;
                for (int d = 0; d < D; d++)
                    score += qkv[l][h * D + d] * qkv[k][E + h * D + d];
                sum += weight[k] = exp(score / 2.0);
            }
            for (int d = 0; d < D; d++) {
                mixed[l][h * D + d] = 0.0;
                for (int k = 0; k < L; k++)
                    mixed[l][h * D + d] += weight[k] / sum * qkv[k][2 * E + h * D + d];
            }
        }
    for (int l = 0; l < L; l++)
        for (int c = 0; c < E; c++) {
            y[l * E + c] = x[l * E + c] + (double)bias[c];
            for (int e = 0; e < E; e++)
                y[l * E + c] += mixed[l][e] * (double)out[c * E + e];
        }
}

static void test_onnx__attention_with_the_batch_beside_the_heads(void **state)
{
    static const char *const lines[] = {
        "Transpose x -> t perm=1,0,2", "MatMul t in -> qkv",
        "Concat five heads four -> apart axis=0", "Concat five batch eight -> together axis=0",
        "Concat five batch eight -> whole axis=0",
        "Slice qkv n0 n8 two -> q", "Slice qkv n8 n16 two -> k", "Slice qkv n16 n24 two -> v",
        "Reshape q apart -> q1", "Reshape k apart -> k1", "Reshape v apart -> v1",
        "Transpose q1 -> q2 perm=1,0,2", "Transpose k1 -> k2 perm=1,2,0", "Transpose v1 -> v2 perm=1,0,2",
        "Mul q2 half -> q3", "MatMul q3 k2 -> scores", "Softmax scores -> weights axis=-1",
        "MatMul weights v2 -> mixed", "Transpose mixed -> mixed1 perm=1,0,2", "Reshape mixed1 rows -> mixed2",
        "Gemm mixed2 out bias -> out1 transB=1", "Reshape out1 whole -> out2", "Transpose out2 -> out3 perm=1,0,2",
        "Add x out3 -> y", NULL,
    };

    for (size_t b = 0; b < 3; b++) {
        double x[SAMPLES * L * E], want[SAMPLES * L * E];
        float in[E * 3 * E], out[E * E], bias[E];
        lego_model *model;
        onnx_graph g;
        char text[64];

        onnx_begin(&g, 13, shape_text(text, batches[b], "%lld,5,8"));
        onnx_ints(&g, "zero", "0");
        onnx_ints(&g, "five", "5");
        onnx_ints(&g, "four", "4");
        onnx_ints(&g, "eight", "8");
        onnx_ints(&g, "two", "2");
        onnx_ints(&g, "n0", "0");
        onnx_ints(&g, "n8", "8");
        onnx_ints(&g, "n16", "16");
        onnx_ints(&g, "n24", "24");
        onnx_ints(&g, "rows", "-1,8");
        times_batch(&g, batches[b], "heads", HEADS);
        times_batch(&g, batches[b], "batch", 1);
        memcpy(in, onnx_floats(&g, "in", "8,24"), sizeof(in));
        memcpy(out, onnx_floats(&g, "out", "8,8"), sizeof(out));
        memcpy(bias, onnx_floats(&g, "bias", "8"), sizeof(bias));
        onnx_constant(&g, "half", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
        ONNX_APPEND(g.graph->initializer[g.graph->n_initializer - 1]->float_data,
                    g.graph->initializer[g.graph->n_initializer - 1]->n_float_data, 0.5f);
        onnx_lines(&g, lines);
        random_numbers(x, SAMPLES * L * E, 3);
        for (int n = 0; n < SAMPLES; n++)
            attention(want + n * L * E, x + n * L * E, in, out, bias);
        assert_ok(onnx_end(&model, &g, in_folder(state, "attention.onnx")));
        check(model, x, want, SAMPLES * L * E);
        lego_model_free(model);
    }
}

/* --- windows: x (N,4,4,C), shifted by one, in windows of 2x2, each with a mask, halved --- */

enum { SIDE = 4, C = 6 };

static void test_onnx__windows_beside_the_batch(void **state)
{
    static const char *const lines[] = {
        "Slice x n1 last one -> a", "Slice x n0 n1 one -> b", "Concat a b -> shifted axis=1",
        "Concat batch two two two two six -> cut axis=0", "Concat windows four six -> tokens axis=0",
        "Concat batch four one four six -> each axis=0", "Concat batch four four six -> whole axis=0",
        "Reshape shifted cut -> r1", "Transpose r1 -> r2 perm=0,1,3,2,4,5", "Reshape r2 tokens -> r3",
        "Softmax r3 -> r4 axis=1", "Reshape r4 each -> r5", "Add r5 mask -> r6", "Reshape r6 tokens -> r7",
        "Reshape r7 cut -> r8", "Transpose r8 -> r9 perm=0,1,3,2,4,5", "Reshape r9 whole -> r10",
        "Slice r10 n1 last one two -> r11", "Slice r11 n3 first two minus -> y", NULL,
    };

    for (size_t b = 0; b < 3; b++) {
        double x[SAMPLES * SIDE * SIDE * C], want[SAMPLES * 2 * SIDE * C];
        float mask[4 * 4 * C];
        lego_model *model;
        onnx_graph g;
        char text[64];

        onnx_begin(&g, 17, shape_text(text, batches[b], "%lld,4,4,6"));
        onnx_ints(&g, "zero", "0");
        onnx_ints(&g, "n0", "0");
        onnx_ints(&g, "n1", "1");
        onnx_ints(&g, "n3", "3");
        onnx_ints(&g, "one", "1");
        onnx_ints(&g, "two", "2");
        onnx_ints(&g, "four", "4");
        onnx_ints(&g, "six", "6");
        onnx_ints(&g, "last", "9223372036854775807");
        onnx_ints(&g, "first", "-9223372036854775807");
        onnx_ints(&g, "minus", "-1");
        times_batch(&g, batches[b], "batch", 1);
        times_batch(&g, batches[b], "windows", 4);
        memcpy(mask, onnx_floats(&g, "mask", "1,4,1,4,6"), sizeof(mask));
        onnx_lines(&g, lines);
        random_numbers(x, SAMPLES * SIDE * SIDE * C, 4);
        for (int n = 0; n < SAMPLES; n++)
            for (int row = 0; row < 2; row++) /* of the result: rows 1 and 3, columns backwards */
                for (int k = 0; k < SIDE; k++)
                    for (int c = 0; c < C; c++) {
                        const int i = 1 + 2 * row, j = SIDE - 1 - k;
                        double sum = 0.0, own = 0.0;

                        for (int di = 0; di < 2; di++)
                            for (int dj = 0; dj < 2; dj++) {
                                const int from = (i / 2 * 2 + di + 1) % SIDE, to = j / 2 * 2 + dj;
                                const double e = exp(x[((n * SIDE + from) * SIDE + to) * C + c]);
                                sum += e;
                                own = di == i % 2 && dj == j % 2 ? e : own;
                            }
                        want[((n * 2 + row) * SIDE + k) * C + c] =
                            own / sum + (double)mask[((i / 2 * 2 + j / 2) * 4 + i % 2 * 2 + j % 2) * C + c];
                    }
        assert_ok(onnx_end(&model, &g, in_folder(state, "windows.onnx")));
        check(model, x, want, SAMPLES * 2 * SIDE * C);
        lego_model_free(model);
    }
}

/* A token for every sample, joined to the others; a row taken; a constant on the left. */
static void test_onnx__constants_for_every_sample(void **state)
{
    static const char *const lines[] = {
        "Concat batch one four -> size axis=0", "Expand token size -> tokens", "Concat tokens x -> all axis=1",
        "MatMul left all -> mixed", "Gather mixed picks -> some axis=1", "Gather some last -> y axis=1", NULL,
    };

    for (size_t b = 0; b < 3; b++) {
        double x[SAMPLES * 2 * 4], want[SAMPLES * 4];
        float token[4], left[3 * 3];
        lego_model *model;
        onnx_graph g;
        char text[64];

        onnx_begin(&g, 13, shape_text(text, batches[b], "%lld,2,4"));
        onnx_ints(&g, "zero", "0");
        onnx_ints(&g, "one", "1");
        onnx_ints(&g, "four", "4");
        onnx_ints(&g, "picks", "2,0,0,1");
        onnx_ints(&g, "last", "-1!");
        times_batch(&g, batches[b], "batch", 1);
        memcpy(token, onnx_floats(&g, "token", "1,1,4"), sizeof(token));
        memcpy(left, onnx_floats(&g, "left", "3,3"), sizeof(left));
        onnx_lines(&g, lines);
        random_numbers(x, SAMPLES * 2 * 4, 6);
        for (int n = 0; n < SAMPLES; n++)
            for (int c = 0; c < 4; c++)
                want[n * 4 + c] = (double)left[3] * (double)token[c] + (double)left[4] * x[n * 8 + c] +
                                  (double)left[5] * x[n * 8 + 4 + c];
        assert_ok(onnx_end(&model, &g, in_folder(state, "token.onnx")));
        check(model, x, want, SAMPLES * 4);
        lego_model_free(model);
    }
}

/* Products of matrices, each as it is or transposed, the result as well. */
static void test_onnx__einsum_of_two_matrices(void **state)
{
    static const struct {
        const char *line;
        int rows[2], columns[2]; /* strides of the summed and the own label in a sample's (3,3) */
    } cases[] = {
        { "Einsum x r -> y equation=nik,nkj->nij", { 1, 3 }, { 3, 1 } },
        { "Einsum x r -> y equation=nki,njk->nij", { 3, 1 }, { 1, 3 } },
        { "Einsum r x -> y equation=njk,nki->nij", { 3, 1 }, { 1, 3 } },
    };
    double x[SAMPLES * 9], want[SAMPLES * 9];

    random_numbers(x, SAMPLES * 9, 9);
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        lego_model *model;
        onnx_graph g;

        onnx_begin(&g, 13, "0,3,3");
        onnx_lines(&g, (const char *const[]){ "Relu x -> r", cases[c].line, NULL });
        for (int n = 0; n < SAMPLES; n++)
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) {
                    double sum = 0.0;
                    for (int k = 0; k < 3; k++) {
                        const double b = x[n * 9 + k * cases[c].columns[0] + j * cases[c].columns[1]];
                        sum += x[n * 9 + k * cases[c].rows[0] + i * cases[c].rows[1]] * (b > 0.0 ? b : 0.0);
                    }
                    want[n * 9 + i * 3 + j] = sum;
                }
        assert_ok(onnx_end(&model, &g, in_folder(state, "einsum.onnx")));
        check(model, x, want, SAMPLES * 9);
        lego_model_free(model);
    }
}

/* An extent decides: torch writes an If where a dim is squeezed that may not be 1. */
static void test_onnx__a_known_condition_takes_its_branch(void **state)
{
    static const char *const squeezed[] = { "Relu r -> a", "Squeeze a one -> then_branch", NULL };
    static const char *const kept[] = { "LogSigmoid r -> b", "Identity b -> else_branch", NULL };
    static const char *const unknown[] = { "Identity r -> else_branch", NULL };
    double x[SAMPLES * 4], want[SAMPLES * 4];
    lego_model *model;
    onnx_graph g;

    onnx_begin(&g, 13, "0,1,4");
    onnx_ints(&g, "one", "1");
    onnx_lines(&g, (const char *const[]){ "Neg x -> r", "Shape x -> s", "Gather s one -> n axis=0", "Equal n one -> c", NULL });
    onnx_if(&g, "c", squeezed, kept);
    random_numbers(x, SAMPLES * 4, 8);
    for (int i = 0; i < SAMPLES * 4; i++)
        want[i] = x[i] < 0.0 ? -x[i] : 0.0;
    assert_ok(onnx_end(&model, &g, in_folder(state, "if.onnx")));
    check(model, x, want, SAMPLES * 4);
    lego_model_free(model);

    onnx_begin(&g, 13, "0,1,4");
    onnx_ints(&g, "one", "1");
    onnx_lines(&g, (const char *const[]){ "Neg x -> r", NULL });
    onnx_if(&g, "r", squeezed, unknown);
    assert_fails(LEGO_EUNSUPPORTED, onnx_end(&model, &g, in_folder(state, "if.onnx")));
    assert_says("'y' (If): its condition depends on the data");
}

/* --- what would mix samples --- */

static void refuse(void **state, const char *message, const char *const *lines)
{
    lego_model *model;
    onnx_graph g;

    onnx_begin(&g, 13, "0,6,4");
    onnx_ints(&g, "zero", "0");
    onnx_ints(&g, "one", "1");
    onnx_ints(&g, "torn", "6,-1");
    times_batch(&g, 0, "batch", 1);
    onnx_lines(&g, lines);
    assert_fails(LEGO_EUNSUPPORTED, onnx_end(&model, &g, in_folder(state, "mixed.onnx")));
    assert_says(message);
}

#define REFUSE(message, ...) refuse(state, message, (const char *const[]){ __VA_ARGS__, NULL })

static void test_onnx__what_mixes_samples_is_refused(void **state)
{
    REFUSE("'y' (Softmax): a softmax over the batch", "Softmax x -> y axis=0");
    REFUSE("'t' (Reshape): the batch would be torn apart", "Reshape x torn -> t", "Relu t -> y");
    REFUSE("'y' (Concat): values would be joined along axis 0", "Concat x x -> y axis=0");
    REFUSE("'m' (MatMul): it multiplies samples of the batch", "Transpose x -> t perm=1,0,2", "Transpose x -> u perm=1,2,0",
           "MatMul t u -> m", "Relu m -> y");
    REFUSE("the batch is on other axes of 't'", "Unsqueeze x zero -> t", "Unsqueeze x one -> u", "Add u t -> y");
    REFUSE("the batch is not the first axis of output 'y'", "Transpose x -> y perm=1,0,2");
    REFUSE("it calculates with the size of the batch", "Add batch one -> n", "ConstantOfShape n -> c", "Add x c -> y");
    REFUSE("is no product of matrices", "Einsum x x -> y equation=nij,nij->nij");
    REFUSE("an equation whose terms are not three", "Einsum x x -> y equation=nij,nij->n");
    REFUSE("'y' (ReduceMean): it reduces axis 0, which holds the batch", "ReduceMean x -> y axes=0,1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_onnx__attention_with_the_batch_beside_the_heads),
        folder_test(test_onnx__windows_beside_the_batch),
        folder_test(test_onnx__constants_for_every_sample),
        folder_test(test_onnx__einsum_of_two_matrices),
        folder_test(test_onnx__a_known_condition_takes_its_branch),
        folder_test(test_onnx__what_mixes_samples_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
