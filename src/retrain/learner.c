/* A variant that trains: its net, the sets of weights that are kept, Adam's moments.
 *
 * Batch norm is frozen and folded (LG_TORCH_FROZEN): its statistics stay the original's, scale and shift train. With the
 * inputs changing from batch to batch (another composition each), batch statistics would be those of no composition.
 *
 * Only leaves change, so a set of weights is a list of leaves. */
#include "retrain/retrain.h"

#include <math.h>

#include "base/alloc.h"

static lego_status create_set(lg_torch_tensor ***out, const lg_learner *learner, const lg_torch_api *api, int zeros)
{
    const int32_t n = lg_torch_net_n_leaves(learner->net);
    lg_torch_tensor *const *leaves = lg_torch_net_leaves(learner->net);
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(out, n));
    for (int32_t i = 0; i < n; i++)
        LG_TRY(zeros ? LG_TORCH(api, tensor_zeros_like(&(*out)[i], leaves[i]))
                     : LG_TORCH(api, tensor_copy(&(*out)[i], leaves[i])));
done:
    return status;
}

lego_status lg_learner_init(lg_learner *out, lg_retrain *retrain, int32_t block, int32_t variant)
{
    const lg_block *of = &retrain->store->blocks[block];
    const lg_torch_api *api = retrain->api;
    const lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    out->block = block;
    out->variant = variant;
    out->block_name = of->name;
    out->name = lg_asprintf("%s/%s", of->name, of->variants[variant].name);
    if (!out->name)
        LG_FAIL(LEGO_ENOMEM, "out of memory for a variant of block '%s'", of->name);
    LG_TRY(lg_store_variant_graph(&graph, retrain->store, block, variant));
    LG_TRY(lg_graph_check_finite(graph));
    LG_TRY(lg_torch_net_create(&out->net, api, graph, retrain->opts->device));
    for (int set = 0; set < LG_N_SETS; set++)
        LG_TRY(create_set(&out->sets[set], out, api, 0));
    LG_TRY(create_set(&out->m, out, api, 1));
    LG_TRY(create_set(&out->v, out, api, 1));
done:
    return status;
}

void lg_learner_dispose(lg_learner *learner, const lg_torch_api *api)
{
    const int32_t n = learner->net ? lg_torch_net_n_leaves(learner->net) : 0;

    for (int set = 0; set < LG_N_SETS; set++) {
        lg_torch_free_all(api, learner->sets[set], n);
        lg_free(learner->sets[set]);
    }
    lg_torch_free_all(api, learner->m, n);
    lg_torch_free_all(api, learner->v, n);
    lg_free(learner->m);
    lg_free(learner->v);
    lg_torch_net_free(learner->net);
    lg_free(learner->name);
}

static lego_status copy_set(const lg_learner *learner, const lg_torch_api *api, lg_torch_tensor *const *to,
                            lg_torch_tensor *const *from)
{
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < lg_torch_net_n_leaves(learner->net); i++)
        LG_TRY(LG_TORCH(api, tensor_assign(to[i], from[i])));
done:
    return status;
}

lego_status lg_learner_keep(lg_learner *learner, const lg_torch_api *api, lg_learner_set set)
{
    return copy_set(learner, api, learner->sets[set], lg_torch_net_leaves(learner->net));
}

lego_status lg_learner_use(lg_learner *learner, const lg_torch_api *api, lg_learner_set set)
{
    return copy_set(learner, api, lg_torch_net_leaves(learner->net), learner->sets[set]);
}

/* sum += distance(x, target) */
static lego_status add_distance(lg_torch_tensor **sum, const lg_retrain *retrain, const lg_torch_tensor *x,
                                const lg_torch_tensor *target)
{
    const lg_torch_api *api = retrain->api;
    lg_torch_tensor *one = NULL, *next = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_TORCH(api, distance(&one, (lg_torch_loss)retrain->opts->loss, x, target)));
    if (*sum) {
        LG_TRY(LG_TORCH(api, add(&next, *sum, one, 0)));
        lg_torch_free_all(api, &one, 1);
        lg_torch_free_all(api, sum, 1);
        one = next;
    }
    *sum = one;
    one = NULL;
done:
    lg_torch_free_all(api, &one, 1);
    return status;
}

/* Sum over the block's outputs of the distances to the targets, plain and in the directions that count. */
static lego_status loss_of(lg_torch_tensor **out, const lg_retrain *retrain, int32_t block, int32_t n,
                           lg_torch_tensor *const *outputs, const lg_target *targets)
{
    lg_torch_tensor *sum = NULL, *projected = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    for (int32_t i = 0; i < n; i++) {
        LG_TRY(add_distance(&sum, retrain, outputs[i], targets[i].value));
        LG_TRY(lg_retrain_project(&projected, retrain, block, i, outputs[i]));
        if (projected)
            LG_TRY(add_distance(&sum, retrain, projected, targets[i].projected));
        lg_torch_free_all(retrain->api, &projected, 1);
    }
    *out = sum;
    sum = NULL;
done:
    lg_torch_free_all(retrain->api, &projected, 1);
    lg_torch_free_all(retrain->api, &sum, 1);
    return status;
}

lego_status lg_learner_step(lg_learner *learner, lg_retrain *retrain, lg_torch_tensor *const *inputs,
                            const lg_target *targets, double lr, lg_torch_tensor **outputs)
{
    const lg_torch_api *api = retrain->api;
    const int32_t n = lg_torch_net_graph(learner->net)->n_outputs;
    const lg_torch_adam adam = { lr, 0.9, 0.999, 1e-8, retrain->opts->max_norm, learner->steps + 1 };
    lg_torch_tensor **live = NULL, *loss = NULL;
    double value = 0.0, norm = 0.0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&live, n));
    LG_TRY(lg_torch_net_forward(learner->net, LG_TORCH_FROZEN, inputs, live));
    LG_TRY(loss_of(&loss, retrain, learner->block, n, live, targets));
    LG_TRY(LG_TORCH(api, tensor_item(&value, loss)));
    if (isfinite(value)) {
        LG_TRY(LG_TORCH(api, backward(loss)));
        LG_TRY(LG_TORCH(api, adam_step(&norm, lg_torch_net_n_leaves(learner->net), lg_torch_net_leaves(learner->net),
                                       learner->m, learner->v, &adam)));
    }
    if (!isfinite(value) || !isfinite(norm)) {
        learner->last_loss = value;
        learner->last_norm = norm;
        learner->state = LG_LEARNER_FAILED;
        LG_TRY(lg_learner_use(learner, api, LG_SET_BEST));
        goto done;
    }
    learner->steps++;
    for (int32_t i = 0; outputs && i < n; i++)
        LG_TRY(LG_TORCH(api, tensor_detach(&outputs[i], live[i])));
done:
    if (status != LEGO_OK && outputs)
        lg_torch_free_all(api, outputs, n);
    lg_torch_free_all(api, live, n);
    lg_torch_free_all(api, &loss, 1);
    lg_free(live);
    return status;
}

lego_status lg_learner_loss(double *out, lg_learner *learner, lg_retrain *retrain, lg_torch_tensor *const *inputs,
                            const lg_target *targets)
{
    const lg_torch_api *api = retrain->api;
    const int32_t n = lg_torch_net_graph(learner->net)->n_outputs;
    lg_torch_tensor **outputs = NULL, *loss = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&outputs, n));
    LG_TRY(lg_torch_net_forward(learner->net, LG_TORCH_EVAL, inputs, outputs));
    LG_TRY(loss_of(&loss, retrain, learner->block, n, outputs, targets));
    LG_TRY(LG_TORCH(api, tensor_item(out, loss)));
done:
    lg_torch_free_all(api, outputs, n);
    lg_torch_free_all(api, &loss, 1);
    lg_free(outputs);
    return status;
}

lego_status lg_learner_write(lg_learner *learner, lg_retrain *retrain)
{
    const lg_torch_api *api = retrain->api;
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    if (learner->written || !learner->improved)
        return LEGO_OK;
    LG_TRY(lg_learner_use(learner, api, LG_SET_BEST));
    LG_TRY(lg_graph_clone(&graph, lg_torch_net_graph(learner->net)));
    LG_TRY(lg_torch_net_read(learner->net, graph));
    LG_TRY(lg_graph_check_finite(graph));
    LG_TRY(lg_store_update_variant(retrain->store, learner->block, learner->variant, graph, "retrain"));
    learner->written = 1;
done:
    lg_graph_free(graph);
    return status;
}
