/* Solutions: selections with their predictions, and the documents "legodnn.selection/1" and "legodnn.pareto/1". */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "optimize/optimizer.h"

lego_status lg_solution_create(lego_solution **out, const lego_optimizer *optimizer, const lg_problem *problem,
                               const lg_answer *answer)
{
    lego_solution *solution = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&solution, 1));
    LG_TRY(LG_CALLOC(&solution->selections, answer->n_selections));
    LG_TRY(LG_CALLOC(&solution->predictions, answer->n_selections));
    solution->store = optimizer->store;
    solution->margin = optimizer->margin;
    solution->status = answer->proven ? LEGO_SOLUTION_OPTIMAL : LEGO_SOLUTION_FEASIBLE;
    for (int32_t i = 0; i < answer->n_selections; i++) {
        const int32_t *choice = answer->choices + (size_t)i * (size_t)answer->n_blocks;

        LG_TRY(lg_selection_create(&solution->selections[i], optimizer->store, choice));
        lg_optimizer_predict(&solution->predictions[i], optimizer, problem, choice);
        solution->n_selections++;
    }

    *out = solution;
    solution = NULL;
done:
    lego_solution_free(solution);
    return status;
}

void lego_solution_free(lego_solution *solution)
{
    if (!solution)
        return;
    for (int32_t i = 0; i < solution->n_selections; i++)
        lego_selection_free(solution->selections[i]);
    lg_free(solution->selections);
    lg_free(solution->predictions);
    lg_free(solution);
}

lego_solution_status lego_solution_get_status(const lego_solution *solution)
{
    return solution->status;
}

int32_t lego_solution_n_selections(const lego_solution *solution)
{
    return solution->n_selections;
}

const lego_selection *lego_solution_selection(const lego_solution *solution, int32_t index)
{
    return index >= 0 && index < solution->n_selections ? solution->selections[index] : NULL;
}

lego_status lego_solution_prediction(lego_prediction *out, const lego_solution *solution, int32_t index)
{
    if (!out || !solution)
        return lg_error(LEGO_EINVAL, "out and solution must not be NULL");
    if (index < 0 || index >= solution->n_selections)
        return lg_error(LEGO_EINVAL, "selection %d is not in 0 to %d", index, solution->n_selections - 1);
    *out = solution->predictions[index];
    return LEGO_OK;
}

double lego_solution_solve_us(const lego_solution *solution)
{
    return solution->solve_us;
}

/* --- documents --- */

/* An object of the limits that are set; `*limits` is borrowed from the parent. */
static lego_status set_limits(lg_json **limits, lg_json *parent, const char *key, const lego_budget *budget)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_object(limits, parent, key));
    if (budget->latency_ms > 0.0)
        LG_TRY(lg_json_set_double(*limits, "latency_ms", budget->latency_ms));
    if (budget->memory_bytes > 0)
        LG_TRY(lg_json_set_int(*limits, "memory_bytes", budget->memory_bytes));
done:
    return status;
}

/* `selection` and `predicted` of the index-th selection, as members of `object`. */
static lego_status set_selection(lg_json *object, const lego_solution *solution, int32_t index)
{
    const lego_prediction *prediction = &solution->predictions[index];
    lg_json *selection = NULL, *predicted;
    lego_status status = LEGO_OK;

    LG_TRY(lg_selection_to_json(&selection, solution->store, solution->selections[index]->variants));
    LG_TRY(lg_json_set_item(object, "selection", &selection));
    LG_TRY(lg_json_set_object(&predicted, object, "predicted"));
    LG_TRY(lg_json_set_double(predicted, "accuracy", prediction->accuracy));
    LG_TRY(lg_json_set_double(predicted, "accuracy_drop", prediction->accuracy_drop));
    LG_TRY(lg_json_set_double(predicted, "latency_ms", prediction->latency_ms)); /* NaN becomes null */
    LG_TRY(lg_json_set_int(predicted, "memory_bytes", prediction->memory_bytes));
    LG_TRY(lg_json_set_int(predicted, "flops", prediction->flops));
done:
    lg_json_free(selection);
    return status;
}

/* The selections from `first` on as an array of objects. */
static lego_status set_list(lg_json *parent, const char *key, const lego_solution *solution, int32_t first)
{
    lg_json *list, *item;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_array(&list, parent, key));
    for (int32_t i = first; i < solution->n_selections; i++) {
        LG_TRY(lg_json_push_object(&item, list));
        LG_TRY(set_selection(item, solution, i));
    }
done:
    return status;
}

static lego_status set_nearest(lg_json *document, const lego_solution *solution, int with_selection)
{
    lg_json *nearest;
    lego_status status = LEGO_OK;

    LG_TRY(set_limits(&nearest, document, "nearest", &solution->nearest));
    LG_TRY(lg_json_set_double(nearest, "over", solution->growth));
    if (with_selection)
        LG_TRY(set_selection(nearest, solution, 0));
done:
    return status;
}

static lego_status fill_selection(lg_json *document, const lego_solution *solution)
{
    static const char *const names[] = { "optimal", "feasible", "relaxed" };
    lg_json *limits;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_string(document, "schema", "legodnn.selection/1"));
    LG_TRY(lg_json_set_bool(document, "feasible", solution->status != LEGO_SOLUTION_RELAXED));
    LG_TRY(lg_json_set_string(document, "status", names[solution->status]));
    LG_TRY(set_selection(document, solution, 0));
    LG_TRY(set_limits(&limits, document, "limits", &solution->budget));
    LG_TRY(lg_json_set_double(document, "latency_margin", solution->margin));
    if (solution->status == LEGO_SOLUTION_RELAXED)
        LG_TRY(set_nearest(document, solution, 0));
    LG_TRY(lg_json_set_string(document, "solver", solution->solver));
    LG_TRY(lg_json_set_double(document, "solve_us", solution->solve_us));
    if (solution->n_selections > 1)
        LG_TRY(set_list(document, "alternatives", solution, 1));
done:
    return status;
}

static lego_status fill_frontier(lg_json *document, const lego_solution *solution)
{
    lg_json *limits;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_string(document, "schema", "legodnn.pareto/1"));
    LG_TRY(lg_json_set_bool(document, "complete", solution->status == LEGO_SOLUTION_OPTIMAL));
    LG_TRY(set_limits(&limits, document, "limits", &solution->budget));
    LG_TRY(lg_json_set_double(document, "latency_margin", solution->margin));
    LG_TRY(lg_json_set_double(document, "solve_us", solution->solve_us));
    LG_TRY(set_list(document, "points", solution, 0));
done:
    return status;
}

lego_status lego_solution_to_json(char **out, const lego_solution *solution)
{
    lg_json *document = NULL;
    lego_status status = LEGO_OK;

    if (!out || !solution)
        return lg_error(LEGO_EINVAL, "out and solution must not be NULL");
    *out = NULL;
    LG_TRY(lg_json_create_object(&document));
    LG_TRY(solution->is_frontier ? fill_frontier(document, solution) : fill_selection(document, solution));
    LG_TRY(lg_json_print(out, document, 1));
done:
    lg_json_free(document);
    return status;
}

/* One entry of `fails`: how far the best that can be had is over a limit. */
static lego_status push_failure(lg_json *fails, const char *limit, const char *unit, double allowed, double least,
                                int alone)
{
    lg_json *item;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&item, fails));
    LG_TRY(lg_json_set_string(item, "limit", limit));
    LG_TRY(lg_json_set_bool(item, "alone", alone));
    LG_TRY(lg_json_set_string(item, "unit", unit));
    LG_TRY(lg_json_set_double(item, "allowed", allowed));
    LG_TRY(lg_json_set_double(item, "least", least));
    LG_TRY(lg_json_set_double(item, "over", least / allowed - 1.0));
done:
    return status;
}

static lego_status set_failures(lg_json *document, const lego_optimizer *optimizer, const lego_budget *budget,
                                const lg_shortfall *s)
{
    double least_ms = lg_optimizer_limit_ms(optimizer, s->least_latency);
    int latency = budget->latency_ms > 0.0 && least_ms > budget->latency_ms;
    int bytes = budget->memory_bytes > 0 && s->least_bytes > budget->memory_bytes;
    lg_json *fails;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_array(&fails, document, "fails"));
    if (latency)
        LG_TRY(push_failure(fails, "latency", "ms", budget->latency_ms, least_ms, 1));
    if (bytes)
        LG_TRY(push_failure(fails, "memory", "bytes", (double)budget->memory_bytes, (double)s->least_bytes, 1));
    if (!latency && !bytes) { /* each could be met, both together cannot */
        LG_TRY(push_failure(fails, "latency", "ms", budget->latency_ms,
                            lg_optimizer_limit_ms(optimizer, s->least_latency_within), 0));
        LG_TRY(push_failure(fails, "memory", "bytes", (double)budget->memory_bytes, (double)s->least_bytes_within,
                            0));
    }
done:
    return status;
}

lego_status lg_shortfall_to_json(char **out, const lego_optimizer *optimizer, const lego_budget *budget,
                                 const lg_shortfall *shortfall, const lego_solution *nearest)
{
    lg_json *document = NULL, *limits;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_create_object(&document));
    LG_TRY(lg_json_set_string(document, "schema", "legodnn.selection/1"));
    LG_TRY(lg_json_set_bool(document, "feasible", 0));
    LG_TRY(lg_json_set_string(document, "status", "infeasible"));
    LG_TRY(set_limits(&limits, document, "limits", budget));
    LG_TRY(lg_json_set_double(document, "latency_margin", optimizer->margin));
    LG_TRY(set_failures(document, optimizer, budget, shortfall));
    LG_TRY(set_nearest(document, nearest, 1));
    LG_TRY(lg_json_print(out, document, 1));
done:
    lg_json_free(document);
    return status;
}
