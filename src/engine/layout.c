/* layout.c: which kernel and layout each step uses.
 *
 * A kernel that is fastest alone may cost more than it gains once its neighbours want another layout. So: dynamic
 * programming over the steps in their order. A state is the set of layouts in which every live activation is at hand;
 * a step's candidate extends it, paying for the kernel and for the reorders of inputs that are not at hand in its
 * layout (a reordered copy stays at hand for later readers). Residual networks have one or two live activations, so a
 * handful of states is all there is; graphs with many keep the BEAM cheapest ones.
 *
 * What newcomers get wrong: the residual sum overwrites the residual. If the residual is read again later, is the
 * step's own input, or belongs to the caller, a copy is made first, and that copy is paid for here. */
#include "engine/layout.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

#define BEAM 24
#define BITS LG_N_LAYOUTS
#define SLOTS_PER_WORD (64 / BITS)
#define MAX_NEXT (BEAM * LG_MAX_CANDIDATES)

typedef struct search_state {
    double us;
    int32_t parent; /* state of the layer before */
    int32_t choice;
} search_state;

typedef struct search {
    const lg_program *program;
    const lg_step_options *options;
    const lg_reorder_costs *reorders;
    int block;
    int32_t *slot_of;      /* base cell -> slot while it lives */
    int32_t n_slots;
    size_t n_words;        /* of a key */
    search_state *layers;  /* (n_steps + 1) x BEAM */
    int32_t *counts;       /* states of each layer */
    uint64_t *keys;        /* BEAM keys of the current layer */
    search_state next[MAX_NEXT];
    uint64_t *next_keys;   /* MAX_NEXT keys */
    int32_t n_next;
} search;

/* --- shared rules --- */

unsigned lg_layout_bits(const lg_cell *cell, lg_layout layout, int block)
{
    int64_t dims[LG_WORK_DIMS];
    unsigned bits = 0;

    lg_work_dims(dims, cell);
    for (int other = 0; other < LG_N_LAYOUTS; other++)
        if (lg_layouts_coincide(dims, layout, (lg_layout)other, block))
            bits |= 1u << other;
    return bits;
}

lg_layout lg_layout_source(unsigned at_hand, const lg_reorder_costs *costs, lg_layout to)
{
    lg_layout best = LG_LAYOUT_PLAIN;
    double best_us = INFINITY;

    for (int from = 0; from < LG_N_LAYOUTS; from++)
        if ((at_hand & (1u << from)) && costs->us[from][to] < best_us) {
            best = (lg_layout)from;
            best_us = costs->us[from][to];
        }
    return best;
}

lg_layout lg_layout_wanted(const lg_program *program, int32_t cell, lg_layout layout)
{
    return program->cells[cell].base == cell ? layout : LG_LAYOUT_PLAIN;
}

/* A view has the row-major bytes of its base, whatever its own shape: a kernel may only read it in a layout that means
 * the same for that shape. */
static int reads_as(const lg_program *program, int32_t cell, lg_layout layout, int block)
{
    int64_t dims[LG_WORK_DIMS];

    if (program->cells[cell].base == cell)
        return 1;
    lg_work_dims(dims, &program->cells[cell]);
    return lg_layouts_coincide(dims, layout, LG_LAYOUT_PLAIN, block);
}

static int fits(const lg_program *program, int32_t step, const lg_candidate *candidate, int block)
{
    const lg_step *what = &program->steps[step];

    for (int32_t i = 0; i < what->n_inputs; i++)
        if (!reads_as(program, lg_work_input(program, what, i), candidate->in, block))
            return 0;
    return what->residual == LG_NONE || reads_as(program, what->residual, candidate->out, block);
}

int lg_residual_is_free(const lg_program *program, int32_t step, const lg_candidate *candidate, int block)
{
    const lg_step *s = &program->steps[step];
    int32_t base = program->cells[s->residual].base;
    const lg_cell *cell = &program->cells[base];

    if (cell->last > step)
        return 0;
    if (cell->first < 0 && (lg_layout_bits(cell, LG_LAYOUT_PLAIN, block) & (1u << candidate->out)))
        return 0; /* the caller's memory */
    for (int32_t i = 0; i < s->n_inputs; i++)
        if (program->cells[s->inputs[i]].base == base &&
            (lg_layout_bits(cell, candidate->in, block) & (1u << candidate->out)))
            return 0;
    return 1;
}

/* --- slots: which bits of a key belong to a cell --- */

static lego_status assign_slots(search *s)
{
    const lg_program *program = s->program;
    int32_t *holder = NULL; /* slot -> cell */
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&holder, program->n_cells));
    for (int32_t i = 0; i < program->n_cells; i++) {
        const lg_cell *cell = &program->cells[i];
        int32_t slot = 0;
        if (cell->base != i)
            continue;
        while (slot < s->n_slots && program->cells[holder[slot]].last >= cell->first)
            slot++;
        if (slot == s->n_slots)
            s->n_slots++;
        holder[slot] = i;
        s->slot_of[i] = slot;
    }
    s->n_words = (size_t)(s->n_slots + SLOTS_PER_WORD - 1) / SLOTS_PER_WORD;
done:
    lg_free(holder);
    return status;
}

static unsigned get_bits(const search *s, const uint64_t *key, int32_t cell)
{
    int32_t slot = s->slot_of[cell];

    return (unsigned)(key[slot / SLOTS_PER_WORD] >> (slot % SLOTS_PER_WORD * BITS)) & ((1u << BITS) - 1);
}

static void set_bits(const search *s, uint64_t *key, int32_t cell, unsigned bits)
{
    int32_t slot = s->slot_of[cell];
    int shift = slot % SLOTS_PER_WORD * BITS;

    key[slot / SLOTS_PER_WORD] &= ~((uint64_t)((1u << BITS) - 1) << shift);
    key[slot / SLOTS_PER_WORD] |= (uint64_t)bits << shift;
}

/* --- one step --- */

/* Bring a cell to a layout: what it costs; the copy stays at hand. */
static double bring(const search *s, uint64_t *key, int32_t cell, lg_layout wanted)
{
    int32_t base = s->program->cells[cell].base;
    lg_layout layout = lg_layout_wanted(s->program, cell, wanted);
    unsigned bits = get_bits(s, key, base);
    const lg_reorder_costs *costs = &s->reorders[base];

    if (bits & (1u << layout))
        return 0.0;
    set_bits(s, key, base, bits | lg_layout_bits(&s->program->cells[base], layout, s->block));
    return costs->us[lg_layout_source(bits, costs, layout)][layout];
}

static double take_step(const search *s, uint64_t *key, int32_t step, int choice)
{
    const lg_program *program = s->program;
    const lg_step *what = &program->steps[step];
    const lg_candidate *candidate = &s->options[step].candidates[choice];
    double us = s->options[step].us[choice];

    for (int32_t i = 0; i < what->n_inputs; i++)
        us += bring(s, key, lg_work_input(program, what, i), candidate->in);
    if (what->residual != LG_NONE) {
        us += bring(s, key, what->residual, candidate->out);
        if (!lg_residual_is_free(program, step, candidate, s->block))
            us += s->reorders[program->cells[what->residual].base].us[candidate->out][candidate->out];
    }
    set_bits(s, key, what->output, lg_layout_bits(&program->cells[what->output], candidate->out, s->block));
    return us;
}

/* Forget what nobody reads any more, so that states which differ only there are one. */
static void forget_dead(const search *s, uint64_t *key, int32_t step)
{
    const lg_step *what = &s->program->steps[step];
    for (int32_t i = -2; i < what->n_inputs; i++) {
        int32_t cell = i == -2 ? what->output : i == -1 ? what->residual : what->inputs[i];
        int32_t base = cell == LG_NONE ? LG_NONE : s->program->cells[cell].base;
        if (base != LG_NONE && s->program->cells[base].last <= step)
            set_bits(s, key, base, 0);
    }
}

static void add_state(search *s, const uint64_t *key, double us, int32_t parent, int32_t choice)
{
    size_t bytes = s->n_words * sizeof(*key);

    for (int32_t i = 0; i < s->n_next; i++)
        if (memcmp(&s->next_keys[(size_t)i * s->n_words], key, bytes) == 0) {
            if (us < s->next[i].us)
                s->next[i] = (search_state){ us, parent, choice };
            return;
        }
    memcpy(&s->next_keys[(size_t)s->n_next * s->n_words], key, bytes);
    s->next[s->n_next++] = (search_state){ us, parent, choice };
}

/* The BEAM cheapest of `next` become layer `layer`. Few: selection is enough. */
static void keep_best(search *s, int32_t layer)
{
    search_state *to = &s->layers[(size_t)layer * BEAM];
    int32_t n = 0;

    while (n < BEAM) {
        int32_t best = LG_NONE;
        for (int32_t i = 0; i < s->n_next; i++)
            if (s->next[i].us < INFINITY && (best == LG_NONE || s->next[i].us < s->next[best].us))
                best = i;
        if (best == LG_NONE)
            break;
        to[n] = s->next[best];
        memcpy(&s->keys[(size_t)n * s->n_words], &s->next_keys[(size_t)best * s->n_words],
               s->n_words * sizeof(*s->keys));
        s->next[best].us = INFINITY;
        n++;
    }
    s->counts[layer] = n;
}

static lego_status search_steps(search *s, uint64_t *key)
{
    const lg_program *program = s->program;
    size_t bytes = s->n_words * sizeof(*key);
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < program->n_inputs; i++)
        set_bits(s, s->keys, program->inputs[i],
                 lg_layout_bits(&program->cells[program->inputs[i]], LG_LAYOUT_PLAIN, s->block));
    s->counts[0] = 1;
    for (int32_t step = 0; step < program->n_steps; step++) {
        s->n_next = 0;
        for (int32_t k = 0; k < s->counts[step]; k++)
            for (int choice = 0; choice < s->options[step].n_candidates; choice++) {
                double us = s->layers[(size_t)step * BEAM + (size_t)k].us;
                if (!(s->options[step].us[choice] < INFINITY) ||
                    !fits(program, step, &s->options[step].candidates[choice], s->block))
                    continue;
                memcpy(key, &s->keys[(size_t)k * s->n_words], bytes);
                us += take_step(s, key, step, choice);
                forget_dead(s, key, step);
                add_state(s, key, us, k, choice);
            }
        keep_best(s, step + 1);
        if (s->counts[step + 1] == 0)
            LG_FAIL(LEGO_EBACKEND, "node '%s': the kernel library has no optimised kernel for this %s",
                    program->steps[step].name, lg_step_kind_name(program->steps[step].kind));
    }
done:
    return status;
}

/* Graph outputs leave row-major. */
static int32_t best_end(const search *s, uint64_t *key)
{
    const lg_program *program = s->program;
    int32_t best = 0;
    double best_us = INFINITY;

    for (int32_t k = 0; k < s->counts[program->n_steps]; k++) {
        double us = s->layers[(size_t)program->n_steps * BEAM + (size_t)k].us;
        memcpy(key, &s->keys[(size_t)k * s->n_words], s->n_words * sizeof(*key));
        for (int32_t i = 0; i < program->n_outputs; i++)
            us += bring(s, key, program->outputs[i], LG_LAYOUT_PLAIN);
        if (us < best_us) {
            best_us = us;
            best = k;
        }
    }
    return best;
}

lego_status lg_layouts_choose(int32_t *choices, const lg_program *program, int block, const lg_step_options *options,
                              const lg_reorder_costs *reorders)
{
    search *s = NULL;
    uint64_t *key = NULL;
    int32_t state;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&s, 1));
    s->program = program;
    s->options = options;
    s->reorders = reorders;
    s->block = block;
    LG_TRY(LG_CALLOC(&s->slot_of, program->n_cells));
    LG_TRY(assign_slots(s));
    LG_TRY(LG_CALLOC(&s->layers, ((size_t)program->n_steps + 1) * BEAM));
    LG_TRY(LG_CALLOC(&s->counts, (size_t)program->n_steps + 1));
    LG_TRY(LG_CALLOC(&s->keys, BEAM * s->n_words));
    LG_TRY(LG_CALLOC(&s->next_keys, MAX_NEXT * s->n_words));
    LG_TRY(LG_CALLOC(&key, s->n_words));
    LG_TRY(search_steps(s, key));

    state = best_end(s, key);
    for (int32_t step = program->n_steps; step > 0; step--) {
        const search_state *at = &s->layers[(size_t)step * BEAM + (size_t)state];
        choices[step - 1] = at->choice;
        state = at->parent;
    }
done:
    if (s) {
        lg_free(s->slot_of);
        lg_free(s->layers);
        lg_free(s->counts);
        lg_free(s->keys);
        lg_free(s->next_keys);
    }
    lg_free(s);
    lg_free(key);
    return status;
}
