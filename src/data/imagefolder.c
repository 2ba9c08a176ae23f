/* Image folders: one sub-folder a class, JPEG and PNG files in it.
 *
 * Flow: folder -> lg_source with labels and file names; pixels are decoded when a sample is read (image.c).
 * Two layouts: train/CLASS/, val/CLASS/, test/CLASS/ (val/ may be absent, then it is cut from train/), or CLASS/ alone,
 * from which validation and test are cut. Class numbers are the sorted names of the training folder's
 * sub-folders for every split: a class that lacks test images must not move the numbers of the others. */
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "data/image.h"
#include "data/source.h"

#define MAX_SAMPLES INT32_MAX

/* Growing list of samples. */
typedef struct sample_list {
    lg_source *source;
    size_t files_capacity, labels_capacity;
} sample_list;

static lego_status join(char **out, const char *folder, const char *name)
{
    *out = lg_path_join(folder, name);
    return *out ? LEGO_OK : lg_error(LEGO_ENOMEM, "out of memory");
}

/* Hidden names and files beside the class folders do not matter. */
static lego_status list_subfolders(char ***out, size_t *n_out, const char *folder)
{
    char **names = NULL, *path = NULL;
    size_t n = 0, kept = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_dir_list(&names, &n, folder));
    for (size_t i = 0; i < n; i++) {
        int is_class;

        LG_TRY(join(&path, folder, names[i]));
        is_class = names[i][0] != '.' && lg_dir_exists(path);
        lg_free(path);
        path = NULL;
        if (is_class) {
            char *name = names[i];

            names[i] = names[kept];
            names[kept++] = name;
        }
    }
    for (size_t i = kept; i < n; i++) {
        lg_free(names[i]);
        names[i] = NULL;
    }
    *out = names;
    *n_out = kept;
    names = NULL;
    n = 0;
done:
    lg_names_free(names, n);
    return status;
}

static lego_status add_class(sample_list *list, const char *folder, int32_t label)
{
    lg_source *source = list->source;
    char **names = NULL;
    size_t n = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_dir_list(&names, &n, folder));
    for (size_t i = 0; i < n; i++) {
        if (names[i][0] == '.' || !lg_image_is_name(names[i]))
            continue;
        if (source->n >= MAX_SAMPLES)
            LG_FAIL(LEGO_EFORMAT, "%s: more than %d images", folder, MAX_SAMPLES);
        LG_TRY(LG_RESERVE(&source->files, &list->files_capacity, source->n + 1));
        LG_TRY(LG_RESERVE(&source->labels, &list->labels_capacity, source->n + 1));
        LG_TRY(join(&source->files[source->n], folder, names[i]));
        source->labels[source->n++] = label;
    }
done:
    lg_names_free(names, n);
    return status;
}

/* The sub-folders of `folder` whose names are classes. */
static lego_status add_folder(sample_list *list, const char *folder, char **classes, size_t n_classes)
{
    char **names = NULL, *path = NULL;
    size_t n = 0, c = 0;
    lego_status status = LEGO_OK;

    LG_TRY(list_subfolders(&names, &n, folder));
    for (size_t i = 0; i < n; i++) {
        while (c < n_classes && strcmp(classes[c], names[i]) < 0)
            c++;
        if (c == n_classes || strcmp(classes[c], names[i]) != 0)
            LG_FAIL(LEGO_EFORMAT, "%s/%s: no class of that name among the training images", folder, names[i]);
        LG_TRY(join(&path, folder, names[i]));
        LG_TRY(add_class(list, path, (int32_t)c));
        lg_free(path);
        path = NULL;
    }
    if (list->source->n == 0)
        LG_FAIL(LEGO_ENOTFOUND, "%s: no image (.jpg, .jpeg, .png) in its class folders", folder);
done:
    lg_free(path);
    lg_names_free(names, n);
    return status;
}

lego_status lg_imagefolder_open(lg_source *out, const lg_data_kind *kind, const char *folder, lego_split split)
{
    sample_list list = { out, 0, 0 };
    char *parts[3] = { NULL, NULL, NULL };
    char **classes = NULL;
    size_t n_classes = 0;
    const char *root, *samples;
    lego_status status = LEGO_OK;

    LG_TRY(join(&parts[LEGO_SPLIT_TRAIN], folder, "train"));
    LG_TRY(join(&parts[LEGO_SPLIT_VAL], folder, "val"));
    LG_TRY(join(&parts[LEGO_SPLIT_TEST], folder, "test"));
    if (!lg_dir_exists(parts[LEGO_SPLIT_TRAIN])) {
        root = samples = folder;
        out->cut = LG_CUT_VAL_TEST;
    } else {
        root = samples = parts[LEGO_SPLIT_TRAIN];
        if (split == LEGO_SPLIT_TEST && !lg_dir_exists(parts[split]))
            LG_TRY(lg_data_missing(kind, folder, "test/"));
        out->cut = lg_dir_exists(parts[LEGO_SPLIT_VAL]) ? LG_CUT_NONE : LG_CUT_VAL;
        if (split == LEGO_SPLIT_TEST || out->cut == LG_CUT_NONE) {
            samples = parts[split];
            out->cut = LG_CUT_NONE;
        }
    }
    LG_TRY(list_subfolders(&classes, &n_classes, root));
    if (n_classes == 0 || n_classes > MAX_SAMPLES)
        LG_FAIL(LEGO_ENOTFOUND, "%s: no class folders; %s", root, kind->files);
    out->n_classes = (int32_t)n_classes;
    LG_TRY(add_folder(&list, samples, classes, n_classes));
done:
    lg_names_free(classes, n_classes);
    for (int i = 0; i < 3; i++)
        lg_free(parts[i]);
    return status;
}
