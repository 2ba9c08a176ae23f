/* What to do about operators that are not imported, by what they are for: most stand at an end of the network, where it can
 * be cut, or come from how it was exported. */
#include "import/advice.h"

#include <string.h>
#include <strings.h>

typedef struct advice {
    const char *ops; /* as they are called without a domain and in any case, each between two spaces */
    const char *what;
} advice;

static const advice table[] = {
    { " argmax argmin topk sort argsort unique nonzero hardmax onehot one_hot multinomial ",
      "it chooses, which belongs into the application: end the model before it" },
    { " nonmaxsuppression nms roialign roi_align maxroipool ps_roi_align box_iou ",
      "detection's choice of boxes belongs into the application: export backbone and heads without it" },
    { " if loop scan ", "control flow that depends on data: export by tracing, with the flow decided" },
    { " lstm gru rnn lstm_cell gru_cell ", "recurrent layers: end the model before them" },
    { " quantizelinear dequantizelinear dynamicquantizelinear qlinearconv qlinearmatmul convinteger matmulinteger "
      "quantize_per_tensor quantize_per_channel dequantize fake_quantize_per_tensor_affine ",
      "export the model before it is quantised" },
    { " randomnormal randomuniform randomnormallike randomuniformlike bernoulli rand randn rand_like randn_like ",
      "export in evaluation mode, without random numbers" },
    { " dft stft melweightmatrix blackmanwindow hannwindow hammingwindow fft_rfft fft_fft stft ",
      "compute spectra before the model: its input then is the spectrum" },
    { " embedding sequenceconstruct sequenceat splittosequence concatfromsequence stringnormalizer tfidfvectorizer ",
      "text and sequences: start the model behind it" },
};

static int lists(const char *ops, const char *op)
{
    const size_t length = strlen(op);

    for (const char *at = ops + 1; *at; at += strcspn(at, " ") + 1)
        if (strncasecmp(at, op, length) == 0 && at[length] == ' ')
            return 1;
    return 0;
}

const char *lg_import_advice(const char *op, const char *otherwise)
{
    for (size_t i = 0; *op && i < sizeof(table) / sizeof(table[0]); i++)
        if (lists(table[i].ops, op))
            return table[i].what;
    return otherwise;
}
