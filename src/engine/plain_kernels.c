/* plain_kernels.c: which kernel computes which kind of step; compiled once for each instruction set, as the kernels are.
 *
 * What newcomers get wrong: results are the same in all of them. No compiler may join a product and a sum into one
 * instruction, or reorder a sum (CMakeLists.txt says so), so what differs is only how many elements go at once. */
#include "engine/plain_kernels.h"

const lg_plain_kernel LG_PLAIN(kernels)[] = {
    [LG_STEP_CONV] = LG_PLAIN(layer),
    [LG_STEP_CONV_TRANSPOSE] = LG_PLAIN(layer),
    [LG_STEP_LINEAR] = LG_PLAIN(layer),
    [LG_STEP_AFFINE] = LG_PLAIN(affine),
    [LG_STEP_BINARY] = LG_PLAIN(binary),
    [LG_STEP_ACT] = LG_PLAIN(act),
    [LG_STEP_PRELU] = LG_PLAIN(prelu),
    [LG_STEP_MAX_POOL] = LG_PLAIN(pool),
    [LG_STEP_AVG_POOL] = LG_PLAIN(pool),
    [LG_STEP_ADAPTIVE_AVG_POOL] = LG_PLAIN(adaptive),
    [LG_STEP_ADAPTIVE_MAX_POOL] = LG_PLAIN(adaptive),
    [LG_STEP_PAD] = LG_PLAIN(pad),
    [LG_STEP_UPSAMPLE] = LG_PLAIN(upsample),
    [LG_STEP_CONCAT] = LG_PLAIN(concat),
    [LG_STEP_SLICE] = LG_PLAIN(slice),
    [LG_STEP_PERMUTE] = LG_PLAIN(permute),
    [LG_STEP_RESHAPE] = LG_PLAIN(reshape),
    [LG_STEP_SHUFFLE] = LG_PLAIN(shuffle),
    [LG_STEP_CONSTANT] = LG_PLAIN(constant),
    [LG_STEP_MEAN] = LG_PLAIN(mean),
    [LG_STEP_SOFTMAX] = LG_PLAIN(softmax),
    [LG_STEP_LOG_SOFTMAX] = LG_PLAIN(log_softmax),
    [LG_STEP_LAYER_NORM] = LG_PLAIN(layer_norm),
    [LG_STEP_GROUP_NORM] = LG_PLAIN(group_norm),
    [LG_STEP_MATMUL] = LG_PLAIN(matmul),
};
