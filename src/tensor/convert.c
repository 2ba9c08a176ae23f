/* Floating-point tensors of other widths as float32, the only floating-point type that graphs compute with.
 *
 * bfloat16 is the upper half of a float. A half has 5 exponent and 10 fraction bits; its subnormals are normal floats. */
#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

static float float_of_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static float float_of_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;

    if (exponent == 0) {
        const float tiny = ldexpf((float)fraction, -24);
        return sign ? -tiny : tiny;
    }
    return float_of_bits(sign | (exponent == 0x1f ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13);
}

int lg_dtype_is_float(lego_dtype dtype)
{
    return dtype == LEGO_DTYPE_F32 || dtype == LEGO_DTYPE_F64 || dtype == LEGO_DTYPE_F16 || dtype == LEGO_DTYPE_BF16;
}

lego_status lg_tensor_to_f32(lego_tensor *out, const lego_tensor *tensor)
{
    const int64_t n = lg_tensor_count(tensor);
    const char *from;
    float *to;
    lego_status status = LEGO_OK;

    if (!lg_dtype_is_float(tensor->dtype))
        return lg_error(LEGO_EINVAL, "%s is no floating-point type", lg_dtype_name(tensor->dtype));
    LG_TRY(lg_tensor_init(out, LEGO_DTYPE_F32, &tensor->shape));
    from = lg_tensor_data(tensor);
    to = lg_tensor_data(out);
    for (int64_t i = 0; i < n; i++) { /* by bytes: files do not align */
        double wide;
        uint16_t bits;

        switch (tensor->dtype) {
        case LEGO_DTYPE_F64:
            memcpy(&wide, from + 8 * i, 8);
            to[i] = (float)wide;
            break;
        case LEGO_DTYPE_F16:
            memcpy(&bits, from + 2 * i, 2);
            to[i] = float_of_half(bits);
            break;
        case LEGO_DTYPE_BF16:
            memcpy(&bits, from + 2 * i, 2);
            to[i] = float_of_bits((uint32_t)bits << 16);
            break;
        default:
            memcpy(&to[i], from + 4 * i, 4);
        }
    }
done:
    return status;
}
