/* What a loaded profile says about a selection. */
#include "profile/profile.h"
#include "store/store.h"

lego_status lego_profile_predict_accuracy(double *accuracy, const lego_profile *profile, const lego_store *store,
                                          const lego_selection *selection)
{
    double cost = 0.0;

    if (!accuracy || !profile || !store || !selection)
        return lg_error(LEGO_EINVAL, "accuracy, profile, store and selection must not be NULL");
    if (profile->server.n_blocks == 0)
        return lg_error(LEGO_EINVAL, "the profile has no server section: accuracy was not measured");
    for (int32_t b = 0; b < selection->n_blocks; b++) {
        const char *block_name = store->blocks[b].name;
        const char *variant_name = store->blocks[b].variants[selection->variants[b]].name;
        const lg_profile_block *block = lg_profile_find_block(&profile->server, block_name);
        const lg_profile_variant *variant = block ? lg_profile_find_variant(block, variant_name) : NULL;

        if (!variant)
            return lg_error(LEGO_ENOTFOUND, "the profile does not know block '%s' variant '%s'", block_name,
                            variant_name);
        cost += variant->cost;
    }
    *accuracy = lg_profile_accuracy(profile, cost);
    return LEGO_OK;
}
