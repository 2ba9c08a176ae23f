/* Checkpoints: one safetensors file of tensors and strings, written atomically; what train and retrain go on from. */
#ifndef LG_RETRAIN_CHECKPOINT_H
#define LG_RETRAIN_CHECKPOINT_H

#include "tensor/safetensors.h"
#include "torch/torch.h"

/* --- writing: collect, then save --- */
typedef struct lg_checkpoint lg_checkpoint;
/* `kind` says what the file is and what it must say when it is read, e.g. "legodnn.train-checkpoint/1". */
lego_status lg_checkpoint_create(lg_checkpoint **out, const char *kind);
void lg_checkpoint_free(lg_checkpoint *checkpoint);
/* Copy a tensor in under the name "<prefix><name>". */
lego_status lg_checkpoint_add(lg_checkpoint *checkpoint, const lg_torch_api *api, const char *prefix,
                              const char *name, const lg_torch_tensor *tensor);
lego_status lg_checkpoint_set(lg_checkpoint *checkpoint, const char *key, const char *text);
lego_status lg_checkpoint_set_int(lg_checkpoint *checkpoint, const char *key, int64_t value);
/* Exactly: read back bit for bit. */
lego_status lg_checkpoint_set_double(lg_checkpoint *checkpoint, const char *key, double value);
lego_status lg_checkpoint_save(const lg_checkpoint *checkpoint, const char *path);

/* --- reading --- */
typedef struct lg_checkpoint_file {
    lg_safetensors *file;
} lg_checkpoint_file;
/* LEGO_EFORMAT if the file is damaged or of another kind. Dispose with lg_checkpoint_close(). */
lego_status lg_checkpoint_open(lg_checkpoint_file *out, const char *path, const char *kind);
void lg_checkpoint_close(lg_checkpoint_file *checkpoint);
/* Overwrite `tensor` with the one of that name; LEGO_EFORMAT if there is none of its size. */
lego_status lg_checkpoint_read(const lg_checkpoint_file *checkpoint, const lg_torch_api *api, const char *prefix,
                               const char *name, lg_torch_tensor *tensor);
lego_status lg_checkpoint_get(const char **out, const lg_checkpoint_file *checkpoint, const char *key);
lego_status lg_checkpoint_get_int(int64_t *out, const lg_checkpoint_file *checkpoint, const char *key, int64_t min,
                                  int64_t max);
lego_status lg_checkpoint_get_double(double *out, const lg_checkpoint_file *checkpoint, const char *key);

#endif
