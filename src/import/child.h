/* Work that may crash or hang, done in a copy of this process: what it makes is a graph. */
#ifndef LG_IMPORT_CHILD_H
#define LG_IMPORT_CHILD_H

#include "graph/graph.h"

/* In the child. `context` logs and reports progress to the caller's. */
typedef lego_status (*lg_child_fn)(lg_graph **out, const lego_context *context, void *payload);

/* Fork, run `fn` there, and hand over its graph, or its error as if it had happened here. The child leaves no file behind and
 * does not outlive this process. LEGO_ECRASHED, beginning with `what`, if it ends without an answer or needs more than
 * `seconds`; LEGO_ECANCELED once the context's progress says so. */
lego_status lg_child_run(lg_graph **out, const lego_context *context, const char *what, int64_t seconds, lg_child_fn fn,
                         void *payload);
/* In the child: from here on at most so much more memory; what asks for more fails to allocate. */
lego_status lg_child_limit_memory(int64_t bytes);

#endif
