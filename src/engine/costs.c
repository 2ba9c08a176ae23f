/* costs.c: what kernels cost, as measured: kept in lg_packed_cache, saved in a device profile and loaded again.
 *
 * What newcomers get wrong: keys are "<work>\n<candidate>", one text; in JSON the two are apart, an object of candidates
 * a work. A candidate that does not exist costs INFINITY, null in JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/cache_map.h"

#define TUNING_SCHEMA "legodnn.tuning/1"

int lg_cache_cost(double *us, lg_packed_cache *cache, const char *work, const char *candidate)
{
    char key[2 * LG_KEY_MAX];
    lg_cache_entry *entry;

    snprintf(key, sizeof(key), "%s\n%s", work, candidate);
    pthread_mutex_lock(&cache->lock);
    entry = lg_map_find(&cache->costs, key);
    if (entry)
        *us = entry->cost_us;
    pthread_mutex_unlock(&cache->lock);
    return entry != NULL;
}

lego_status lg_cache_set_cost(lg_packed_cache *cache, const char *work, const char *candidate, double us)
{
    char key[2 * LG_KEY_MAX];
    lg_cache_entry *entry = NULL;
    lg_cache_entry *known;
    lego_status status = LEGO_OK;

    snprintf(key, sizeof(key), "%s\n%s", work, candidate);
    LG_TRY(lg_entry_create(&entry, key));
    entry->cost_us = us;
    pthread_mutex_lock(&cache->lock);
    known = lg_map_find(&cache->costs, key);
    if (known) {
        known->cost_us = us;
    } else {
        status = lg_map_insert(&cache->costs, entry);
        if (status == LEGO_OK)
            entry = NULL; /* the map owns it now */
    }
    pthread_mutex_unlock(&cache->lock);
done:
    if (entry)
        lg_entry_free(entry);
    return status;
}

static lego_status cost_to_json(lg_json *works, const lg_cache_entry *entry)
{
    const char *cut = strchr(entry->key, '\n');
    char work[LG_KEY_MAX];
    lg_json *costs = NULL;
    const lg_json *known = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_key_format(work, "%.*s", (int)(cut - entry->key), entry->key));
    if (lg_json_has(works, work)) {
        LG_TRY(lg_json_get_object(&known, works, work, "tuning"));
        costs = (lg_json *)known; /* ours: built a moment ago */
    } else {
        LG_TRY(lg_json_set_object(&costs, works, work));
    }
    LG_TRY(lg_json_set_double(costs, cut + 1, entry->cost_us));
done:
    return status;
}

lego_status lg_packed_cache_tuning_to_json(lg_json **out, const lg_packed_cache *cache)
{
    lg_packed_cache *locked = (lg_packed_cache *)cache; /* the mutex is no part of the value */
    lg_json *json = NULL;
    lg_json *works;
    lego_status status = LEGO_OK;

    *out = NULL;
    pthread_mutex_lock(&locked->lock);
    LG_TRY(lg_json_create_object(&json));
    LG_TRY(lg_json_set_string(json, "schema", TUNING_SCHEMA));
    LG_TRY(lg_json_set_object(&works, json, "costs_us"));
    for (size_t i = 0; i < cache->costs.n_buckets; i++)
        for (const lg_cache_entry *entry = cache->costs.buckets[i]; entry; entry = entry->next)
            LG_TRY(cost_to_json(works, entry));
    *out = json;
    json = NULL; /* the caller owns it now */
done:
    pthread_mutex_unlock(&locked->lock);
    lg_json_free(json);
    return status;
}

lego_status lg_packed_cache_tuning_from_json(lg_packed_cache *cache, const lg_json *json)
{
    const lg_json *works;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_check_schema(json, TUNING_SCHEMA, "tuning"));
    LG_TRY(lg_json_get_object(&works, json, "costs_us", "tuning"));
    lg_json_each(work, works) {
        const char *name = lg_json_key(work);
        if (!lg_json_is_object(work) || strlen(name) >= LG_KEY_MAX)
            LG_FAIL(LEGO_EFORMAT, "tuning: '%.64s' is not an object of costs", name);
        lg_json_each(cost, work) {
            double us = INFINITY; /* null: there is no such kernel */
            if (lg_json_is_number(cost))
                LG_TRY(lg_json_double(&us, cost, name));
            if (!(us >= 0.0) || strlen(lg_json_key(cost)) >= LG_KEY_MAX)
                LG_FAIL(LEGO_EFORMAT, "tuning: '%.64s': %g is not a cost in microseconds", name, us);
            LG_TRY(lg_cache_set_cost(cache, name, lg_json_key(cost), us));
        }
    }
done:
    return status;
}
