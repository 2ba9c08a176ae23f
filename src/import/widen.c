/* widen.c: values over one spatial axis stay images of one row from layer to layer.
 *
 * Windows over (N,C,W) are imported as two-dimensional ones between two reshapes, (N,C,W) -> (N,C,1,W) and back. What
 * stands between two such layers (activations, norms, sums, joins) computes the same of either form, so here it takes the
 * wide one and the reshapes vanish: batch norms fold, sums fuse, nothing is reordered, as in networks over images.
 *
 * One pass in the order of the nodes. Each value over one axis has up to two forms in the new graph, each made when it is
 * first asked for. What is not known to compute the same asks for the value as it was.
 *
 * What newcomers get wrong: a reshape that is no longer needed gives its name back; one that is needed after all keeps it,
 * so that a file written of the result is imported as the same graph. */
#include "import/imported.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "graph/ops/common.h"

typedef struct forms {
    int32_t as_is, wide; /* values of the new graph; LG_NONE: not there yet */
    int32_t narrowed_by; /* reshape of the old graph that made it of an image; LG_NONE: another node made it */
    int32_t constant;    /* node of the old graph: a constant of one reader takes the form that is asked for */
} forms;

typedef struct widening {
    const lg_graph *from;
    lg_graph *to;
    forms *values;    /* by value of `from` */
    int32_t *readers; /* by value: how often it is read, graph outputs included */
    int32_t *users;   /* by weight */
} widening;

/* (N,C,W) and (N,C,1,W) */
static int are_forms(const lg_shape *narrow, const lg_shape *wide)
{
    return narrow->n_dims == 3 && wide->n_dims == 4 && wide->dims[2] == 1 && narrow->dims[1] == wide->dims[1] &&
           narrow->dims[2] == wide->dims[3];
}

static int narrows(const lg_graph *graph, const lg_node *node)
{
    return node->op->kind == LG_OP_RESHAPE &&
           are_forms(&lg_op_output(graph, node, 0)->shape, &lg_op_input(graph, node, 0)->shape);
}

static int widens(const lg_graph *graph, const lg_node *node)
{
    return node->op->kind == LG_OP_RESHAPE &&
           are_forms(&lg_op_input(graph, node, 0)->shape, &lg_op_output(graph, node, 0)->shape);
}

/* --- forms --- */

static int is_free(const widening *w, const char *name)
{
    return lg_graph_find_node(w->from, name) == LG_NONE && lg_graph_find_node(w->to, name) == LG_NONE;
}

static lego_status name_reshape(char **out, const widening *w, int32_t value, const char *what)
{
    const int32_t maker = w->values[value].narrowed_by;

    if (maker != LG_NONE && lg_graph_find_node(w->to, w->from->nodes[maker].name) == LG_NONE) {
        *out = lg_strdup(w->from->nodes[maker].name);
    } else {
        *out = lg_asprintf("%s/%s", w->from->values[value].name, what);
        for (int k = 2; *out && !is_free(w, *out); k++) {
            lg_free(*out);
            *out = lg_asprintf("%s/%s#%d", w->from->values[value].name, what, k);
        }
    }
    return *out ? LEGO_OK : lg_error(LEGO_ENOMEM, "out of memory naming a reshape");
}

/* The constant itself, its weight in the form that is wanted. */
static lego_status add_constant(int32_t *out, widening *w, const lg_node *node, int wide)
{
    lg_shape *shape = &w->to->weights[node->weights[0]].tensor.shape;

    if (wide)
        *shape = (lg_shape){ 3, { shape->dims[0], 1, shape->dims[1] } };
    return lg_graph_add_node(out, w->to, node->op->name, node->name, NULL, 0, NULL, 1, node->weights);
}

/* A value in the form that is wanted. */
static lego_status get(int32_t *out, widening *w, int32_t value, int wide)
{
    forms *have = &w->values[value];
    int32_t *wanted = wide ? &have->wide : &have->as_is;
    const lg_shape *shape = &w->from->values[value].shape;
    lg_attrs attrs = lg_op_of_kind(LG_OP_RESHAPE)->defaults;
    char *name = NULL;
    lego_status status = LEGO_OK;

    if (*wanted == LG_NONE && have->constant != LG_NONE) {
        LG_TRY(add_constant(wanted, w, &w->from->nodes[have->constant], wide));
    } else if (*wanted == LG_NONE) {
        attrs.reshape.shape = wide ? (lg_dims){ 3, { shape->dims[1], 1, shape->dims[2] } }
                                   : (lg_dims){ 2, { shape->dims[1], shape->dims[2] } };
        LG_TRY(name_reshape(&name, w, value, wide ? "wide" : "narrow"));
        LG_TRY(lg_graph_add_node(wanted, w->to, "reshape", name, &attrs, 1, wide ? &have->as_is : &have->wide, 0, NULL));
    }
    *out = *wanted;
done:
    lg_free(name);
    return status;
}

/* --- nodes --- */

/* Whether the node computes the same of wide values, or, where that loses the axis, the very same value; attributes that
 * count axes are set for them. */
static int takes_wide(lg_attrs *attrs, const lg_node *node)
{
    switch (node->op->kind) {
    case LG_OP_CONCAT:
        attrs->axis.axis += attrs->axis.axis == 2;
        return 1;
    case LG_OP_SOFTMAX:
        attrs->axis.axis += attrs->axis.axis == 2;
        return 1;
    case LG_OP_SPLIT:
        attrs->split.axis += attrs->split.axis == 2;
        return 1;
    case LG_OP_SLICE:
        attrs->slice.axis += attrs->slice.axis == 2;
        return 1;
    case LG_OP_FLATTEN:
        return attrs->flatten.axis == 1;
    case LG_OP_MEAN: /* over the row and its one neighbour */
        if (attrs->mean.axes.n != 1 || attrs->mean.axes.dims[0] != 2)
            return 0;
        attrs->mean.axes = (lg_dims){ 2, { 2, 3 } };
        return 1;
    case LG_OP_LAYER_NORM: /* its weights have the shape of the axes */
        return 0;
    case LG_OP_ADD:
    case LG_OP_SUB:
    case LG_OP_MUL:
    case LG_OP_DIV:
        return 1;
    default: /* element by element, or channel by channel */
        return node->op->infer_shape == lg_op_unary_infer;
    }
}

/* Any value that is wide already. */
static int sees_wide(const widening *w, const lg_node *node)
{
    int any = 0;

    for (int32_t i = 0; i < node->n_inputs; i++) {
        if (lg_op_input(w->from, node, i)->shape.n_dims != 3)
            return 0;
        any |= w->values[node->inputs[i]].wide != LG_NONE;
    }
    return any;
}

static lego_status copy_node(widening *w, const lg_node *node)
{
    lg_attrs attrs = *node->attrs;
    const int wide = sees_wide(w, node) && takes_wide(&attrs, node);
    int32_t *inputs = NULL, first;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&inputs, node->n_inputs));
    for (int32_t i = 0; i < node->n_inputs; i++)
        LG_TRY(get(&inputs[i], w, node->inputs[i], wide));
    LG_TRY(lg_graph_add_node_named(&first, w->to, node->op, node->name, wide ? &attrs : node->attrs, node->n_inputs,
                                   inputs, node->n_weights, node->weights, 0, NULL));
    for (int32_t i = 0; i < node->n_outputs; i++) {
        forms *out = &w->values[node->outputs[i]];

        *(wide && w->from->values[node->outputs[i]].shape.n_dims == 3 ? &out->wide : &out->as_is) = first + i;
    }
    if (widens(w->from, node)) /* the first reader that wants the wide form made it */
        w->values[node->inputs[0]].wide = first;
done:
    lg_free(inputs);
    return status;
}

static lego_status take_node(widening *w, int32_t index)
{
    const lg_node *node = &w->from->nodes[index];
    forms *out = &w->values[node->outputs[0]];
    lego_status status = LEGO_OK;

    if (widens(w->from, node) && w->values[node->inputs[0]].wide != LG_NONE) {
        out->as_is = w->values[node->inputs[0]].wide;
    } else if (node->op->kind == LG_OP_CONSTANT && w->from->values[node->outputs[0]].shape.n_dims == 3 &&
               w->readers[node->outputs[0]] == 1 && w->users[node->weights[0]] == 1) {
        out->constant = index; /* added where it is read */
    } else if (narrows(w->from, node)) {
        LG_TRY(get(&out->wide, w, node->inputs[0], 0));
        out->narrowed_by = index;
    } else {
        LG_TRY(copy_node(w, node));
    }
done:
    return status;
}

static lego_status count_uses(widening *w)
{
    const lg_graph *from = w->from;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&w->readers, from->n_values));
    LG_TRY(LG_CALLOC(&w->users, from->n_weights));
    for (int32_t i = 0; i < from->n_outputs; i++)
        w->readers[from->outputs[i]]++;
    for (int32_t i = 0; i < from->n_nodes; i++) {
        const lg_node *node = &from->nodes[i];

        for (int32_t k = 0; k < node->n_inputs; k++)
            w->readers[node->inputs[k]]++;
        for (int32_t k = 0; k < node->n_weights; k++)
            if (node->weights[k] != LG_NONE)
                w->users[node->weights[k]]++;
    }
done:
    return status;
}

static lego_status start(widening *w)
{
    const lg_graph *from = w->from;
    int32_t id;
    lego_status status = LEGO_OK;

    LG_TRY(lg_graph_create(&w->to, from->name));
    LG_TRY(LG_CALLOC(&w->values, from->n_values));
    LG_TRY(count_uses(w));
    for (int32_t i = 0; i < from->n_values; i++)
        w->values[i] = (forms){ LG_NONE, LG_NONE, LG_NONE, LG_NONE };
    for (int32_t i = 0; i < from->n_inputs; i++) {
        const lg_value *value = &from->values[from->inputs[i]];
        const lg_shape shape = lg_shape_make(value->shape.n_dims - 1, value->shape.dims + 1);

        LG_TRY(lg_graph_add_input(&w->values[from->inputs[i]].as_is, w->to, value->name, value->dtype, &shape));
    }
    for (int32_t i = 0; i < from->n_weights; i++)
        LG_TRY(lg_graph_add_weight(&id, w->to, from->weights[i].name, &from->weights[i].tensor));
done:
    return status;
}

lego_status lg_imported_widen(lg_graph **graph)
{
    widening w = { *graph, NULL, NULL, NULL, NULL };
    int any = 0;
    int32_t value;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < w.from->n_nodes; i++)
        any |= widens(w.from, &w.from->nodes[i]);
    if (!any)
        return LEGO_OK;
    LG_TRY(start(&w));
    for (int32_t i = 0; i < w.from->n_nodes; i++)
        LG_TRY(take_node(&w, i));
    for (int32_t i = 0; i < w.from->n_outputs; i++) {
        LG_TRY(get(&value, &w, w.from->outputs[i], 0));
        LG_TRY(lg_graph_add_output(w.to, value));
    }
    LG_TRY(lg_graph_validate(w.to));
    lg_graph_free(*graph);
    *graph = w.to;
    w.to = NULL; /* the caller owns it now */
done:
    lg_graph_free(w.to);
    lg_free(w.values);
    lg_free(w.readers);
    lg_free(w.users);
    return status;
}
