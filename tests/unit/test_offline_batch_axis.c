/* Where the batch is in a file's value: random chains of reshapes and permutations of numbered elements. What the graph has,
 * changed as the place says, must be what the file has, changed as the file says, with the batch moved to the front. */
#include "support/support.h"

#include "base/rng.h"
#include "import/batch_axis.h"

#define BATCH 3
#define MAX_ELEMENTS 4096

static int64_t count_of(const lg_shape *shape)
{
    int64_t n = 1;

    for (int i = 0; i < shape->n_dims; i++)
        n *= shape->dims[i];
    return n;
}

/* (ahead, batch, behind) -> (batch, ahead, behind). */
static void to_front(int *out, const int *in, const lg_place *place)
{
    int64_t ahead = place->before, behind = place->behind;

    for (int i = 0; i < place->dim; i++)
        ahead *= place->shape.dims[i];
    for (int i = place->dim + 1; i < place->shape.n_dims; i++)
        behind *= place->shape.dims[i];
    for (int64_t a = 0; a < ahead; a++)
        for (int64_t n = 0; n < BATCH; n++)
            for (int64_t b = 0; b < behind; b++)
                out[(n * ahead + a) * behind + b] = in[(a * BATCH + n) * behind + b];
}

static void permute(int *out, const int *in, const lg_shape *shape, const int64_t *order)
{
    int64_t at[LEGO_MAX_DIMS] = { 0 }, n = count_of(shape);

    for (int64_t k = 0; k < n; k++) {
        int64_t from = 0;

        for (int i = 0; i < shape->n_dims; i++) {
            int64_t which = 0;
            while (order[which] != i)
                which++;
            from = from * shape->dims[i] + at[which];
        }
        out[k] = in[from];
        for (int i = shape->n_dims - 1; i >= 0 && ++at[i] == shape->dims[order[i]]; i--)
            at[i] = 0;
    }
}

/* Join two neighbours, cut one in two, or put in a dim of one. */
static lg_shape other_shape(lg_rng *rng, const lg_shape *in)
{
    lg_shape out = *in;
    const int at = (int)lg_rng_below(rng, (uint64_t)in->n_dims);
    int64_t part;

    switch (lg_rng_below(rng, 3)) {
    case 0:
        if (at + 1 == in->n_dims)
            break;
        out.dims[at] *= out.dims[at + 1];
        memmove(out.dims + at + 1, out.dims + at + 2, (size_t)(in->n_dims - at - 2) * sizeof(*out.dims));
        out.n_dims--;
        break;
    default:
        do
            part = 1 + (int64_t)lg_rng_below(rng, (uint64_t)in->dims[at]);
        while (in->dims[at] % part != 0);
        if (in->n_dims >= 6)
            break;
        memmove(out.dims + at + 1, out.dims + at, (size_t)(in->n_dims - at) * sizeof(*out.dims));
        out.dims[at] = part;
        out.dims[at + 1] = in->dims[at] / part;
        out.n_dims++;
        break;
    }
    return out;
}

/* Whether one dim can hold the batch behind as many elements as now. */
static int can_hold(const lg_place *from, const lg_shape *to)
{
    int64_t ahead = from->before, outer = 1;

    for (int i = 0; i < from->dim; i++)
        ahead *= from->shape.dims[i];
    for (int i = 0; i < to->n_dims; outer *= to->dims[i++])
        for (int64_t before = 1; before * BATCH <= to->dims[i]; before++)
            if (outer * before == ahead && to->dims[i] % (before * BATCH) == 0)
                return 1;
    return 0;
}

static void random_chain(lg_rng *rng, int *n_torn, int *n_mixed)
{
    static int file[2][MAX_ELEMENTS], graph[2][MAX_ELEMENTS], want[MAX_ELEMENTS];
    const lg_shape first = { 4, { BATCH, 4, 6, 2 } };
    lg_place place = lg_place_at(&first, 0, BATCH), next;
    const int64_t n = count_of(&first);
    int now = 0;

    for (int64_t i = 0; i < n; i++)
        file[0][i] = graph[0][i] = (int)i;
    for (int step = 0; step < 12; step++) {
        if (lg_rng_below(rng, 2)) {
            const lg_shape to = other_shape(rng, &place.shape);

            if (!lg_place_reshape(&next, &place, &to, BATCH)) {
                assert_false(can_hold(&place, &to));
                ++*n_torn;
                continue;
            }
        } else {
            lg_shape sample = lg_place_graph_shape(&place);
            int64_t order[LEGO_MAX_DIMS], axes[LEGO_MAX_DIMS] = { 0 };
            lg_dims moved;

            for (int i = 0; i < place.shape.n_dims; i++)
                order[i] = i;
            lg_rng_shuffle(rng, order, place.shape.n_dims);
            lg_place_permute(&next, &moved, &place, order);
            permute(file[!now], file[now], &place.shape, order);
            for (int i = 0; i < moved.n; i++)
                axes[i + 1] = moved.dims[i];
            sample.dims[0] = BATCH;
            assert_int_equal(moved.n, sample.n_dims - 1);
            permute(graph[!now], graph[now], &sample, axes);
            now = !now;
        }
        place = next;
        assert_int_equal(place.before * BATCH * place.behind, place.shape.dims[place.dim]);
        for (int i = 0; i < place.shape.n_dims; i++) {
            const int axis = lg_place_axis(&place, i);
            const lg_shape sample = lg_place_graph_shape(&place);

            assert_int_equal(axis == 0, i == place.dim);
            if (axis > 0)
                assert_int_equal(sample.dims[axis], place.shape.dims[i]);
        }
        to_front(want, file[now], &place);
        assert_memory_equal(graph[now], want, (size_t)n * sizeof(*want));
        *n_mixed += place.before > 1 || place.behind > 1;
    }
}

static void test_batch_axis__follows_reshapes_and_permutations(void **state)
{
    int n_torn = 0, n_mixed = 0;
    lg_rng rng;

    (void)state;
    lg_rng_init(&rng, 11, 0);
    for (int i = 0; i < 2000; i++)
        random_chain(&rng, &n_torn, &n_mixed);
    assert_true(n_torn > 100 && n_mixed > 100); /* both kinds came up */
}

static void test_batch_axis__an_open_batch_is_told_by_division(void **state)
{
    const lg_shape in = { 3, { 0, 64, 96 } }, windows = { 3, { LG_BATCH_MARK * 16, 4, 96 } },
                   torn = { 2, { 64, LG_BATCH_MARK * 96 } };
    lg_place place = lg_place_at(&in, 0, LG_BATCH_MARK), next;

    (void)state;
    assert_true(lg_batch_is_mark(place.shape.dims[0]) && !lg_batch_is_mark(0) && !lg_batch_is_mark(INT64_MAX));
    assert_true(lg_place_reshape(&next, &place, &windows, LG_BATCH_MARK));
    assert_int_equal(next.dim, 0);
    assert_int_equal(next.behind, 16);
    assert_false(lg_place_reshape(&next, &place, &torn, LG_BATCH_MARK));
}

static void test_batch_axis__one_sample_has_no_axis_unless_one_is_wanted(void **state)
{
    const lg_shape in = { 3, { 1, 197, 768 } }, rows = { 2, { 197, 768 } }, back = { 3, { 197, 1, 768 } };
    const int64_t order[] = { 1, 0, 2 };
    lg_place place = lg_place_at(&in, 0, 1), next;
    lg_dims axes;

    (void)state;
    lg_place_permute(&next, &axes, &place, order);
    assert_int_equal(next.dim, 1);
    place = next;
    assert_true(lg_place_reshape(&next, &place, &rows, 1));
    assert_int_equal(next.dim, LG_NONE);
    assert_int_equal(lg_place_axis(&next, 0), 1);
    place = next;
    assert_true(lg_place_reshape(&next, &place, &back, 1));
    assert_int_equal(next.dim, 1);
}

static void test_batch_axis__samples_are_not_mixed(void **state)
{
    const lg_shape shape = { 3, { 4, 4, 5 } };
    const lg_place a = lg_place_at(&shape, 0, 2), b = lg_place_at(&shape, 1, 2);
    lg_place out;

    (void)state;
    assert_false(lg_place_meet(&out, &a, &b, 2));
    assert_true(lg_place_meet(&out, &a, &a, 2));
    assert_true(lg_place_meet(&out, &a, &b, 1));
    assert_int_equal(out.dim, LG_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_axis__follows_reshapes_and_permutations),
        cmocka_unit_test(test_batch_axis__an_open_batch_is_told_by_division),
        cmocka_unit_test(test_batch_axis__one_sample_has_no_axis_unless_one_is_wanted),
        cmocka_unit_test(test_batch_axis__samples_are_not_mixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
