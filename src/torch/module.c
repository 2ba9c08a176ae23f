/* Opens legodnn-torch.so, the only door to libtorch, on first use.
 *
 * libtorch brings hundreds of shared objects and takes a third of a second to load, so nothing links against it: the
 * commands that need it call lg_torch_load(), everything else starts in milliseconds and runs where no libtorch is.
 * RTLD_LOCAL keeps its symbols away from the host program's. The module stays open: unloading C++ libraries that hold
 * thread-local state is not safe. */
#include "torch/torch.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/str.h"

#define MODULE_NAME "legodnn-torch.so"
#define INSTALL_HINT "build legodnn with LEGODNN_WITH_TORCH=ON (Debian: libtorch-dev) or name the module in LEGODNN_TORCH_MODULE"

/* Folder of the file that holds this function: the shared library, or the executable if linked statically. */
static char *own_folder(void)
{
    static const char here = 0; /* any object of ours: ISO C forbids the address of a function as void * */
    Dl_info info;
    struct link_map *map = NULL;
    char *path = NULL, *slash;

    if (!dladdr1(&here, &info, (void **)&map, RTLD_DL_LINKMAP))
        return NULL;
    /* The main program's name is whatever argv[0] was: ask the kernel instead. */
    path = realpath(map && map->l_name && *map->l_name ? map->l_name : "/proc/self/exe", NULL);
    slash = path ? strrchr(path, '/') : NULL;
    if (slash)
        *slash = '\0';
    return path;
}

/* First existing candidate, or NULL; `tried` collects the names for the message. */
static char *find_module(lg_str *tried)
{
    static const char *const beside[] = { "/legodnn/", "/../lib/legodnn/" };
    const char *named = getenv("LEGODNN_TORCH_MODULE");
    char *folder, *path = NULL;

    if (named && *named) {
        lg_str_appendf(tried, " %s", named);
        return lg_file_exists(named) ? lg_strdup(named) : NULL;
    }
    folder = own_folder();
    for (size_t i = 0; folder && i < sizeof(beside) / sizeof(beside[0]); i++) {
        path = lg_asprintf("%s%s%s", folder, beside[i], MODULE_NAME);
        if (!path)
            break;
        lg_str_appendf(tried, " %s", path);
        if (lg_file_exists(path))
            break;
        lg_free(path);
        path = NULL;
    }
    free(folder);
    if (path)
        return path;
    lg_str_appendf(tried, " %s/%s", LG_TORCH_INSTALL_DIR, MODULE_NAME);
    path = lg_asprintf("%s/%s", LG_TORCH_INSTALL_DIR, MODULE_NAME);
    if (path && lg_file_exists(path))
        return path;
    lg_free(path);
    return NULL;
}

/* At most a quarter of the memory waits in the cache. LEGODNN_TORCH_ALLOCATOR=system leaves libtorch's own allocator
 * in place, to measure the difference or to look for memory errors. */
static lego_status install_allocator(const lg_torch_api *api)
{
    const char *choice = getenv("LEGODNN_TORCH_ALLOCATOR");
    const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

    if (choice && strcmp(choice, "system") == 0)
        return LEGO_OK;
    if (choice && *choice && strcmp(choice, "caching") != 0)
        return lg_error(LEGO_EINVAL, "LEGODNN_TORCH_ALLOCATOR='%s' is not one of caching, system", choice);
    return LG_TORCH(api, allocator_install(pages > 0 && page_bytes > 0 ? (size_t)pages / 4 * (size_t)page_bytes : 0));
}

static lego_status open_module(const lg_torch_api **out, const char *path)
{
    const lg_torch_api *api;
    lg_torch_entry entry;
    void *library, *symbol;
    lego_status status = LEGO_OK;

    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return lg_error(LEGO_EUNSUPPORTED, "the torch module does not load (%s); " INSTALL_HINT, dlerror());
    symbol = dlsym(library, LG_TORCH_ENTRY);
    if (!symbol)
        LG_FAIL(LEGO_EUNSUPPORTED, "'%s' is not a legodnn torch module: it has no %s", path, LG_TORCH_ENTRY);
    memcpy(&entry, &symbol, sizeof(entry)); /* ISO C has no cast from object to function pointer */
    api = entry();
    if (!api || api->version != LG_TORCH_API_VERSION || api->struct_size != sizeof(*api))
        LG_FAIL(LEGO_EUNSUPPORTED,
                "'%s' belongs to another version of legodnn (interface %u, %zu bytes; this library: %u, %zu)", path,
                api ? (unsigned)api->version : 0u, api ? api->struct_size : (size_t)0,
                (unsigned)LG_TORCH_API_VERSION, sizeof(*api));
    LG_TRY(install_allocator(api));
    *out = api;
    library = NULL; /* stays open */
done:
    if (library)
        dlclose(library);
    return status;
}

lego_status lg_torch_load(const lg_torch_api **out)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static const lg_torch_api *loaded; /* a shared library is one per process, and so is this */
    lg_str tried = LG_STR_INIT;
    char *path = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    pthread_mutex_lock(&mutex);
    if (!loaded) {
        path = find_module(&tried);
        if (!path)
            LG_FAIL(LEGO_EUNSUPPORTED, "the torch module is missing (looked for%s); " INSTALL_HINT,
                    tried.text ? tried.text : " nothing");
        LG_TRY(open_module(&loaded, path));
    }
    *out = loaded;
done:
    pthread_mutex_unlock(&mutex);
    lg_free(path);
    lg_str_dispose(&tried);
    return status;
}

lego_status lg_torch_open(const lg_torch_api **out, const lego_context *context, const char *device)
{
    const lg_torch_api *api = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_torch_load(&api));
    status = api->device_check(device ? device : "cpu");
    if (status != LEGO_OK) /* this message speaks for itself */
        LG_FAIL(status, "%s", api->last_message());
    LG_TRY(LG_TORCH(api, set_threads(lego_context_threads(context))));
    *out = api;
done:
    return status;
}

lego_status lg_torch_check(const lg_torch_api *api, lego_status status, const char *where)
{
    if (status == LEGO_OK)
        return LEGO_OK;
    return lg_error(status, "%s%slibtorch: %s", where ? where : "", where ? ": " : "", api->last_message());
}

void lg_torch_free_all(const lg_torch_api *api, lg_torch_tensor **tensors, int32_t n)
{
    for (int32_t i = 0; tensors && i < n; i++) {
        if (tensors[i])
            api->tensor_free(tensors[i]);
        tensors[i] = NULL;
    }
}
