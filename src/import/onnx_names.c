/* The table of ops that are one op here and one in ONNX. */
#include "import/onnx_names.h"

#include <string.h>

static const lg_onnx_name names[] = {
    { LG_OP_ABS, "Abs", 6 },
    { LG_OP_ACOS, "Acos", 7 },
    { LG_OP_ACOSH, "Acosh", 9 },
    { LG_OP_ADD, "Add", 7 },
    { LG_OP_ASIN, "Asin", 7 },
    { LG_OP_ASINH, "Asinh", 9 },
    { LG_OP_ATAN, "Atan", 7 },
    { LG_OP_ATANH, "Atanh", 9 },
    { LG_OP_CEIL, "Ceil", 6 },
    { LG_OP_CLIP, "Clip", 6 },
    { LG_OP_COS, "Cos", 7 },
    { LG_OP_COSH, "Cosh", 9 },
    { LG_OP_DIV, "Div", 7 },
    { LG_OP_ERF, "Erf", 9 },
    { LG_OP_EXP, "Exp", 6 },
    { LG_OP_FLOOR, "Floor", 6 },
    { LG_OP_GELU, "Gelu", 20 },
    { LG_OP_HARD_SIGMOID, "HardSigmoid", 6 },
    { LG_OP_HARD_SWISH, "HardSwish", 14 },
    { LG_OP_LAYER_NORM, "LayerNormalization", 17 },
    { LG_OP_LEAKY_RELU, "LeakyRelu", 6 },
    { LG_OP_LOG, "Log", 6 },
    { LG_OP_LOG_SOFTMAX, "LogSoftmax", 13 },
    { LG_OP_MAX, "Max", 8 },
    { LG_OP_MIN, "Min", 8 },
    { LG_OP_MISH, "Mish", 18 },
    { LG_OP_MUL, "Mul", 7 },
    { LG_OP_POW, "Pow", 7 },
    { LG_OP_RECIPROCAL, "Reciprocal", 6 },
    { LG_OP_RELU, "Relu", 6 },
    { LG_OP_ROUND, "Round", 11 },
    { LG_OP_SHRINK, "Shrink", 9 },
    { LG_OP_SIGMOID, "Sigmoid", 6 },
    { LG_OP_SIGN, "Sign", 9 },
    { LG_OP_SIN, "Sin", 7 },
    { LG_OP_SINH, "Sinh", 9 },
    { LG_OP_SOFTMAX, "Softmax", 13 },
    { LG_OP_SOFTSIGN, "Softsign", 1 },
    { LG_OP_SQRT, "Sqrt", 6 },
    { LG_OP_SUB, "Sub", 7 },
    { LG_OP_TAN, "Tan", 7 },
    { LG_OP_TANH, "Tanh", 6 },
    { LG_OP_THRESHOLDED_RELU, "ThresholdedRelu", 10 },
};

const lg_onnx_name *lg_onnx_name_of(lg_op_kind kind)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].kind == kind)
            return &names[i];
    return NULL;
}

const lg_onnx_name *lg_onnx_name_find(const char *type)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i].type, type) == 0)
            return &names[i];
    return NULL;
}
