/* What a user can do about an operator that no graph of ours has. */
#ifndef LG_IMPORT_ADVICE_H
#define LG_IMPORT_ADVICE_H

/* `op`: an ONNX op ("ArgMax") or a TorchScript operator ("argmax"); `otherwise`: what is said of any other. */
const char *lg_import_advice(const char *op, const char *otherwise);

#endif
