/* Reference-counted bytes: heap or a read-only file mapping. Weights of models, variants and compositions share them. */
#ifndef LG_BASE_BUFFER_H
#define LG_BASE_BUFFER_H

#include "base/status.h"

typedef struct lg_buffer lg_buffer;

lego_status lg_buffer_create(lg_buffer **out, size_t bytes);               /* zero-filled, 64-byte aligned */
lego_status lg_buffer_map(lg_buffer **out, const char *path);              /* whole file, read only */
lg_buffer *lg_buffer_ref(lg_buffer *buffer);                               /* thread-safe; NULL passes */
void lg_buffer_unref(lg_buffer *buffer);                                   /* the last one frees; NULL is a no-op */
void *lg_buffer_data(const lg_buffer *buffer);
size_t lg_buffer_size(const lg_buffer *buffer);
int lg_buffer_is_mapped(const lg_buffer *buffer);

#endif
