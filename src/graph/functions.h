/* The list of scalar functions: ops of one input, element by element, of any shape, that have no number of their own. Each
 * is an op, an activation of the engine, and a function of the torch module by the name that stands here. */
#ifndef LG_GRAPH_FUNCTIONS_H
#define LG_GRAPH_FUNCTIONS_H

#define LG_FUNCTIONS(X)                                                       \
    X(ABS, abs)                                                               \
    X(ACOS, acos)                                                             \
    X(ACOSH, acosh)                                                           \
    X(ASIN, asin)                                                             \
    X(ASINH, asinh)                                                           \
    X(ATAN, atan)                                                             \
    X(ATANH, atanh)                                                           \
    X(CEIL, ceil)                                                             \
    X(COS, cos)                                                               \
    X(COSH, cosh)                                                             \
    X(ERF, erf)                                                               \
    X(EXP, exp)                                                               \
    X(FLOOR, floor)                                                           \
    X(LOG, log)                                                               \
    X(LOG_SIGMOID, log_sigmoid) /* log(1 / (1 + e^-x)) */                     \
    X(MISH, mish)               /* x tanh(log(1 + e^x)) */                    \
    X(RECIPROCAL, reciprocal)                                                 \
    X(ROUND, round)             /* halves to the even neighbour */            \
    X(SIGN, sign)                                                             \
    X(SIN, sin)                                                               \
    X(SINH, sinh)                                                             \
    X(SOFTSIGN, softsign)       /* x / (1 + |x|) */                           \
    X(SQRT, sqrt)                                                             \
    X(TAN, tan)

#endif
