/* store/: what is written comes back, a damaged or lying store is refused, a failed write leaves the old one. */
#include "support/exact.h"
#include "support/graphs.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "store/manifest.h"
#include "store/store.h"

/* --- a model with two blocks and its store --- */

enum { N_BLOCKS = 2, SIZE = 6 };

static lg_graph *make_model(int32_t **block_of)
{
    maker m;
    int32_t x, begin[N_BLOCKS], end[N_BLOCKS];

    maker_start(&m, 3);
    x = make_unary(&m, make_bn(&m, make_conv(&m, make_input(&m, 3, SIZE, SIZE), 6, 3, 1, 1, 0)), "relu", NULL);
    for (int b = 0; b < N_BLOCKS; b++) {
        begin[b] = m.graph->n_nodes;
        x = make_residual(&m, x);
        end[b] = m.graph->n_nodes;
        x = make_conv(&m, x, 6, 1, 1, 1, 1); /* frame */
    }
    maker_finish(&m, x);
    assert_ok(LG_CALLOC(block_of, m.graph->n_nodes));
    for (int32_t n = 0; n < m.graph->n_nodes; n++)
        for (int b = (*block_of)[n] = LG_NONE, i = 0; i < N_BLOCKS; i++)
            if (b == LG_NONE && n >= begin[i] && n < end[i])
                (*block_of)[n] = i;
    return m.graph;
}

static lg_graph *cut(const lg_graph *graph, const int32_t *block_of, int32_t block)
{
    uint8_t in_set[64] = { 0 };
    lg_graph *part;

    for (int32_t n = 0; n < graph->n_nodes; n++)
        in_set[n] = block_of[n] == block;
    assert_ok(lg_graph_subgraph(&part, graph, in_set, NULL, NULL));
    assert_ok(lg_graph_validate(part));
    return part;
}

/* Without the last channel of the only free group. */
static lg_graph *without_a_channel(const lg_graph *block)
{
    lg_channels *channels;
    lg_graph *pruned = NULL;

    assert_ok(lg_channels_analyze(&channels, block, 1));
    for (size_t g = 0; g < lg_channels_n_groups(channels) && !pruned; g++) {
        const lg_channel_group *group = lg_channels_group(channels, g);
        uint8_t keep[64];

        if (group->frozen)
            continue;
        memset(keep, 1, sizeof(keep));
        keep[group->units[group->n_units - 1]] = 0;
        assert_ok(lg_channels_apply(&pruned, channels, block, keep));
    }
    assert_non_null(pruned);
    lg_channels_free(channels);
    return pruned;
}

/* Frame, originals and one variant each, in memory. The model itself if asked. */
static lego_store *make_store(lg_graph **model)
{
    static const char *const names[] = { "b0", "b1" };
    int32_t *block_of;
    lg_graph *graph = make_model(&block_of), *frame;
    lego_store *store;

    assert_ok(lg_graph_frame(&frame, graph, block_of, N_BLOCKS, names));
    assert_ok(lg_store_create(&store, frame));
    for (int32_t b = 0; b < N_BLOCKS; b++) {
        lg_graph *original = cut(graph, block_of, b), *pruned = without_a_channel(original);

        assert_ok(lg_store_add_variant(store, b, "s0", 0.0, "f32", "original", original));
        assert_ok(lg_store_add_variant(store, b, "s0.5", 0.5, "f32", "l1", pruned));
        assert_ok(lg_variant_add_alias(&store->blocks[b].variants[1], "s0.6"));
        assert_ok(lg_block_add_layer(&store->blocks[b], "a layer"));
    }
    assert_ok(lg_json_set_string(store->info, "model", "test"));
    lg_free(block_of);
    if (model)
        *model = graph;
    else
        lg_graph_free(graph);
    return store;
}

static void write_store(const char *path)
{
    lego_store *store = make_store(NULL);

    assert_ok(lg_store_write(store, path));
    lego_store_free(store);
}

static lego_store *open_store(const char *path)
{
    lego_store *store;

    assert_ok(lego_store_open(&store, NULL, path));
    return store;
}

/* --- running --- */

static void fill(float *data, size_t n)
{
    lg_rng rng;

    lg_rng_init(&rng, 5, 5);
    for (size_t i = 0; i < n; i++)
        data[i] = (float)lg_rng_normal(&rng);
}

static void assert_same_output(const lg_graph *a, const lg_graph *b)
{
    float in[3 * SIZE * SIZE], x[6 * SIZE * SIZE], y[6 * SIZE * SIZE];

    fill(in, 3 * SIZE * SIZE);
    run_exact_into(x, a, in, 1);
    run_exact_into(y, b, in, 1);
    assert_memory_equal(x, y, sizeof(x));
}

/* --- tests --- */

static void test_store__originals_compose_to_the_model_bit_for_bit(void **state)
{
    const int32_t originals[N_BLOCKS] = { 0, 0 };
    lg_graph *model, *composed;
    lego_store *store = make_store(&model);

    assert_ok(lg_store_write(store, in_folder(state, "store")));
    lego_store_free(store);
    store = open_store(in_folder(state, "store"));
    assert_ok(lg_store_compose(&composed, store, originals));
    assert_int_equal(composed->n_nodes, model->n_nodes);
    assert_int_equal(lg_graph_parameters(composed), lg_graph_parameters(model));
    assert_same_output(composed, model);
    lego_store_free(store); /* the composition shares the mapped weights and outlives the store */
    assert_same_output(composed, model);
    lg_graph_free(composed);
    lg_graph_free(model);
}

static void test_store__composition_marks_its_blocks(void **state)
{
    const int32_t mixed[N_BLOCKS] = { 1, 0 };
    lego_store *store = make_store(NULL);
    lg_graph *composed;
    int32_t n_of[N_BLOCKS + 1] = { 0 };

    assert_ok(lg_store_compose(&composed, store, mixed));
    for (int32_t n = 0; n < composed->n_nodes; n++)
        n_of[composed->nodes[n].block == LG_NONE ? N_BLOCKS : composed->nodes[n].block]++;
    assert_int_equal(n_of[0], 6);
    assert_int_equal(n_of[1], 6);
    assert_int_equal(n_of[2], 5);
    assert_true(lg_graph_parameters(composed) < lg_graph_parameters(store->frame) +
                                                    store->blocks[0].variants[0].n_parameters +
                                                    store->blocks[1].variants[0].n_parameters);
    lg_graph_free(composed);
    lego_store_free(store);
}

/* Running the segments by hand on a pool of boundary values is running the composition. */
static void test_store__segments_run_like_the_composition(void **state)
{
    const int32_t mixed[N_BLOCKS] = { 0, 1 };
    lego_store *store = make_store(NULL);
    const lg_segments *segments = &store->segments;
    float in[3 * SIZE * SIZE], expected[6 * SIZE * SIZE], *pool[16] = { NULL };
    lg_graph *composed;

    fill(in, 3 * SIZE * SIZE);
    assert_ok(lg_store_compose(&composed, store, mixed));
    run_exact_into(expected, composed, in, 1);
    assert_int_equal(segments->n_segments, 5); /* stem, b0, conv, b1, conv */
    assert_int_equal(segments->n_slots, 6);
    for (int32_t i = 0; i < segments->n_slots; i++)
        assert_ok(LG_CALLOC(&pool[i], lg_value_elements(&segments->values[i])));
    memcpy(pool[segments->inputs[0]], in, sizeof(in));
    for (int32_t s = 0; s < segments->n_segments; s++) {
        const lg_segment *segment = &segments->segments[s];
        const lg_graph *graph = segment->graph;

        if (segment->block != LG_NONE)
            assert_ok(lg_store_variant_graph(&graph, store, segment->block, mixed[segment->block]));
        assert_int_equal(segment->n_inputs, 1);
        assert_true(segments->last_use[segment->inputs[0]] == s);
        run_exact_into(pool[segment->outputs[0]], graph, pool[segment->inputs[0]], 1);
    }
    assert_int_equal(segments->last_use[segments->outputs[0]], segments->n_segments);
    assert_memory_equal(pool[segments->outputs[0]], expected, sizeof(expected));
    for (int32_t i = 0; i < segments->n_slots; i++)
        lg_free(pool[i]);
    lg_graph_free(composed);
    lego_store_free(store);
}

static void test_store__facts_come_back(void **state)
{
    lego_store *made = make_store(NULL), *opened;
    lego_variant_info a, b;
    char *json;

    assert_ok(lg_store_write(made, in_folder(state, "deep/er/store")));
    opened = open_store(in_folder(state, "deep/er/store"));
    assert_ok(lego_store_verify(opened));
    assert_int_equal(lego_store_n_blocks(opened), N_BLOCKS);
    assert_string_equal(lego_store_block_name(opened, 1), "b1");
    assert_string_equal(lego_store_variant_name(opened, 1, 1), "s0.5");
    assert_null(lego_store_variant_name(opened, 1, 2));
    assert_string_equal(opened->blocks[0].layers[0], "a layer");
    assert_true(opened->checksum == made->checksum);
    for (int32_t v = 0; v < 2; v++) {
        assert_ok(lego_store_variant_info(&a, made, 0, v));
        assert_ok(lego_store_variant_info(&b, opened, 0, v));
        assert_string_equal(a.name, b.name);
        assert_string_equal(a.origin, b.origin);
        assert_int_equal(a.n_parameters, b.n_parameters);
        assert_int_equal(a.flops, b.flops);
        assert_int_equal(a.weight_bytes, b.weight_bytes);
        assert_int_equal(a.file_bytes, b.file_bytes);
        assert_true(a.sparsity == b.sparsity);
    }
    assert_fails(LEGO_EINVAL, lego_store_variant_info(&a, opened, 0, 2));
    assert_says("variant 2 is not in 0 to 1");
    assert_ok(lego_store_to_json(&json, opened));
    assert_non_null(strstr(json, "legodnn.store/1"));
    lego_string_free(json);
    lego_store_free(made);
    lego_store_free(opened);
}

static void test_store__selections_parse_and_format(void **state)
{
    static const struct {
        const char *text;
        int32_t variants[N_BLOCKS];
        const char *formatted;
    } good[] = {
        { NULL, { 0, 0 }, "" },
        { "", { 0, 0 }, "" },
        { "b1=s0.5", { 0, 1 }, "b1=s0.5" },
        { "b0=s0.5,b1=s0", { 1, 0 }, "b0=s0.5" },
        { "all=s0.5", { 1, 1 }, "b0=s0.5,b1=s0.5" },
        { "all=s0.5,b0=s0", { 0, 1 }, "b1=s0.5" },
        { "all=s0.6", { 1, 1 }, "b0=s0.5,b1=s0.5" }, /* an alias */
    };
    static const struct {
        const char *text, *says;
        lego_status status;
    } bad[] = {
        { "b2=s0.5", "'b2'", LEGO_ENOTFOUND },       { "b0=s0.7", "it has s0, s0.5", LEGO_ENOTFOUND },
        { "b0", "neither a file nor", LEGO_ENOTFOUND }, { "b0=s0.5,b1", "is not BLOCK=VARIANT", LEGO_EINVAL },
        { "=", "''", LEGO_ENOTFOUND },
    };
    lego_store *store = make_store(NULL);
    lego_selection *selection;

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        char *text;

        assert_ok(lego_selection_parse(&selection, store, good[i].text));
        for (int32_t b = 0; b < N_BLOCKS; b++)
            assert_int_equal(lego_selection_variant(selection, b), good[i].variants[b]);
        assert_ok(lego_selection_format(&text, selection, store));
        assert_string_equal(text, good[i].formatted);
        lego_string_free(text);
        lego_selection_free(selection);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_fails(bad[i].status, lego_selection_parse(&selection, store, bad[i].text));
        assert_says(bad[i].says);
        assert_null(selection);
    }
    lego_store_free(store);
}

static void test_store__selection_documents(void **state)
{
    static const struct {
        const char *text, *says; /* NULL: good */
    } cases[] = {
        { "{\"schema\":\"legodnn.selection/1\",\"selection\":[{\"block\":\"b1\",\"variant\":\"s0.5\"}]}", NULL },
        { "{\"schema\":\"legodnn.selection/1\",\"feasible\":false}", "holds no selection" },
        { "{\"schema\":\"legodnn.profile/1\",\"selection\":[]}", "expected 'legodnn.selection/1'" },
        { "{\"schema\":\"legodnn.selection/1\",\"selection\":[{\"block\":\"b1\",\"variant\":\"s0.5\"},"
          "{\"block\":\"b1\",\"variant\":\"s0\"}]}", "named twice" },
        { "{\"schema\":\"legodnn.selection/1\",\"selection\":[{\"block\":\"b9\",\"variant\":\"s0\"}]}", "'b9'" },
        { "{\"schema\":\"legodnn.selection/1\",\"selection\":[{\"variant\":\"s0\"}]}", "'block' is missing" },
        { "{\"schema\":\"legodnn.selection/1\"", "not valid JSON" },
    };
    lego_store *store = make_store(NULL);
    const char *path = in_folder(state, "selection.json");

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        lego_selection *selection;

        assert_ok(lg_file_write(path, cases[i].text, strlen(cases[i].text)));
        if (!cases[i].says) {
            assert_ok(lego_selection_parse(&selection, store, path));
            assert_int_equal(lego_selection_variant(selection, 0), 0);
            assert_int_equal(lego_selection_variant(selection, 1), 1);
            lego_selection_free(selection);
            continue;
        }
        assert_true(lego_selection_parse(&selection, store, path) != LEGO_OK);
        assert_says(cases[i].says);
    }
    lego_store_free(store);
}

static void test_store__selection_survives_its_own_json(void **state)
{
    const int32_t variants[N_BLOCKS] = { 0, 1 };
    lego_store *store = make_store(NULL);
    lg_json *array;
    int32_t back[N_BLOCKS];

    assert_ok(lg_selection_to_json(&array, store, variants));
    assert_ok(lg_selection_from_json(back, store, array, "test"));
    assert_memory_equal(back, variants, sizeof(back));
    lg_json_free(array);
    lego_store_free(store);
}

static void test_store__selection_must_fit_the_store(void **state)
{
    lego_store *store = make_store(NULL);
    lego_selection *selection;
    lego_model *model;

    assert_ok(lego_selection_parse(&selection, store, ""));
    assert_fails(LEGO_EINVAL, lego_selection_set(selection, 2, 0));
    assert_fails(LEGO_EINVAL, lego_selection_set(selection, 0, -1));
    assert_ok(lego_selection_set(selection, 0, 7));
    assert_fails(LEGO_EINVAL, lego_store_compose(&model, store, selection));
    assert_says("block 'b0': variant 7 is not in 0 to 1");
    assert_ok(lego_selection_set(selection, 0, 1));
    assert_ok(lego_store_compose(&model, store, selection));
    lego_model_free(model);
    lego_selection_free(selection);
    lego_store_free(store);
}

/* --- updating --- */

static lg_graph *scaled_copy(const lg_graph *graph, float factor)
{
    lg_graph *copy;

    assert_ok(lg_graph_clone(&copy, graph));
    for (int32_t w = 0; w < copy->n_weights; w++) {
        lego_tensor own = { 0 };

        assert_ok(lg_tensor_copy(&own, &copy->weights[w].tensor));
        for (int64_t i = 0; i < lg_tensor_count(&own); i++)
            ((float *)lg_tensor_data(&own))[i] *= factor;
        lg_tensor_dispose(&copy->weights[w].tensor);
        copy->weights[w].tensor = own;
    }
    return copy;
}

static int count_files(const char *path)
{
    DIR *folder = opendir(path);
    int n = 0;

    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
        n += entry->d_name[0] != '.';
    closedir(folder);
    return n;
}

static void test_store__update_replaces_one_variant(void **state)
{
    char path[512];
    const lg_graph *before, *after;
    lego_store *store, *reader;
    lg_graph *scaled;

    snprintf(path, sizeof(path), "%s", in_folder(state, "store"));
    write_store(path);
    store = open_store(path);
    reader = open_store(path);
    assert_ok(lg_store_variant_graph(&before, store, 1, 1));
    scaled = scaled_copy(before, 0.5f);
    for (int i = 0; i < 3; i++) /* again and again: file names must not run into each other */
        assert_ok(lg_store_update_variant(store, 1, 1, scaled, "retrain"));
    assert_int_equal(count_files(in_folder(state, "store/blocks/b1")), 2);
    assert_ok(lego_store_verify(store));
    lego_store_free(store);

    store = open_store(path);
    assert_ok(lego_store_verify(store));
    assert_string_equal(store->blocks[1].variants[1].origin, "retrain");
    assert_string_equal(store->blocks[1].variants[1].aliases[0], "s0.6");
    assert_ok(lg_store_variant_graph(&after, store, 1, 1));
    for (int32_t w = 0; w < after->n_weights; w++)
        assert_memory_equal(lg_tensor_data(&after->weights[w].tensor), lg_tensor_data(&scaled->weights[w].tensor),
                            lg_tensor_bytes(&after->weights[w].tensor));
    assert_true(store->checksum != reader->checksum);

    /* who opened the store before may still read what was not replaced, and must not write */
    assert_ok(lg_store_variant_graph(&before, reader, 0, 1));
    assert_true(lg_store_variant_graph(&before, reader, 1, 1) != LEGO_OK);
    assert_fails(LEGO_EIO, lg_store_update_variant(reader, 1, 1, scaled, "retrain"));
    assert_says("another process has changed the store");
    lg_graph_free(scaled);
    lego_store_free(reader);
    lego_store_free(store);
}

static void test_store__update_checks_the_interface(void **state)
{
    char path[512];
    lego_store *store;
    maker m;

    snprintf(path, sizeof(path), "%s", in_folder(state, "store"));
    write_store(path);
    store = open_store(path);
    maker_start(&m, 1);
    maker_finish(&m, make_conv(&m, make_input(&m, 6, SIZE, SIZE), 5, 1, 1, 1, 0));
    assert_fails(LEGO_EFORMAT, lg_store_update_variant(store, 0, 1, m.graph, "retrain"));
    assert_says("output 0 is F32 (N,5,6,6), its block has F32 (N,6,6,6)");
    assert_ok(lego_store_verify(store));
    lg_graph_free(m.graph);
    lego_store_free(store);
}

/* --- full disk --- */

/* Files may not grow beyond `bytes`, as on a full disk (EFBIG instead of ENOSPC). */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_store__full_disk_leaves_the_old_store(void **state)
{
    char path[512];
    lego_store *store = make_store(NULL), *old;
    const lg_graph *graph;
    uint64_t checksum, written;

    snprintf(path, sizeof(path), "%s", in_folder(state, "store"));
    assert_ok(lg_store_write(store, path));
    checksum = written = store->checksum;
    assert_ok(lg_json_set_string(store->info, "model", "another"));
    for (rlim_t limit = 0; limit < 6000; limit += 500) { /* fails at the frame, at variants, at the manifest */
        lego_status status;

        limit_files(limit);
        status = lg_store_write(store, path);
        limit_files(RLIM_INFINITY);
        if (status == LEGO_OK)
            break;
        assert_fails(LEGO_EIO, status);
        assert_says("cannot write");
        assert_true(store->checksum == written && store->blocks[0].variants[0].file != NULL); /* the handle too */
        assert_int_equal(count_files(*state), 1); /* nothing left beside it */
        old = open_store(path);
        assert_true(old->checksum == checksum);
        assert_ok(lego_store_verify(old));
        assert_ok(lg_store_variant_graph(&graph, old, 0, 1));
        limit_files(limit);
        status = lg_store_update_variant(old, 0, 1, graph, "retrain");
        limit_files(RLIM_INFINITY);
        assert_true(status == LEGO_EIO || limit > 2000); /* the variant has 2 kB, the manifest more */
        checksum = old->checksum;
        assert_ok(lego_store_verify(old));
        assert_int_equal(count_files(in_folder(state, "store/blocks/b0")), 2);
        lego_store_free(old);
    }
    assert_ok(lg_store_write(store, path));
    old = open_store(path);
    assert_true(old->checksum != checksum);
    lego_store_free(old);
    lego_store_free(store);
}

/* Killed while it writes and updates, a store is the old one or the new one, and once it is opened nothing else is left. */
static void test_store__survives_sigkill(void **state)
{
    char path[512];

    snprintf(path, sizeof(path), "%s", in_folder(state, "store"));
    write_store(path);
    for (int round = 0; round < 12; round++) {
        pid_t child = fork();
        lego_store *store;

        assert_true(child >= 0);
        if (child == 0) {
            for (;;) {
                lego_store *own = NULL;
                const lg_graph *graph;

                if (round % 2 == 0) {
                    write_store(path);
                    continue;
                }
                if (lego_store_open(&own, NULL, path) != LEGO_OK ||
                    lg_store_variant_graph(&graph, own, 0, 1) != LEGO_OK ||
                    lg_store_update_variant(own, 0, 1, graph, "retrain") != LEGO_OK)
                    _exit(1);
                lego_store_free(own);
            }
        }
        usleep((useconds_t)(7000 + 3700 * round));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        store = open_store(path);
        assert_ok(lego_store_verify(store));
        lego_store_free(store);
        assert_int_equal(count_files(*state), 1);
    }
}

static void test_store__read_only_store_opens(void **state)
{
    char path[512];
    const int32_t mixed[N_BLOCKS] = { 1, 1 };
    lego_store *store;
    lg_graph *composed;
    const lg_graph *graph;
    int is_root = geteuid() == 0;

    snprintf(path, sizeof(path), "%s", in_folder(state, "store"));
    write_store(path);
    assert_int_equal(chmod(in_folder(state, "store/manifest.json"), 0444), 0);
    assert_int_equal(chmod(in_folder(state, "store/blocks/b0"), 0555), 0);
    assert_int_equal(chmod(path, 0555), 0);
    assert_int_equal(chmod(*state, 0755), 0);
    if (is_root) /* root may write everywhere */
        assert_int_equal(seteuid(65534), 0);
    assert_ok(lego_store_open(&store, NULL, path));
    assert_ok(lego_store_verify(store));
    assert_ok(lg_store_compose(&composed, store, mixed));
    assert_ok(lg_store_variant_graph(&graph, store, 0, 1));
    assert_fails(LEGO_EIO, lg_store_update_variant(store, 0, 1, graph, "retrain"));
    if (is_root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(chmod(in_folder(state, "store/blocks/b0"), 0755), 0);
    lg_graph_free(composed);
    lego_store_free(store);
}

static void test_store__never_overwrites_what_is_no_store(void **state)
{
    lego_store *store = make_store(NULL);

    assert_ok(lg_file_write(in_folder(state, "file"), "x", 1));
    assert_fails(LEGO_EINVAL, lg_store_write(store, in_folder(state, "file")));
    assert_says("is no folder");
    assert_ok(lg_dir_create(in_folder(state, "photos")));
    assert_ok(lg_store_write(store, in_folder(state, "photos"))); /* empty */
    assert_ok(lg_dir_create(in_folder(state, "more")));
    assert_ok(lg_file_write(in_folder(state, "more/me.jpg"), "x", 1));
    assert_fails(LEGO_EINVAL, lg_store_write(store, in_folder(state, "more")));
    assert_says("exists and is not a store");
    assert_true(lg_file_exists(in_folder(state, "more/me.jpg")));
    assert_int_equal(count_files(*state), 3);
    lego_store_free(store);
}

/* --- damage --- */

static void read_file(char **data, size_t *size, const char *path)
{
    assert_ok(lg_file_read(data, size, path, 1 << 24));
}

/* Without fsync: a hundred of these in a test. */
static void overwrite(const char *path, const char *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Opening and reading everything fails; nothing crashes. */
static void assert_refused(const char *path)
{
    lego_store *store = NULL;
    lego_status status = lego_store_open(&store, NULL, path);

    if (status == LEGO_OK)
        status = lego_store_verify(store);
    assert_true(status == LEGO_EFORMAT || status == LEGO_ENOTFOUND || status == LEGO_EIO);
    lego_store_free(store);
}

static void test_store__damaged_files_are_refused(void **state)
{
    static const char *const files[] = { "store/manifest.json", "store/frame.safetensors",
                                         "store/blocks/b0/s0.safetensors", "store/blocks/b1/s0.5.safetensors" };
    char path[512];
    lego_store *store;

    snprintf(path, sizeof(path), "%s", in_folder(state, "store"));
    write_store(path);
    for (size_t f = 0; f < sizeof(files) / sizeof(*files); f++) {
        char file[512], *data;
        size_t size;

        snprintf(file, sizeof(file), "%s/%s", (const char *)*state, files[f]);
        read_file(&data, &size, file);
        for (size_t cut_at = 0; cut_at < size; cut_at += 1 + size / 9) {
            overwrite(file, data, cut_at);
            assert_refused(path);
        }
        for (size_t at = 0; at < size; at += 1 + size / 60) {
            data[at] ^= 0x10;
            overwrite(file, data, size);
            if (f > 0 || !strchr(" \t\n0:", data[at] ^ 0x10)) /* white space of the manifest does not count */
                assert_refused(path);
            data[at] ^= 0x10;
        }
        assert_int_equal(unlink(file), 0);
        assert_refused(path);
        overwrite(file, data, size);
        lg_free(data);
    }
    store = open_store(path);
    assert_ok(lego_store_verify(store));
    lego_store_free(store);
}

/* A manifest with a valid checksum that does not tell the truth. */
static void assert_lie_is_refused(const char *path, void (*lie)(lego_store *), const char *says)
{
    lego_store *store = open_store(path), *liar = NULL;
    lego_status status;

    lie(store);
    assert_ok(lg_manifest_save(store, path));
    lego_store_free(store);
    status = lego_store_open(&liar, NULL, path);
    if (status == LEGO_OK)
        status = lego_store_verify(liar);
    assert_fails(LEGO_EFORMAT, status);
    assert_says(says);
    lego_store_free(liar);
}

static void replace(char **text, const char *with)
{
    lg_free(*text);
    *text = lg_strdup(with);
}

static void lie_about_parameters(lego_store *store) { store->blocks[0].variants[1].n_parameters++; }
static void lie_about_flops(lego_store *store) { store->blocks[0].variants[0].flops /= 2; }
static void lie_about_bytes(lego_store *store) { store->blocks[1].variants[1].weight_bytes = 4; }
static void lie_about_size(lego_store *store) { store->blocks[1].variants[1].file_bytes++; }
static void lie_about_checksum(lego_store *store) { store->blocks[1].variants[1].checksum++; }
static void lie_about_sparsity(lego_store *store) { store->blocks[1].variants[1].sparsity = 1.0; }
static void lie_about_block(lego_store *store) { replace(&store->blocks[1].name, "b7"); }
static void lie_about_twins(lego_store *store) { replace(&store->blocks[1].name, "b0"); }
static void lie_about_variant(lego_store *store) { replace(&store->blocks[1].variants[1].name, "s0"); }
static void lie_about_input(lego_store *store) { replace(&store->blocks[0].inputs[0], "elsewhere"); }
static void lie_about_folder(lego_store *store) { replace(&store->blocks[0].variants[1].file, "../../passwd"); }
static void lie_about_root(lego_store *store) { replace(&store->frame_file, "/etc/passwd"); }
static void lie_about_name(lego_store *store) { replace(&store->blocks[0].variants[1].name, "s0,b1=s0"); }

static void swap_blocks(lego_store *store) /* the file of one block, with its checksum, given to the other variant */
{
    lg_variant *a = &store->blocks[0].variants[0], *b = &store->blocks[0].variants[1];
    char *file = a->file;
    uint64_t checksum = a->checksum;
    size_t bytes = a->file_bytes;

    a->file = b->file, a->checksum = b->checksum, a->file_bytes = b->file_bytes;
    b->file = file, b->checksum = checksum, b->file_bytes = bytes;
}

static void test_store__lying_manifests_are_refused(void **state)
{
    static const struct {
        void (*lie)(lego_store *);
        const char *says;
    } lies[] = {
        { lie_about_parameters, "the manifest says" },
        { lie_about_flops, "the manifest says" },
        { lie_about_bytes, "the manifest says" },
        { lie_about_size, "truncated or replaced" },
        { lie_about_checksum, "damaged" },
        { lie_about_sparsity, "not in [0, 1)" },
        { lie_about_block, "the frame has 'b1'" },
        { lie_about_twins, "two blocks" },
        { lie_about_variant, "two variants" },
        { lie_about_input, "the frame has" },
        { lie_about_folder, "leaves the folder" },
        { lie_about_root, "not relative" },
        { lie_about_name, "name 's0,b1=s0'" },
        { swap_blocks, "the manifest says" },
    };

    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        write_store(in_folder(state, "store"));
        assert_lie_is_refused(in_folder(state, "store"), lies[i].lie, lies[i].says);
        assert_ok(lg_dir_remove(in_folder(state, "store")));
    }
}

/* Give a mutated manifest the checksum that fits it; 0 if it is no manifest any more. */
static int seal(char *text, size_t size, const char *path)
{
    static const char *const covered[] = { "frame", "blocks", "info" };
    char digits[LG_HASH_TEXT], *part, *sealed;
    uint64_t hash = 0;
    lg_json *json, *old;

    if (lg_json_parse(&json, text, size, "mutant") != LEGO_OK)
        return 0;
    for (int i = 0; i < 3; i++) {
        const lg_json *item = NULL;

        lg_json_each(member, json)
            if (lg_json_key(member) && strcmp(lg_json_key(member), covered[i]) == 0)
                item = member;
        if (!item) {
            lg_json_free(json);
            return 0;
        }
        assert_ok(lg_json_print(&part, item, 0));
        hash = lg_hash(part, strlen(part), hash);
        lg_free(part);
    }
    lg_hash_format(digits, hash);
    assert_ok(lg_json_detach(&old, json, "checksum"));
    lg_json_free(old);
    assert_ok(lg_json_set_string(json, "checksum", digits));
    assert_ok(lg_json_print(&sealed, json, 1));
    overwrite(path, sealed, strlen(sealed));
    lg_free(sealed);
    lg_json_free(json);
    return 1;
}

/* Whatever a manifest with a fitting checksum says: an error or a store, never a crash. */
static void test_store__mutated_manifests_do_no_harm(void **state)
{
    char path[512], file[512], *data;
    size_t size;
    lg_rng rng;
    int n_sealed = 0;

    snprintf(path, sizeof(path), "%s", in_folder(state, "store"));
    snprintf(file, sizeof(file), "%s", in_folder(state, "store/manifest.json"));
    write_store(path);
    read_file(&data, &size, file);
    lg_rng_init(&rng, 8, 8);
    for (int round = 0; round < 1500; round++) {
        char *mutant;
        lego_store *store = NULL;

        assert_ok(LG_CALLOC(&mutant, size + 1));
        memcpy(mutant, data, size);
        for (uint64_t n = 1 + lg_rng_below(&rng, 3); n > 0; n--)
            mutant[lg_rng_below(&rng, size)] = "0129-./\"abs{}[],: \\"[lg_rng_below(&rng, 19)];
        if (seal(mutant, size, file)) {
            n_sealed++;
            if (lego_store_open(&store, NULL, path) == LEGO_OK)
                (void)lego_store_verify(store);
            lego_store_free(store);
        }
        lg_free(mutant);
    }
    assert_true(n_sealed > 300);
    lg_free(data);
}

static void test_store__missing_store_says_so(void **state)
{
    lego_store *store;

    assert_fails(LEGO_ENOTFOUND, lego_store_open(&store, NULL, in_folder(state, "nowhere")));
    assert_says("there is no such store");
    assert_fails(LEGO_ENOTFOUND, lego_store_open(&store, NULL, *state));
    assert_says("it has no manifest.json");
    assert_fails(LEGO_EINVAL, lego_store_open(&store, NULL, NULL));
    assert_fails(LEGO_EINVAL, lego_store_open(NULL, NULL, *state));
}

/* --- out of memory --- */

static void test_store__survives_allocation_failures(void **state)
{
    char path[512];
    const int32_t mixed[N_BLOCKS] = { 0, 1 };
    lego_store *store = make_store(NULL), *opened = NULL;
    lego_selection *selection;
    lg_graph *composed;
    const lg_graph *graph;
    char *text;

    snprintf(path, sizeof(path), "%s", in_folder(state, "store"));
    assert_ok(lg_store_write(store, path));
    for (long n = 0, failed = 1; failed; n += 1 + n / 16) { /* writing syncs files: not every n */
        lego_status status;

        lg_alloc_fail_after(n);
        status = lg_store_write(store, path);
        failed = lg_alloc_fail_after(-1);
        assert_true(status == LEGO_ENOMEM || status == LEGO_OK);
        assert_ok(lego_store_open(&opened, NULL, path)); /* old or new, but whole */
        assert_ok(lego_store_verify(opened));
        lego_store_free(opened);
        opened = NULL;
    }
    assert_ok(lg_store_write(store, path));
    assert_survives_oom(lego_store_open(&opened, NULL, path), (void)0);
    assert_survives_oom(lg_store_variant_graph(&graph, opened, 1, 1), (void)0);
    assert_survives_oom(lg_store_compose(&composed, opened, mixed), lg_graph_free(composed));
    assert_survives_oom(lego_selection_parse(&selection, opened, "all=s0.5"), lego_selection_free(selection));
    assert_survives_oom(lego_store_to_json(&text, opened), lego_string_free(text));
    assert_survives_oom(lego_store_verify(opened), (void)0);
    assert_ok(lg_store_variant_graph(&graph, store, 1, 1));
    for (long n = 0, failed = 1; failed; n += 1 + n / 16) {
        lego_status status;

        lg_alloc_fail_after(n);
        status = lg_store_update_variant(opened, 1, 1, graph, "retrain");
        failed = lg_alloc_fail_after(-1);
        assert_true(status == LEGO_ENOMEM || status == LEGO_OK);
        assert_ok(lego_store_verify(opened));
    }
    assert_int_equal(count_files(*state), 1);
    lego_store_free(opened);
    lego_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_store__originals_compose_to_the_model_bit_for_bit),
        cmocka_unit_test(test_store__composition_marks_its_blocks),
        cmocka_unit_test(test_store__segments_run_like_the_composition),
        folder_test(test_store__facts_come_back),
        cmocka_unit_test(test_store__selections_parse_and_format),
        folder_test(test_store__selection_documents),
        cmocka_unit_test(test_store__selection_survives_its_own_json),
        cmocka_unit_test(test_store__selection_must_fit_the_store),
        folder_test(test_store__update_replaces_one_variant),
        folder_test(test_store__update_checks_the_interface),
        folder_test(test_store__full_disk_leaves_the_old_store),
        folder_test(test_store__survives_sigkill),
        folder_test(test_store__read_only_store_opens),
        folder_test(test_store__never_overwrites_what_is_no_store),
        folder_test(test_store__damaged_files_are_refused),
        folder_test(test_store__lying_manifests_are_refused),
        folder_test(test_store__mutated_manifests_do_no_harm),
        folder_test(test_store__missing_store_says_so),
        folder_test(test_store__survives_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
