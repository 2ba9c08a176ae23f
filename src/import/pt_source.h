/* What a .pt file consists of, in either of torch.save's formats: one pickle, and storages that it names by key. */
#ifndef LG_IMPORT_PT_SOURCE_H
#define LG_IMPORT_PT_SOURCE_H

#include "base/buffer.h"
#include "import/pickle.h"

/* What the globals of our pickles stand for, where their role is LG_PICKLE_ROLE_CALL ... */
enum { LG_PT_TENSOR, LG_PT_PARAMETER, LG_PT_QUANTIZED };
/* ... and where it is LG_PICKLE_ROLE_NAME: the lego_dtype of a storage's elements, or one of these. */
enum { LG_PT_COMPLEX = -1, LG_PT_OTHER = -2 };

typedef struct lg_pt_source lg_pt_source;

/* Free with lg_pt_source_free(). */
lego_status lg_pt_source_open(lg_pt_source **out, const char *path);
void lg_pt_source_free(lg_pt_source *source);
const lg_pickle *lg_pt_source_pickle(const lg_pt_source *source);

/* The storage called `key`, LG_NONE if there is none: its index, and its size in bytes. */
lego_status lg_pt_source_find(int32_t *storage, uint64_t *bytes, const lg_pt_source *source, const char *key);
/* How messages call a storage: "entry 'net/data/0'"; `text` is returned. */
const char *lg_pt_source_describe(char text[160], const lg_pt_source *source, const char *key);
/* Its bytes lie in the buffer from `base` on. Borrowed, as long as the source. */
lego_status lg_pt_source_read(lg_buffer **buffer, size_t *base, lg_pt_source *source, int32_t storage);

/* Whether a file's first bytes are those of the format before torch 1.6. */
int lg_pt_is_legacy(const void *data, size_t size);

/* --- pt_legacy.c --- */
typedef struct lg_pt_legacy lg_pt_legacy;
/* `globals` for the pickle. Free with lg_pt_legacy_free(). */
lego_status lg_pt_legacy_read(lg_pt_legacy **out, lg_pickle **pickle, lg_buffer *file, const lg_pickle_global *globals,
                              const char *path);
void lg_pt_legacy_free(lg_pt_legacy *legacy);
int32_t lg_pt_legacy_find(const lg_pt_legacy *legacy, const char *key);
/* Where storage i lies in the file. */
void lg_pt_legacy_place(size_t *offset, uint64_t *bytes, const lg_pt_legacy *legacy, int32_t i);

#endif
