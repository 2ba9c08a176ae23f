/* The files that torch 2.x wrote (tests/torch2/write.py), and that a model computes what torch 2.x did. */
#ifndef LG_TESTS_TORCH2_H
#define LG_TESTS_TORCH2_H

#include <math.h>

#include "legodnn/import.h"
#include "legodnn/session.h"
#include "legodnn/tensor.h"
#include "support/support.h"

#define TORCH2(file) LG_TEST_SOURCE_DIR "/tests/torch2/" file

/* Runs x.npy, of a batch of 2, through the model; `want` names the .npy file of its outputs. */
static inline void check_against_torch2(const lego_model *model, const char *want)
{
    lego_session_options options = LEGO_SESSION_OPTIONS_INIT;
    lego_session *session;
    lego_tensor *x, *y;
    float got[10] = { 0 };
    const float *expected, *inputs[1];
    float *outputs[1] = { got };

    assert_ok(lego_tensor_load_npy(&x, TORCH2("x.npy")));
    assert_ok(lego_tensor_load_npy(&y, want));
    assert_int_equal(lego_tensor_n_elements(y), 10);
    options.batch = 2;
    assert_ok(lego_session_create(&session, NULL, model, &options));
    inputs[0] = lego_tensor_data(x);
    assert_ok(lego_session_run(session, inputs, outputs));
    expected = lego_tensor_data(y);
    for (int i = 0; i < 10; i++)
        if (!(fabsf(got[i] - expected[i]) <= 1e-5f))
            fail_msg("output %d is %.7g, torch has %.7g", i, (double)got[i], (double)expected[i]);
    lego_session_free(session);
    lego_tensor_free(x);
    lego_tensor_free(y);
}

#endif
