/* What graphs of any file format have in common at the start and at the end of their import. */
#ifndef LG_IMPORT_IMPORTED_H
#define LG_IMPORT_IMPORTED_H

#include "graph/graph.h"

/* A graph called `name`; NULL: as the file is, without folder and ending. */
lego_status lg_imported_create(lg_graph **out, const char *path, const char *name);
/* Validate what was imported. What is wrong with it then is wrong in the file: LEGO_EFORMAT naming it. */
lego_status lg_imported_check(lg_graph *graph, const char *path);

#endif
