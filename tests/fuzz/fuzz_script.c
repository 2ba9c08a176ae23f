/* fuzz_script SECONDS FOUND [SEED]: TorchScript archives whose contents are changed (code, pickles, constants), put together
 * again with right checksums, and imported. libtorch's loader and interpreter are no concern of ours: what ends in their code is
 * counted, and `legodnn import` keeps it in a child process. What ends in ours, the recorder and the importer, is a finding: the
 * archive is kept in FOUND, and the exit code is 1.
 *
 * No libFuzzer: every import runs in a fork of its own, since many end in a crash. Built with gcc's sanitizers, whose runtime is
 * a library, so that the stack of an error says whose code it was. */
#include "support/scripts.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zip.h>

#include "base/clock.h"
#include "base/str.h"
#include "torch/torch.h"

#define MAX_ENTRIES 64
#define MAX_FRAMES 64
#define SECONDS_EACH 10
#define MEMORY_EACH ((rlim_t)1 << 30) /* beyond what the process has */

enum { IMPORTED = 0, REFUSED = 10, OURS = 77, THEIRS = 78 };

/* --- seeds --- */

typedef struct entry {
    char name[128];
    char *data;
    size_t size;
} entry;

typedef struct archive {
    entry entries[MAX_ENTRIES];
    int n;
} archive;

#define CONV "torch.conv2d(x, self.conv.weight, self.conv.bias, [1, 1], [1, 1])"

static const struct {
    const char *body, *parameters;
} modules[] = {
    { "return torch.relu(" CONV ")", "conv.weight:4,3,3,3 conv.bias:4" },
    { "y = torch.batch_norm(x, self.g, self.b, self.m, self.v, False, 0.1, 1e-3, True)\n"
      "    return torch.mean(torch.max_pool2d(y, [2, 2], [2, 2], [0, 0], [1, 1], True), [2, 3])", "g:3 b:3 m:3 +v:3" },
    { "ys = [x]\n    for i in range(3):\n        if i % 2 == 0 and x.dim() == 4:\n            ys.append(torch.sigmoid(ys[-1]))\n"
      "        else:\n            ys.append(ys[-1] * 2.0 + 1.0)\n    return {'out': torch.cat(ys, 1), 'last': ys[-1]}", "" },
    { "y = x * 1.0\n    y[:, 0:2] = torch.relu(y[:, 0:2]) - self.c\n    y[:, 2].fill_(0.5)\n    a, b = torch.chunk(y, 2, 2)\n"
      "    return torch.upsample_nearest2d(torch.pad(a + b, [1, 1, 0, 1]), [12, 10])", "c:2,8,8" },
    { "b, c, h, w = x.shape\n    y = torch.cat([x, torch.zeros_like(x[:, :1])], 1).view(b, 2, 2, h, w)\n"
      "    y = y.transpose(1, 2).reshape(b, 4, h, w)\n    t = (torch.pixel_shuffle(y, 2), y.permute(0, 2, 3, 1))\n"
      "    return torch.linear(torch.flatten(torch.adaptive_avg_pool2d(t[0], [1, 1]), 1), self.w), t[1]", "w:5,1" },
};
#define N_SEEDS (sizeof(modules) / sizeof(modules[0]))

static void give_up(const char *what)
{
    fprintf(stderr, "fuzz_script: %s\n", what);
    exit(2);
}

static void read_archive(archive *out, const char *path)
{
    zip_t *zip = zip_open(path, ZIP_RDONLY, NULL);

    if (!zip)
        give_up("a seed is no archive");
    out->n = (int)zip_get_num_entries(zip, 0);
    if (out->n > MAX_ENTRIES)
        give_up("a seed has too many entries");
    for (int i = 0; i < out->n; i++) {
        entry *e = &out->entries[i];
        zip_file_t *file = zip_fopen_index(zip, (zip_uint64_t)i, 0);
        zip_stat_t about;

        if (!file || zip_stat_index(zip, (zip_uint64_t)i, 0, &about) != 0)
            give_up("a seed cannot be read");
        snprintf(e->name, sizeof(e->name), "%s", zip_get_name(zip, (zip_uint64_t)i, 0));
        e->size = (size_t)about.size;
        e->data = malloc(e->size + 1);
        if (!e->data || zip_fread(file, e->data, e->size) != (zip_int64_t)e->size)
            give_up("a seed cannot be read");
        zip_fclose(file);
    }
    zip_discard(zip);
}

static void make_seeds(archive *seeds, const char *folder)
{
    char *path = lg_asprintf("%s/fuzz_script-%d-seed.pt", folder, (int)getpid());

    for (size_t i = 0; i < N_SEEDS; i++) {
        char *source = lg_asprintf("def forward(self, x):\n    %s\n", modules[i].body);

        if (!path || !source || script_write(path, source, modules[i].parameters))
            give_up("libtorch writes no seed");
        read_archive(&seeds[i], path);
        lg_free(source);
    }
    (void)unlink(path);
    lg_free(path);
}

/* --- changes --- */

static size_t below(lg_rng *rng, size_t n)
{
    return n > 0 ? (size_t)lg_rng_below(rng, n) : 0;
}

static void replace(entry *e, size_t at, size_t length, const char *by, size_t n)
{
    char *data = malloc(e->size - length + n + 1);

    if (!data)
        give_up("out of memory");
    memcpy(data, e->data, at);
    memcpy(data + at, by, n);
    memcpy(data + at + n, e->data + at + length, e->size - at - length);
    free(e->data);
    e->data = data;
    e->size = e->size - length + n;
}

/* A word of code, or a number, taken from anywhere else in it or from a list of nasty ones. */
static void change_word(entry *e, lg_rng *rng)
{
    static const char *const nasty[] = { "-1", "0", "1", "2", "3", "4", "7", "100", "2147483648", "9223372036854775807",
        "-9223372036854775808", "1.0", "-0.5", "inf", "nan", "None", "True", "[]", "[0]", "[1, 1]", "[-1, -1, -1]", "[0, 0, 0, 0]",
        "x", "self", "\"same\"", "torch.relu", "torch.add", "torch.slice", "torch.select", "torch.transpose", "torch.view",
        "torch.copy_", "torch.fill_", "torch.add_", "torch.expand", "torch.max", "torch.to", "torch.append", "torch.size",
        "annotate(List[Tensor], [])", "annotate(Optional[Tensor], None)", "(x, x)", "{\"a\": x}", "torch.len", "torch.unsqueeze",
        "torch.as_strided(x, [2, 3], [1, 0])", "torch.t", "torch.resize_", "torch.set_", "torch.zeros", "torch.dict" };
    size_t from[2], to[2];

    for (int i = 0; i < 2; i++) {
        from[i] = below(rng, e->size);
        while (from[i] > 0 && !strchr(" ,()[]\n", e->data[from[i] - 1]))
            from[i]--;
        to[i] = from[i];
        while (to[i] < e->size && !strchr(" ,()[]\n", e->data[to[i]]))
            to[i]++;
    }
    if (below(rng, 2)) {
        const char *word = nasty[below(rng, sizeof(nasty) / sizeof(nasty[0]))];
        replace(e, from[0], to[0] - from[0], word, strlen(word));
    } else {
        char *copy = lg_strndup(e->data + from[1], to[1] - from[1]);
        replace(e, from[0], to[0] - from[0], copy, to[1] - from[1]);
        lg_free(copy);
    }
}

/* A line of code again, or away. */
static void change_line(entry *e, lg_rng *rng)
{
    size_t from = below(rng, e->size), to;
    char *copy;

    while (from > 0 && e->data[from - 1] != '\n')
        from--;
    for (to = from; to < e->size && e->data[to] != '\n';)
        to++;
    to += to < e->size;
    copy = lg_strndup(e->data + from, to - from);
    replace(e, from, below(rng, 2) ? to - from : 0, copy, below(rng, 2) ? to - from : 0);
    lg_free(copy);
}

static void change_bytes(entry *e, lg_rng *rng)
{
    const size_t at = below(rng, e->size), length = below(rng, 8) % (e->size - at + 1);
    char noise[8];

    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (char)lg_rng_u64(rng);
    if (below(rng, 2) && at < e->size)
        e->data[at] = (char)(e->data[at] ^ 1 << below(rng, 8));
    else
        replace(e, at, length, noise, below(rng, sizeof(noise)));
}

static int is_code(const entry *e)
{
    return strstr(e->name, "/code/") && lg_str_ends_with(e->name, ".py");
}

static int is_content(const entry *e)
{
    return e->size > 0 && (is_code(e) || lg_str_ends_with(e->name, ".pkl"));
}

static void change(archive *a, const archive *other, lg_rng *rng)
{
    for (size_t k = 1 + below(rng, 3) * below(rng, 2); k > 0; k--) {
        entry *e = &a->entries[below(rng, (size_t)a->n)];
        const entry *theirs = &other->entries[below(rng, (size_t)other->n)];

        while (!is_content(e))
            e = &a->entries[below(rng, (size_t)a->n)];
        if (below(rng, 16) == 0 && is_content(theirs) && strcmp(strrchr(theirs->name, '.'), strrchr(e->name, '.')) == 0)
            replace(e, 0, e->size, theirs->data, theirs->size);
        else if (!is_code(e) || below(rng, 8) == 0)
            change_bytes(e, rng);
        else if (below(rng, 4) == 0)
            change_line(e, rng);
        else
            change_word(e, rng);
        if (e->size == 0)
            return;
    }
}

static void copy_archive(archive *to, const archive *from)
{
    *to = *from;
    for (int i = 0; i < to->n; i++) {
        to->entries[i].data = malloc(to->entries[i].size + 1);
        if (!to->entries[i].data)
            give_up("out of memory");
        memcpy(to->entries[i].data, from->entries[i].data, to->entries[i].size);
    }
}

static void free_archive(archive *a)
{
    for (int i = 0; i < a->n; i++)
        free(a->entries[i].data);
}

/* As PyTorch's writer has it: stored, with checksums. */
static void write_archive(const char *path, const archive *a)
{
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);

    for (int i = 0; zip && i < a->n; i++) {
        zip_source_t *source = zip_source_buffer(zip, a->entries[i].data, a->entries[i].size, 0);
        const zip_int64_t index = zip_file_add(zip, a->entries[i].name, source, 0);

        if (index < 0 || zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0)
            give_up("an archive cannot be written");
    }
    if (!zip || zip_close(zip) != 0)
        give_up("an archive cannot be written");
}

/* --- one import --- */

static int is_in(const char *file, const char *const *names)
{
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;

    for (; *names; names++)
        if (strncmp(base, *names, strlen(*names)) == 0)
            return 1;
    return 0;
}

/* The first frame that is of no system library says whose code it was. */
static int whose(void)
{
    static const char *const neutral[] = { "libc.so", "libc-", "libstdc++", "libgcc_s", "libasan", "libubsan", "ld-linux",
                                           "linux-vdso", "libm.so", "libpthread", NULL };
    static const char *const ours[] = { "legodnn-torch", "fuzz_script", "liblegodnn", NULL };
    void *frames[MAX_FRAMES];
    const int n = backtrace(frames, MAX_FRAMES);
    int seen_handler = 0, behind_handler = 0; /* this function and its caller, which came through a system library */

    for (int i = 0; i < n; i++) {
        Dl_info info;
        const int known = dladdr(frames[i], &info) && info.dli_fname, is_neutral = !known || is_in(info.dli_fname, neutral);

        behind_handler |= seen_handler && is_neutral;
        seen_handler |= !is_neutral;
        if (behind_handler && !is_neutral)
            return is_in(info.dli_fname, ours) ? OURS : THEIRS;
    }
    return THEIRS;
}

static void on_signal(int number)
{
    const int owner = whose();

    if (owner == OURS) {
        void *frames[MAX_FRAMES];
        const int n = backtrace(frames, MAX_FRAMES);

        fprintf(stderr, "fuzz_script: signal %d in our code\n", number);
        backtrace_symbols_fd(frames, n, 2);
    }
    _exit(owner);
}

#if defined(__SANITIZE_ADDRESS__)
void __asan_set_death_callback(void (*callback)(void));

static void on_sanitizer_error(void)
{
    _exit(whose());
}
#endif

static void catch_everything(void)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM };
    static char stack[1 << 16];
    const stack_t own = { .ss_sp = stack, .ss_size = sizeof(stack) };
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };

    (void)sigaltstack(&own, NULL);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)sigaction(signals[i], &action, NULL);
#if defined(__SANITIZE_ADDRESS__)
    __asan_set_death_callback(on_sanitizer_error);
#endif
}

static void limit_memory(void)
{
    long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    struct rlimit limit;

    if (!file || fscanf(file, "%*d %*d %*d %*d %*d %lld", &pages) != 1 || getrlimit(RLIMIT_DATA, &limit) != 0)
        give_up("no limit of memory");
    fclose(file);
    limit.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + MEMORY_EACH;
    (void)setrlimit(RLIMIT_DATA, &limit);
}

static int import_once(const char *path)
{
    const pid_t child = fork();
    int how = 0;

    if (child < 0)
        give_up("no child process");
    if (child == 0) {
        lego_model *model;
        lego_status status;

        catch_everything();
        limit_memory();
        (void)alarm(SECONDS_EACH);
        status = import_shape(&model, path, 4, (int64_t[]){ 1, 3, 8, 8 });
        if (status == LEGO_OK && lg_graph_validate(model->graph) != LEGO_OK)
            _exit(OURS);
        _exit(status == LEGO_OK ? IMPORTED : REFUSED);
    }
    while (waitpid(child, &how, 0) != child)
        continue;
    return WIFEXITED(how) ? WEXITSTATUS(how) : THEIRS;
}

int main(int argc, char **argv)
{
    static archive seeds[N_SEEDS];
    const lg_torch_api *api;
    lego_context *context;
    long counts[256] = { 0 }, n = 0;
    uint64_t seconds, start;
    lg_rng rng;
    char path[64];

    if (argc < 3)
        give_up("usage: fuzz_script SECONDS FOUND [SEED]");
    seconds = strtoull(argv[1], NULL, 10);
    lg_rng_init(&rng, argc > 3 ? strtoull(argv[3], NULL, 10) : 1, 3);
    make_seeds(seeds, argv[2]);
    if (lego_context_create(&context) != LEGO_OK || lego_context_set_threads(context, 1) != LEGO_OK ||
        lg_torch_open(&api, context, "cpu") != LEGO_OK) /* once; children have it */
        give_up(lego_last_error());
    snprintf(path, sizeof(path), "%s/fuzz_script-%d.pt", argv[2], (int)getpid());
    start = lg_clock_ns();
    while (lg_clock_ms_since(start) < 1e3 * (double)seconds) {
        archive a;
        int result;

        copy_archive(&a, &seeds[below(&rng, N_SEEDS)]);
        if (n >= (long)N_SEEDS) /* the seeds themselves first: they must import */
            change(&a, &seeds[below(&rng, N_SEEDS)], &rng);
        write_archive(path, &a);
        free_archive(&a);
        result = import_once(path);
        counts[result & 255]++;
        n++;
        if (result != IMPORTED && result != REFUSED && result != THEIRS) {
            char kept[96];

            snprintf(kept, sizeof(kept), "%s/fuzz_script-found-%ld.pt", argv[2], n);
            (void)rename(path, kept);
            fprintf(stderr, "fuzz_script: result %d: %s\n", result, kept);
        } else if (n <= (long)N_SEEDS && result != IMPORTED) {
            give_up("a seed is not imported");
        }
    }
    (void)unlink(path);
    lego_context_free(context);
    for (size_t i = 0; i < N_SEEDS; i++)
        free_archive(&seeds[i]);
    printf("fuzz_script: %ld archives: %ld imported, %ld refused, %ld ended libtorch, %ld ended our code\n", n,
           counts[IMPORTED], counts[REFUSED], counts[THEIRS],
           n - counts[IMPORTED] - counts[REFUSED] - counts[THEIRS]);
    return n > counts[IMPORTED] + counts[REFUSED] + counts[THEIRS];
}
