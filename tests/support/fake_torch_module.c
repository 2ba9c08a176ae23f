/* A torch module that is none. As it is, it belongs to another version: it opens and has the entry, but must be refused before
 * anything in it is called. With LG_FAKE_TORCH=WAY it is of this version, and reading a TorchScript file ends that way: what
 * libtorch does on a hostile file. */
#include "torch/lego_torch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((visibility("default"))) const lg_torch_api *lg_torch_api_get(void);

static lego_status accept_device(const char *device)
{
    (void)device;
    return LEGO_OK;
}

static lego_status accept_threads(int n)
{
    (void)n;
    return LEGO_OK;
}

static lego_status accept_cache(size_t bytes)
{
    (void)bytes;
    return LEGO_OK;
}

static const char *say(void)
{
    return "out of memory";
}

static void free_script(const lg_script *script)
{
    (void)script;
}

/* More than any limit of a test. */
static lego_status take_memory(void)
{
    for (int i = 0; i < 1024; i++) {
        char *block = malloc(1 << 20);

        if (!block)
            return LEGO_ENOMEM;
        memset(block, 1, 1 << 20);
    }
    abort();
}

/* Frames that the parent must not believe go to whatever descriptor there is. */
static void babble(void)
{
    char noise[64];

    memset(noise, 0xa5, sizeof(noise));
    for (int file = 3; file < 64; file++)
        if (write(file, noise, sizeof(noise)) < 0)
            continue;
    _exit(0);
}

static lego_status record(const lg_script **out, const char *path, int64_t batch, int n_inputs,
                          const lg_script_sample *inputs)
{
    const char *way = getenv("LG_FAKE_TORCH");

    (void)path;
    (void)batch;
    (void)n_inputs;
    (void)inputs;
    *out = NULL;
    if (strcmp(way, "segv") == 0)
        (void)raise(SIGSEGV);
    if (strcmp(way, "abort") == 0)
        abort();
    if (strcmp(way, "exit") == 0)
        _exit(7);
    if (strcmp(way, "babble") == 0)
        babble();
    if (strcmp(way, "close") == 0) /* ... and go on */
        for (int file = 3; file < 64; file++)
            (void)close(file);
    if (strcmp(way, "memory") == 0)
        return take_memory();
    for (;;)
        (void)pause();
}

const lg_torch_api *lg_torch_api_get(void)
{
    static lg_torch_api api;

    api.version = getenv("LG_FAKE_TORCH") ? LG_TORCH_API_VERSION : 99;
    api.struct_size = sizeof(api);
    api.last_message = say;
    api.device_check = accept_device;
    api.set_threads = accept_threads;
    api.allocator_install = accept_cache;
    api.script_record = record;
    api.script_free = free_script;
    return &api;
}
