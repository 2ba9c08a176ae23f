/* Fresh weights. Each weight draws from a stream of its own, made of the seed and its name, so that neither the order
 * of the layers nor what stands beside them changes what a layer starts with.
 *
 * Convolutions: normal with variance 2 / fan out (He et al. 2015), fan out = outputs times kernel positions, groups or
 * not, exactly as torchvision's ResNet, ResNeXt and MobileNetV2 do it. Counting only a group's own outputs would keep the
 * variance of a depthwise layer, but behind batch norm only the size of a step relative to the weights matters, and
 * small weights learn faster: after two epochs of 6,000 Fashion-MNIST images a quarter MobileNetV2 is at 74 and 69 %
 * (two seeds) this way and at 54 and 64 % the other, a narrow ResNeXt29 at 77 and 76 % against 73 and 75 %.
 * Linear layers: uniform in +-1/sqrt(fan in), weight and bias, as torch.nn.Linear. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/rng.h"
#include "graph/graph.h"
#include "graph/ops.h"

/* Product of the extents behind the first two: the kernel's positions. */
static double kernel_positions(const lg_shape *shape)
{
    double n = 1.0;

    for (int i = 2; i < shape->n_dims; i++)
        n *= (double)shape->dims[i];
    return n;
}

/* Outputs times positions: weights are (K,C/groups,R,S), of transposed convolutions (C,K/groups,R,S). */
static double fan_out(const lg_node *node, const lg_shape *weight)
{
    if (node->op->kind == LG_OP_CONV_TRANSPOSE)
        return (double)weight->dims[1] * (double)node->attrs->conv_transpose.groups * kernel_positions(weight);
    return (double)weight->dims[0] * kernel_positions(weight);
}

static void fill_constant(float *data, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++)
        data[i] = value;
}

static void fill(float *data, int64_t n, const lg_node *node, lg_init_rule rule, const lg_shape *main_weight,
                 lg_rng *rng)
{
    double spread;

    switch (rule) {
    case LG_INIT_ZEROS:
        return; /* fresh tensors are */
    case LG_INIT_ONES:
        fill_constant(data, n, 1.0f);
        return;
    case LG_INIT_QUARTER:
        fill_constant(data, n, 0.25f);
        return;
    case LG_INIT_KAIMING_NORMAL:
        spread = sqrt(2.0 / fan_out(node, main_weight));
        for (int64_t i = 0; i < n; i++)
            data[i] = (float)(lg_rng_normal(rng) * spread);
        return;
    case LG_INIT_FAN_IN_UNIFORM:
        spread = 1.0 / sqrt((double)main_weight->dims[1] * kernel_positions(main_weight));
        for (int64_t i = 0; i < n; i++)
            data[i] = (float)((lg_rng_uniform(rng) * 2.0 - 1.0) * spread);
        return;
    }
}

static lego_status initialize_slot(lg_graph *graph, const lg_node *node, int slot, uint64_t seed)
{
    lg_weight *weight = &graph->weights[node->weights[slot]];
    const lego_tensor *main_weight = lg_node_weight(graph, node, 0);
    lego_tensor fresh = { 0 };
    lg_rng rng;
    lego_status status = LEGO_OK;

    LG_TRY(lg_tensor_init(&fresh, weight->tensor.dtype, &weight->tensor.shape));
    lg_rng_init(&rng, seed, lg_hash(weight->name, strlen(weight->name), 0));
    fill(lg_tensor_data(&fresh), lg_tensor_count(&fresh), node, node->op->slots[slot].init,
         main_weight ? &main_weight->shape : NULL, &rng);
    lg_tensor_dispose(&weight->tensor);
    weight->tensor = fresh;
done:
    return status;
}

lego_status lg_graph_initialize(lg_graph *graph, uint64_t seed)
{
    uint8_t *done_already = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&done_already, graph->n_weights));
    for (int32_t i = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];

        for (int slot = 0; slot < node->n_weights; slot++) {
            if (node->weights[slot] == LG_NONE || done_already[node->weights[slot]]++)
                continue;
            LG_TRY(initialize_slot(graph, node, slot, seed));
        }
    }
done:
    lg_free(done_already);
    return status;
}
