/* A graph made in a child process: for libraries that were not written for hostile files.
 *
 * The child is a fork, so it has everything in place and can run any code of ours; what it finds goes back through a pipe, a
 * frame at a time (log messages, progress, at the end the status and its message), the graph through a file in memory that has
 * no name, in our own format, whose loader trusts nobody. The child may be anything after it has read a hostile file: frames
 * are checked like a file's bytes.
 *
 * Not obvious: a fork copies the thread that calls it and no other. Locks that other threads hold at that moment stay locked in
 * the child for ever; the time limit ends such a child. */
#include "import/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/context.h"
#include "base/file.h"

#define POLL_MS 50       /* how soon a cancelled import stops */
#define GRACE_NS 2000000000u /* from the end of the pipe to the end of the process */
#define MAX_NAME 64
#define MAX_TEXT 2048

typedef enum frame_kind { FRAME_LOG = 1, FRAME_PROGRESS, FRAME_END } frame_kind;

typedef struct frame {
    int32_t kind; /* frame_kind */
    int32_t code; /* the log's level; the status at the end */
    uint64_t done, total;
    uint32_t n_name, n_text;
} frame;

/* --- the child --- */

static void send_bytes(int pipe, const void *data, size_t size)
{
    const char *bytes = data;

    while (size > 0) {
        const ssize_t n = write(pipe, bytes, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            _exit(1); /* nobody listens any more */
        bytes += n;
        size -= (size_t)n;
    }
}

static void send_frame(int pipe, frame head, const char *name, const char *text)
{
    head.n_name = (uint32_t)strnlen(name, MAX_NAME);
    head.n_text = (uint32_t)strnlen(text, MAX_TEXT);
    send_bytes(pipe, &head, sizeof(head));
    send_bytes(pipe, name, head.n_name);
    send_bytes(pipe, text, head.n_text);
}

static void send_log(lego_log_level level, const char *module, const char *message, void *payload)
{
    send_frame(*(const int *)payload, (frame){ .kind = FRAME_LOG, .code = (int32_t)level }, module, message);
}

static int send_progress(const char *stage, size_t done, size_t total, void *payload)
{
    send_frame(*(const int *)payload, (frame){ .kind = FRAME_PROGRESS, .done = done, .total = total }, stage, "");
    return 0;
}

/* Crashes end the child and nothing else: no handlers of the caller's program, no core file, no life after its parent's. */
static void settle_down(pid_t parent)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGINT, SIGTERM };
    const struct rlimit none = { 0, 0 };

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)signal(signals[i], SIG_DFL);
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before we said so */
        _exit(1);
}

static lego_status write_graph(const lg_graph *graph, int file)
{
    lg_writer *writer = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_writer_open_file(&writer, file, "the imported graph"));
    LG_TRY(lg_graph_write(graph, writer, NULL));
    status = lg_writer_commit(writer);
    writer = NULL;
done:
    lg_writer_abort(writer);
    return status;
}

static void work(int pipe, int file, const lego_context *context, lg_child_fn fn, void *payload)
{
    lego_context own = { .log_level = LEGO_LOG_ERROR };
    lg_graph *graph = NULL;
    lego_status status;

    if (context)
        own = *context;
    own.log = own.log ? send_log : NULL;
    own.progress = send_progress;
    own.log_payload = own.progress_payload = &pipe;
    status = fn(&graph, &own, payload);
    if (status == LEGO_OK)
        status = write_graph(graph, file);
    send_frame(pipe, (frame){ .kind = FRAME_END, .code = status }, "", status == LEGO_OK ? "" : lego_last_error());
    _exit(0);
}

lego_status lg_child_limit_memory(int64_t bytes)
{
    const int64_t page = sysconf(_SC_PAGESIZE);
    long long data = 0;
    struct rlimit limit;
    FILE *file = fopen("/proc/self/statm", "re"); /* size resident shared text lib data */
    lego_status status = LEGO_OK;

    if (!file || fscanf(file, "%*d %*d %*d %*d %*d %lld", &data) != 1)
        LG_FAIL(LEGO_EIO, "/proc/self/statm does not say how much memory is in use");
    if (getrlimit(RLIMIT_DATA, &limit) != 0)
        LG_FAIL(LEGO_EIO, "no limit of memory: %s", strerror(errno));
    limit.rlim_cur = (rlim_t)data * (rlim_t)page + (rlim_t)bytes;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_cur > limit.rlim_max)
        limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_DATA, &limit) != 0)
        LG_FAIL(LEGO_EIO, "no limit of memory: %s", strerror(errno));
done:
    if (file)
        fclose(file);
    return status;
}

/* --- the parent --- */

typedef struct child {
    const lego_context *context;
    const char *what;
    pid_t process;
    int pipe;
    int64_t seconds;
    uint64_t deadline_ns;
    char stage[MAX_NAME + 1]; /* of the last progress */
    uint64_t done, total;
} child;

/* Fill `data`; *got is less than `size` at the pipe's end. */
static lego_status receive(size_t *got, child *c, void *data, size_t size)
{
    lego_status status = LEGO_OK;

    for (*got = 0; *got < size;) {
        struct pollfd ready = { .fd = c->pipe, .events = POLLIN };
        ssize_t n;

        LG_TRY(lg_progress(c->context, c->stage, c->done, c->total));
        if (lg_clock_ns() > c->deadline_ns)
            LG_FAIL(LEGO_ECRASHED, "%s: it was not done after %lld seconds and was stopped", c->what, (long long)c->seconds);
        if (poll(&ready, 1, POLL_MS) <= 0)
            continue;
        n = read(c->pipe, (char *)data + *got, size - *got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            LG_FAIL(LEGO_EIO, "%s: reading from its process: %s", c->what, strerror(errno));
        if (n == 0)
            break;
        *got += (size_t)n;
    }
done:
    return status;
}

/* The process is gone, or has closed its pipe: why. */
static lego_status explain_end(child *c)
{
    const uint64_t until = lg_clock_ns() + GRACE_NS;
    int how = 0;
    pid_t ended;

    while ((ended = waitpid(c->process, &how, WNOHANG)) == 0 && lg_clock_ns() < until)
        (void)poll(NULL, 0, 1);
    if (ended != c->process)
        return lg_error(LEGO_ECRASHED, "%s: its process stopped answering", c->what);
    c->process = -1;
    if (lg_progress(c->context, c->stage, c->done, c->total) != LEGO_OK) /* what ended it was meant for both of us */
        return LEGO_ECANCELED;
    if (WIFSIGNALED(how))
        return lg_error(LEGO_ECRASHED, "libtorch crashed on %s (signal %d, %s)", c->what, WTERMSIG(how),
                        strsignal(WTERMSIG(how)));
    return lg_error(LEGO_ECRASHED, "libtorch ended the process that reads %s (exit code %d)", c->what, WEXITSTATUS(how));
}

static int is_status(int32_t code)
{
    switch (code) {
#define KNOWN(name, value, text) case value: return 1;
        LEGO_STATUS_MAP(KNOWN)
#undef KNOWN
    default:
        return 0;
    }
}

/* One frame; *ended with the last, whose status is returned. */
static lego_status receive_frame(int *ended, child *c)
{
    char name[MAX_NAME + 1], text[MAX_TEXT + 1];
    frame head;
    size_t got[3] = { 0, 0, 0 };
    lego_status status = LEGO_OK;

    LG_TRY(receive(&got[0], c, &head, sizeof(head)));
    if (got[0] < sizeof(head))
        return explain_end(c);
    if (head.n_name > MAX_NAME || head.n_text > MAX_TEXT)
        LG_FAIL(LEGO_ECRASHED, "%s: its process sends what makes no sense", c->what);
    LG_TRY(receive(&got[1], c, name, head.n_name));
    LG_TRY(receive(&got[2], c, text, head.n_text));
    if (got[1] < head.n_name || got[2] < head.n_text)
        return explain_end(c);
    name[head.n_name] = text[head.n_text] = '\0';
    switch (head.kind) {
    case FRAME_LOG:
        lg_log(c->context, (lego_log_level)head.code, name, "%s", text);
        return LEGO_OK;
    case FRAME_PROGRESS:
        memcpy(c->stage, name, sizeof(c->stage));
        c->done = head.done;
        c->total = head.total;
        return lg_progress(c->context, c->stage, c->done, c->total);
    case FRAME_END:
        if (!is_status(head.code))
            break;
        *ended = 1;
        return head.code == LEGO_OK ? LEGO_OK : lg_error((lego_status)head.code, "%s", text);
    default:
        break;
    }
    status = lg_error(LEGO_ECRASHED, "%s: its process sends what makes no sense", c->what);
done:
    return status;
}

static void close_file(int *file)
{
    if (*file >= 0)
        close(*file);
    *file = -1;
}

lego_status lg_child_run(lg_graph **out, const lego_context *context, const char *what, int64_t seconds, lg_child_fn fn,
                         void *payload)
{
    child c = { .context = context, .what = what, .process = -1, .pipe = -1, .seconds = seconds, .stage = "import", .total = 1 };
    const pid_t self = getpid();
    int ends[2] = { -1, -1 }, file = -1, ended = 0;
    char path[64];
    lego_status status = LEGO_OK;

    *out = NULL;
    file = memfd_create("legodnn-import", MFD_CLOEXEC);
    if (file < 0 || pipe2(ends, O_CLOEXEC) != 0)
        LG_FAIL(LEGO_EIO, "%s: no pipe to a child process: %s", what, strerror(errno));
    c.process = fork();
    if (c.process < 0)
        LG_FAIL(LEGO_EIO, "%s: no child process: %s", what, strerror(errno));
    if (c.process == 0) {
        settle_down(self);
        close(ends[0]);
        work(ends[1], file, context, fn, payload);
    }
    close_file(&ends[1]);
    c.pipe = ends[0];
    c.deadline_ns = lg_clock_ns() + (uint64_t)seconds * 1000000000u;
    while (!ended)
        LG_TRY(receive_frame(&ended, &c));
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    LG_TRY(lg_graph_load(out, path));
done:
    if (c.process > 0) { /* it has nothing to say any more */
        (void)kill(c.process, SIGKILL);
        while (waitpid(c.process, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    close_file(&ends[0]);
    close_file(&ends[1]);
    close_file(&file);
    return status;
}
