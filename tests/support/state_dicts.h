/* State dicts of a small model, written as torch.save does it, and what tests of the weights ask of a model. */
#ifndef LG_TESTS_STATE_DICTS_H
#define LG_TESTS_STATE_DICTS_H

#include "support/graphs.h"
#include "support/pt_files.h"

#include "legodnn/import.h"

#define MAX_WEIGHTS 16

static inline lego_model *small_model(uint64_t seed)
{
    maker m;
    lego_model *model;

    maker_start(&m, seed);
    int32_t x = make_unary(&m, make_bn(&m, make_conv(&m, make_input(&m, 3, 8, 8), 4, 3, 2, 1, 0)), "relu", NULL);
    x = make_linear(&m, make_unary(&m, x, "flatten", NULL), 5);
    assert_ok(lg_model_from_graph(&model, maker_finish(&m, x)));
    assert_true(model->graph->n_weights < MAX_WEIGHTS);
    return model;
}

static inline const lg_weight *weight_of(const lego_model *model, const char *name)
{
    const int32_t id = lg_graph_find_weight(model->graph, name);

    assert_true(id != LG_NONE);
    return &model->graph->weights[id];
}

static inline const float *values_of(const lego_model *model, const char *name)
{
    return lg_tensor_data(&weight_of(model, name)->tensor);
}

static inline void assert_same_weights(const lego_model *a, const lego_model *b)
{
    for (int32_t i = 0; i < a->graph->n_weights; i++)
        assert_memory_equal(lg_tensor_data(&a->graph->weights[i].tensor), lg_tensor_data(&b->graph->weights[i].tensor),
                            lg_tensor_bytes(&a->graph->weights[i].tensor));
}

static inline lego_status load(lego_model *model, const char *path)
{
    return lego_model_load_weights(NULL, model, path, NULL);
}

/* --- .pt files of whole models --- */

typedef struct state_dict {
    pickler pickle;
    pt_entry entries[MAX_WEIGHTS + 4];
    int n_entries;
} state_dict;

static inline void put_weight(state_dict *s, const char *prefix, const lg_weight *weight)
{
    const lg_shape *shape = &weight->tensor.shape;
    pt_entry *entry = &s->entries[s->n_entries];
    char name[96];
    pt_view view;

    snprintf(entry->name, sizeof(entry->name), "net/data/%d", s->n_entries);
    entry->data = lg_tensor_data(&weight->tensor);
    entry->size = lg_tensor_bytes(&weight->tensor);
    s->n_entries++;
    snprintf(name, sizeof(name), "%s%s", prefix, weight->name);
    put_text(&s->pickle, name);
    view = row_major("FloatStorage", strrchr(entry->name, '/') + 1, shape->n_dims, shape->dims);
    put_tensor(&s->pickle, &view);
}

/* Put the model's weights as a dictionary; `prefix` before every name, `skip` left out. */
static inline void put_state_dict(state_dict *s, const lego_model *model, const char *prefix, const char *skip)
{
    static const int64_t counter = 7;
    const pt_view view = row_major("LongStorage", "counter", 0, NULL);

    put_ordered_dict(&s->pickle);
    put_op(&s->pickle, '(');
    for (int32_t i = 0; i < model->graph->n_weights; i++)
        if (!skip || strcmp(model->graph->weights[i].name, skip) != 0)
            put_weight(s, prefix, &model->graph->weights[i]);
    put_text(&s->pickle, "bn1.num_batches_tracked");
    put_tensor(&s->pickle, &view);
    s->entries[s->n_entries++] = (pt_entry){ "net/data/counter", &counter, sizeof(counter), 0 };
    put_op(&s->pickle, 'u');
    put(&s->pickle, "}", 1); /* "_metadata", as torch hangs it on */
    put_text(&s->pickle, "_metadata");
    put_ordered_dict(&s->pickle);
    put(&s->pickle, "sb", 2);
}

static inline void start(state_dict *s)
{
    memset(s, 0, sizeof(*s));
    pickle_start(&s->pickle);
}

static inline void finish(state_dict *s, const char *path)
{
    put_op(&s->pickle, '.');
    s->entries[s->n_entries++] = (pt_entry){ "net/data.pkl", s->pickle.text, s->pickle.length, 0 };
    s->entries[s->n_entries++] = (pt_entry){ "net/byteorder", "little", 6, 0 };
    write_zip(path, s->n_entries, s->entries);
    lg_str_dispose(&s->pickle);
}

static inline void write_state_dict(const char *path, const lego_model *model, const char *prefix, const char *skip)
{
    state_dict s;

    start(&s);
    put_state_dict(&s, model, prefix, skip);
    finish(&s, path);
}

#endif
