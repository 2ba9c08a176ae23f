/* A module of another version: it opens and has the entry, but must be refused before anything in it is called. */
#include <stddef.h>
#include <stdint.h>

struct fake_api {
    uint32_t version, reserved;
    size_t struct_size;
};

__attribute__((visibility("default"))) const void *lg_torch_api_get(void);

const void *lg_torch_api_get(void)
{
    static const struct fake_api api = { 99, 0, sizeof(struct fake_api) };

    return &api;
}
