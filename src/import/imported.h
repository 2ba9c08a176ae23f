/* What graphs of any file format have in common at the start and at the end of their import. */
#ifndef LG_IMPORT_IMPORTED_H
#define LG_IMPORT_IMPORTED_H

#include "graph/ops.h"
#include "legodnn/import.h"

/* A graph called `name`; NULL: as the file is, without folder and ending. */
lego_status lg_imported_create(lg_graph **out, const char *path, const char *name);
/* The shape that is given for the input at `position` (LG_NONE: only by name), called `name`; NULL if none is. */
const lego_import_input *lg_imported_shape(const lego_import_options *options, const char *name, int64_t position);
/* LEGO_EINVAL if a shape is given for none of the file's inputs, called `names`. */
lego_status lg_imported_check_shapes(const lego_import_options *options, const char *path, int64_t n_names,
                                     const char *const *names);
/* Validate what was imported and widen it. What is wrong with it then is wrong in the file: LEGO_EFORMAT naming it. */
lego_status lg_imported_check(lg_graph **graph, const char *path);
/* widen.c: a graph that computes the same, in which values over one spatial axis stay images between the layers that slide
 * over them. */
lego_status lg_imported_widen(lg_graph **graph);

/* How the axes of the bits become the places (1,n) of a plane, over which a pool takes the largest element: the order of all
 * axes with those last, and the shape to give then, (channels,1,n); n = 0: they are the places of an image already. Returns
 * whether the order moves anything. */
int lg_imported_plane(lg_dims *order, lg_dims *plane, const lg_shape *in, unsigned axes);

#endif
