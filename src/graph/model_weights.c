/* Plain weights into a model: a safetensors file as PyTorch users have it (state_dict), matched by name.
 *
 * Strict, because a half-matched network computes nonsense without complaint. torch's counter of batches
 * (num_batches_tracked) is the one tensor that no graph here has and that is passed over. */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "graph/graph.h"
#include "graph/name_map.h"
#include "tensor/safetensors.h"

static lego_status check_match(const lego_tensor *have, const lg_weight *weight, const char *path)
{
    char have_text[128], want_text[128];

    if (!have)
        return lg_error(LEGO_EFORMAT, "%s: weight '%s' of the model is not there", path, weight->name);
    if (have->dtype != weight->tensor.dtype || !lg_shape_equal(&have->shape, &weight->tensor.shape))
        return lg_error(LEGO_EFORMAT, "%s: weight '%s' is %s %s, the model has %s %s", path, weight->name,
                        lg_dtype_name(have->dtype), lg_shape_format(have_text, &have->shape),
                        lg_dtype_name(weight->tensor.dtype), lg_shape_format(want_text, &weight->tensor.shape));
    return LEGO_OK;
}

static lego_status check_no_others(const lg_graph *graph, const lg_safetensors *file)
{
    lg_name_map names = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_name_map_init(&names, (size_t)graph->n_weights));
    for (int32_t i = 0; i < graph->n_weights; i++)
        lg_name_map_add(&names, graph->weights[i].name, i);
    for (size_t i = 0; i < file->n_tensors; i++)
        if (lg_name_map_find(&names, file->names[i]) == LG_NONE &&
            !lg_str_ends_with(file->names[i], ".num_batches_tracked"))
            LG_FAIL(LEGO_EFORMAT, "%s: the model has no weight '%s'", file->path, file->names[i]);
done:
    lg_name_map_dispose(&names);
    return status;
}

lego_status lego_model_load_weights(lego_model *model, const char *path)
{
    lg_safetensors *file = NULL;
    lg_graph *loaded = NULL; /* the same structure, so that a failure leaves the model as it was */
    lego_status status = LEGO_OK;

    if (!model || !path)
        return lg_error(LEGO_EINVAL, "model and path must not be NULL");
    LG_TRY(lg_safetensors_load(&file, path));
    LG_TRY(lg_graph_clone(&loaded, model->graph));
    for (int32_t i = 0; i < loaded->n_weights; i++) {
        lg_weight *weight = &loaded->weights[i];
        const lego_tensor *tensor = lg_safetensors_find(file, weight->name);
        lego_tensor taken = { 0 };

        LG_TRY(check_match(tensor, weight, path));
        LG_TRY(lg_graph_take_tensor(&taken, tensor));
        lg_tensor_dispose(&weight->tensor);
        weight->tensor = taken;
    }
    LG_TRY(check_no_others(loaded, file));
    if (lg_graph_check_finite(loaded) != LEGO_OK)
        LG_FAIL(LEGO_EFORMAT, "%s: %s", path, lego_last_error());
    lg_graph_free(model->graph);
    model->graph = loaded;
    loaded = NULL;
done:
    lg_graph_free(loaded);
    lg_safetensors_free(file);
    return status;
}
