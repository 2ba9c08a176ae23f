/* Exponentials of floats, written so that compilers make them vectors: no branches, no calls, no tables.
 *
 * Largest errors over all floats, in units of the last place, against double precision (test_engine_acts): lg_expf 1.0,
 * lg_logisticf 2.2, lg_tanhf 1.2, lg_erff 2.3, lg_normal_share 3.8; what is below the normal numbers may come out as 0.
 * Coefficients: least maximum error by Lawson's iteration (1961), in double, then rounded to floats.
 *
 * What newcomers get wrong: every path is computed for every element and one is chosen at the end, so each must be harmless
 * where it is not wanted. A NaN comes out of all of them. */
#ifndef LG_ENGINE_VECTOR_MATH_H
#define LG_ENGINE_VECTOR_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t lg_bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float lg_float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* e^(x + rest), where `rest` is small, a part of the sum that x cannot hold. e^x = 2^n e^r with n whole and r of at most
 * half of log 2; 2^n in two factors, so that results below the normal numbers come out, too. */
static inline float lg_expf_sum(float x, float rest)
{
    const float whole = 0x1.8p23f; /* adding it rounds to a whole number, which its lowest bits then are */
    const float up = x > 89.0f ? 89.0f : x, in = up < -104.0f ? -104.0f : up;
    const float shifted = in * 1.44269504f + whole, n = shifted - whole;
    const float r = in - n * 0.693359375f + n * 2.12194440e-4f + rest;
    const float p = 0.499999851f + r * (0.166664124f + r * (0.041669663f + r * (0.00838007685f + r * 0.00137911609f)));
    const uint32_t bits = lg_bits_of(shifted) - lg_bits_of(whole); /* n modulo 2^32 */
    const uint32_t half = ((bits + 512) >> 1) - 256;

    return (1.0f + (r + r * r * p)) * lg_float_of((half + 127) << 23) * lg_float_of((bits - half + 127) << 23);
}

static inline float lg_expf(float x)
{
    return lg_expf_sum(x, 0.0f);
}

static inline float lg_logisticf(float x)
{
    return 1.0f / (1.0f + lg_expf(-x));
}

static inline float lg_tanhf(float x)
{
    const float a = fabsf(x), z = x * x;
    const float small =
        a + a * z * (-0.333332777f + z * (0.133313313f + z * (-0.0537299849f + z * (0.0206060912f + z * -0.00566687481f))));
    const float large = 1.0f - 2.0f / (lg_expf(a + a) + 1.0f);

    return copysignf(a < 0.625f ? small : large, x);
}

/* e^(-x^2 / scale): the square is taken apart, since an error of its rounding would be one of the exponent. */
static inline float lg_bellf(float x, float inverse_scale)
{
    const float high = lg_float_of(lg_bits_of(x) & 0xfffff000u), low = x - high;

    return lg_expf_sum(-high * high * inverse_scale, -low * (x + high) * inverse_scale);
}

/* e^(u^2) (1 - erf(u)) for 0 <= u <= 10.5, which varies slowly; u + 2 times it is a polynomial in (u - 2) / (u + 2). */
static inline float lg_scaled_erfcf(float u)
{
    const float t = (u - 2.0f) / (u + 2.0f);
    const float p = 1.02158272f + t * (-0.687160671f + t * (0.279471755f + t * (-0.03644187f + t * (-0.0215055048f +
                    t * (0.00647662533f + t * (0.00306199444f + t * (-0.000834509206f + t * (-0.000592682452f +
                    t * (4.96287103e-05f + t * 7.09207088e-05f)))))))));

    return p / (u + 2.0f);
}

static inline float lg_erff(float x)
{
    const float a = fabsf(x) > 10.5f ? 10.5f : fabsf(x), z = a * a;
    const float small = a * (1.12837911f + z * (-0.37612626f + z * (0.112835854f + z * (-0.0268538091f +
                        z * (0.00518832309f + z * (-0.000801014947f + z * 7.85369994e-05f))))));

    return copysignf(a < 1.0f ? small : 1.0f - lg_bellf(a, 1.0f) * lg_scaled_erfcf(a), x);
}

/* The share of a normal distribution that lies below x: (1 + erf(x / sqrt 2)) / 2 without its cancellation. */
static inline float lg_normal_share(float x)
{
    const float a = fabsf(x) > 14.8f ? 14.8f : fabsf(x); /* beyond all is 0 */
    const float beyond = 0.5f * lg_bellf(a, 0.5f) * lg_scaled_erfcf(a * 0.707106781f);

    return x < 0.0f ? beyond : 1.0f - beyond;
}

#endif
