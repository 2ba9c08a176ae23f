/* The data sets that are known by name: reader, constants, and where to get the files.
 *
 * A new data set in a known format is one line here. Means and deviations are those that everybody uses for the training
 * images (computed from the files by tests where the files are at hand). */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "data/source.h"

#define MNIST_FILES "it must hold train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and " \
                    "t10k-labels-idx1-ubyte, each plain or .gz"

static const lg_data_kind kinds[] = {
    { "fashion-mnist", lg_idx_open, 10, 1, { 0.2860f, 0, 0 }, { 0.3530f, 0, 0 }, { 1, 28, 28 }, 1,
      "dataset-fashion-mnist", MNIST_FILES, NULL },
    { "mnist", lg_idx_open, 10, 1, { 0.1307f, 0, 0 }, { 0.3081f, 0, 0 }, { 1, 28, 28 }, 0, NULL, MNIST_FILES, NULL },
    { "cifar10", lg_cifar10_open, 10, 3, { 0.4914f, 0.4822f, 0.4465f }, { 0.2470f, 0.2435f, 0.2616f },
      { 3, 32, 32 }, 1, NULL, "it must hold data_batch_1.bin to data_batch_5.bin and test_batch.bin (the binary version)",
      "cifar-10-batches-bin" },
    { "cifar100", lg_cifar100_open, 100, 3, { 0.5071f, 0.4865f, 0.4409f }, { 0.2673f, 0.2564f, 0.2762f },
      { 3, 32, 32 }, 1, NULL, "it must hold train.bin and test.bin (the binary version)", "cifar-100-binary" },
    { "imagefolder", lg_imagefolder_open, 0, 3, { 0.485f, 0.456f, 0.406f }, { 0.229f, 0.224f, 0.225f },
      { 3, 224, 224 }, 1, NULL, "it must hold one folder a class with .jpg or .png files, in train/ (val/, test/) or by itself",
      NULL },
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

const lg_data_kind *lg_data_kind_find(const char *name, size_t length)
{
    for (size_t i = 0; i < N_KINDS; i++)
        if (strlen(kinds[i].name) == length && memcmp(kinds[i].name, name, length) == 0)
            return &kinds[i];
    return NULL;
}

lego_status lg_data_kind_names(char **out)
{
    lg_str names = LG_STR_INIT;

    for (size_t i = 0; i < N_KINDS; i++)
        lg_str_appendf(&names, "%s%s", i ? ", " : "", kinds[i].name);
    return lg_str_finish(out, &names);
}

lego_status lg_data_missing(const lg_data_kind *kind, const char *folder, const char *what)
{
    if (kind->package)
        return lg_error(LEGO_ENOTFOUND, "data set '%s': no %s in %s; install the package %s, or pass %s:FOLDER: %s",
                        kind->name, what, folder, kind->package, kind->name, kind->files);
    return lg_error(LEGO_ENOTFOUND, "data set '%s': no %s in %s; pass %s:FOLDER: %s", kind->name, what, folder,
                    kind->name, kind->files);
}

void lg_source_dispose(lg_source *source)
{
    if (source->files)
        for (int64_t i = 0; i < source->n; i++)
            lg_free(source->files[i]);
    lg_free(source->files);
    lg_free(source->labels);
    lg_free(source->pixels);
    *source = (lg_source){ .n = 0 };
}
