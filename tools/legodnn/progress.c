/* The progress bar and Ctrl-C.
 *
 * The library calls cli_progress_report() from whatever thread works; it draws at most ten times a second, on a
 * terminal only, and asks the library to stop once SIGINT or SIGTERM came. The library then returns LEGO_ECANCELED,
 * the frame cleans up and exits with 130. A second signal ends the process at once: files are written under a
 * temporary name and renamed, so even that leaves the previous ones whole. */
#include "progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BAR_WIDTH = 24 };

struct cli_progress {
    pthread_mutex_t lock;
    int visible;
    int drawn;          /* the bar stands on the line */
    char stage[64];
    double stage_start_s;
    double last_draw_s;
    size_t first_done;  /* of this stage: a resumed job starts in the middle */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = 1;
    (void)signal(number, SIG_DFL);
}

void cli_catch_interrupts(void)
{
    static const int numbers[] = { SIGINT, SIGTERM };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct sigaction action;
        if (sigaction(numbers[i], NULL, &action) != 0 || action.sa_handler == SIG_IGN)
            continue; /* started in the background by a shell: leave it so */
        memset(&action, 0, sizeof(action));
        action.sa_handler = on_signal;
        (void)sigemptyset(&action.sa_mask);
        action.sa_flags = SA_RESTART;
        (void)sigaction(numbers[i], &action, NULL);
    }
}

int cli_interrupted(void)
{
    return interrupted != 0;
}

static double now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

cli_progress *cli_progress_create(int visible)
{
    cli_progress *progress = calloc(1, sizeof(*progress));

    if (!progress)
        return NULL;
    if (pthread_mutex_init(&progress->lock, NULL) != 0) {
        free(progress);
        return NULL;
    }
    progress->visible = visible;
    return progress;
}

void cli_progress_free(cli_progress *progress)
{
    if (!progress)
        return;
    cli_progress_clear(progress);
    (void)pthread_mutex_destroy(&progress->lock);
    free(progress);
}

static void clear_line(cli_progress *progress)
{
    if (progress->drawn)
        (void)fputs("\r\033[K", stderr);
    progress->drawn = 0;
}

void cli_progress_clear(cli_progress *progress)
{
    if (!progress)
        return;
    (void)pthread_mutex_lock(&progress->lock);
    clear_line(progress);
    (void)fflush(stderr);
    (void)pthread_mutex_unlock(&progress->lock);
}

static void format_time(char text[32], double seconds)
{
    long s = (long)(seconds + 0.5);

    if (s >= 3600)
        (void)snprintf(text, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        (void)snprintf(text, 32, "%ld:%02ld", s / 60, s % 60);
}

static void draw(cli_progress *progress, size_t done, size_t total, double now)
{
    char bar[BAR_WIDTH + 1];
    char eta[32] = "-:--";
    const double share = total ? (double)done / (double)total : 0.0;
    const double elapsed = now - progress->stage_start_s;
    const size_t worked = done > progress->first_done ? done - progress->first_done : 0;

    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = (double)i < share * BAR_WIDTH ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    if (worked && total >= done)
        format_time(eta, elapsed / (double)worked * (double)(total - done));
    (void)fprintf(stderr, "\r\033[K%-12.40s [%s] %3.0f %%  %zu/%zu  ETA %s", progress->stage, bar, share * 100.0, done,
                  total, eta);
    (void)fflush(stderr);
    progress->drawn = 1;
    progress->last_draw_s = now;
}

int cli_progress_report(const char *stage, size_t done, size_t total, void *payload)
{
    cli_progress *progress = payload;

    if (progress->visible) {
        const double now = now_s();
        (void)pthread_mutex_lock(&progress->lock);
        if (strncmp(progress->stage, stage, sizeof(progress->stage) - 1) != 0) {
            (void)snprintf(progress->stage, sizeof(progress->stage), "%s", stage);
            progress->stage_start_s = now;
            progress->first_done = done;
            progress->last_draw_s = 0.0;
        }
        if (total && done >= total)
            clear_line(progress);
        else if (now - progress->last_draw_s >= 0.1)
            draw(progress, done, total, now);
        (void)pthread_mutex_unlock(&progress->lock);
    }
    return cli_interrupted();
}
