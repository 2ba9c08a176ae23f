/* Small stores, and made-up profiles for them. */
#ifndef LG_TESTS_STORES_H
#define LG_TESTS_STORES_H

#include "support/graphs.h"

#include "base/file.h"
#include "base/str.h"
#include "profile/profile.h"
#include "store/store.h"

#define SMALL_CHANNELS 4
#define SMALL_SIDE 6
#define SMALL_CLASSES 3

/* A variant of a block: conv to `width` channels, relu, conv back. */
static inline lg_graph *make_small_variant(const lg_block *block, int64_t width, uint64_t seed)
{
    char name[96];
    maker m;
    int32_t x;

    maker_start(&m, seed);
    assert_ok(lg_graph_add_input(&x, m.graph, block->inputs[0], LEGO_DTYPE_F32,
                                 &(lg_shape){ 3, { SMALL_CHANNELS, SMALL_SIDE, SMALL_SIDE } }));
    m.n_layers = 100 * (1 + (int)strtol(block->name + 1, NULL, 10)); /* names unlike those of other blocks */
    x = make_conv(&m, x, width, 3, 1, 1, 1);
    x = make_unary(&m, x, "relu", NULL);
    x = make_conv(&m, x, SMALL_CHANNELS, 3, 1, 1, 1);
    (void)snprintf(name, sizeof(name), "%s", block->outputs[0]);
    lg_free(m.graph->values[x].name);
    m.graph->values[x].name = lg_strdup(name);
    assert_non_null(m.graph->values[x].name);
    return maker_finish(&m, x);
}

/* stem - b0 - relu - b1 - relu - ... - pool - classifier; variant v of a block has 8 - v inner channels. */
static inline lego_store *make_small_store(const char *path, int32_t n_blocks, int32_t n_variants)
{
    const int64_t dims[4] = { LG_BATCH, SMALL_CHANNELS, SMALL_SIDE, SMALL_SIDE };
    lego_store *store = NULL;
    char name[32], output[32];
    maker m;
    int32_t x;

    maker_start(&m, 5);
    x = make_conv(&m, make_input(&m, SMALL_CHANNELS, SMALL_SIDE, SMALL_SIDE), SMALL_CHANNELS, 3, 1, 1, 1);
    for (int32_t b = 0; b < n_blocks; b++) {
        lg_value value = { output, LEGO_DTYPE_F32, lg_shape_make(4, dims), LG_NONE };
        int32_t y;

        (void)snprintf(name, sizeof(name), "b%d", b);
        (void)snprintf(output, sizeof(output), "block%d", b);
        assert_ok(lg_graph_add_block(&y, m.graph, name, b, 1, &x, 1, &value));
        x = make_unary(&m, y, "relu", NULL);
    }
    x = make_unary(&m, make_unary(&m, x, "adaptive_avg_pool", NULL), "flatten", NULL);
    assert_ok(lg_store_create(&store, maker_finish(&m, make_linear(&m, x, SMALL_CLASSES))));
    for (int32_t b = 0; b < n_blocks; b++)
        for (int32_t v = 0; v < n_variants; v++) {
            (void)snprintf(name, sizeof(name), v ? "s0.%d" : "s0", v);
            assert_ok(lg_store_add_variant(store, b, name, 0.1 * v, "f32", v ? "l1" : "original",
                                           make_small_variant(&store->blocks[b], 8 - v, (uint64_t)(10 * b + v))));
        }
    assert_ok(lg_store_write(store, path));
    lego_store_free(store);
    assert_ok(lego_store_open(&store, NULL, path));
    return store;
}

/* profile.json: variant v of block b costs cost * v * (b + 1). */
static inline void write_small_accuracy(const lego_store *store, double cost)
{
    lg_str text = LG_STR_INIT;
    char *document = NULL, *path = lg_path_join(lego_store_path(store), LEGO_PROFILE_SERVER_FILE);

    lg_str_append(&text, "{\"schema\":\"legodnn.profile/1\",\"model\":\"test\",\"server\":{\"accuracy\":0.9,"
                         "\"predictor\":{\"name\":\"kl\",\"link\":\"identity\"},\"blocks\":[");
    for (int32_t b = 0; b < store->n_blocks; b++) {
        lg_str_appendf(&text, "%s{\"name\":\"%s\",\"variants\":[", b ? "," : "", store->blocks[b].name);
        for (int32_t v = 0; v < store->blocks[b].n_variants; v++)
            lg_str_appendf(&text, "%s{\"name\":\"%s\",\"cost\":%.9g,\"weight_bytes\":%zu,\"flops\":%lld}", v ? "," : "",
                           store->blocks[b].variants[v].name, cost * v * (b + 1),
                           store->blocks[b].variants[v].weight_bytes, (long long)store->blocks[b].variants[v].flops);
        lg_str_append(&text, "]}");
    }
    lg_str_append(&text, "]}}");
    assert_ok(lg_str_finish(&document, &text));
    assert_ok(lg_file_write(path, document, strlen(document)));
    lg_free(document);
    lg_free(path);
}

/* latency.json: variant v takes `us` * (1 - 0.2 v), the frame `us`; 1000 * (10 - v) bytes, the frame and arena 5000. */
static inline void write_small_latency(const lego_store *store, double us, double margin)
{
    lg_str text = LG_STR_INIT;
    char *document = NULL, *path = lg_path_join(lego_store_path(store), LEGO_PROFILE_DEVICE_FILE);

    lg_str_appendf(&text, "{\"schema\":\"legodnn.profile/1\",\"model\":\"test\",\"device\":{\"engine\":\"ref\","
                          "\"batch\":1,\"threads\":1,\"arena_bytes\":5000,\"held_out\":{\"margin\":%g},"
                          "\"frame\":{\"latency_us\":%g,\"resident_bytes\":5000},\"blocks\":[", margin, us);
    for (int32_t b = 0; b < store->n_blocks; b++) {
        lg_str_appendf(&text, "%s{\"name\":\"%s\",\"variants\":[", b ? "," : "", store->blocks[b].name);
        for (int32_t v = 0; v < store->blocks[b].n_variants; v++)
            lg_str_appendf(&text, "%s{\"name\":\"%s\",\"latency_us\":%.9g,\"resident_bytes\":%d}", v ? "," : "",
                           store->blocks[b].variants[v].name, us * (1.0 - 0.2 * v), 1000 * (10 - v));
        lg_str_append(&text, "]}");
    }
    lg_str_append(&text, "]}}");
    assert_ok(lg_str_finish(&document, &text));
    assert_ok(lg_file_write(path, document, strlen(document)));
    lg_free(document);
    lg_free(path);
}

#endif
