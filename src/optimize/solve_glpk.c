/* The selection problem as an integer linear program for GLPK; the only file that knows it.
 *
 *   min sum c_bv x_bv,  sum_v x_bv = 1 for every block,  sum l_bv x_bv <= L,  sum m_bv x_bv <= M,  x_bv in {0, 1}
 *
 * GLPK aborts the process on a bad argument, prints, keeps its state per thread, and solves in floating point.
 *  - Each solve runs on a thread of its own: GLPK's environment (hooks, memory) is thread-local, so a host that uses
 *    GLPK too never meets our hooks, and glp_free_env() at the end frees everything whatever happened.
 *  - The error hook jumps back to the start of that thread, so a fault inside GLPK is a status here.
 *  - A selection that meets a limit only within GLPK's tolerance is excluded by a cut and the solve repeated: sums are
 *    checked in integers.
 *
 * What newcomers get wrong: after the jump no GLPK object may be touched, not even freed; only glp_free_env() may be
 * called. */
#include "optimize/problem.h"

#if !LG_WITH_GLPK

lego_status lg_solve_glpk(lg_answer *out, const lg_problem *problem, int32_t time_limit_ms)
{
    return lg_error(LEGO_EUNSUPPORTED, "this build has no GLPK (LEGODNN_WITH_GLPK=OFF); use the exact solver");
}

#else

#include <glpk.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

typedef struct job {
    const lg_problem *problem;
    int32_t time_limit_ms;
    int32_t *choice;
    int *rows;        /* scratch: 1 + n_columns indices and values, as GLPK counts from 1 */
    double *values;
    int proven;
    lego_status status;
    char message[256];
    char said[256];   /* the last line that GLPK would have printed */
    jmp_buf back;
} job;

static int keep_line(void *info, const char *line)
{
    job *j = info;
    size_t n = strcspn(line, "\r\n");

    if (n > 0)
        snprintf(j->said, sizeof(j->said), "%.*s", (int)(n < sizeof(j->said) ? n : sizeof(j->said) - 1), line);
    return 1; /* nothing reaches the terminal */
}

static void jump_back(void *info)
{
    longjmp(((job *)info)->back, 1);
}

static void fail(job *j, lego_status status, const char *text, int code)
{
    j->status = status;
    snprintf(j->message, sizeof(j->message), "GLPK: %.200s (code %d)", text, code);
}

static void add_limit(glp_prob *lp, job *j, int64_t limit, int64_t fixed, size_t member)
{
    const lg_problem *problem = j->problem;
    int n = problem->first[problem->n_blocks], row;
    double left = (double)limit - (double)fixed;
    double unit = left > 0.0 ? left : 1.0; /* the row in shares of what is left: tolerances are absolute near 1 */

    if (limit == LG_NO_LIMIT)
        return;
    row = glp_add_rows(lp, 1);
    glp_set_row_bnds(lp, row, GLP_UP, 0.0, left / unit);
    for (int i = 0; i < n; i++) {
        int64_t value;

        memcpy(&value, (const char *)&problem->demands[i] + member, sizeof(value));
        j->rows[i + 1] = i + 1;
        j->values[i + 1] = (double)value / unit;
    }
    glp_set_mat_row(lp, row, n, j->rows, j->values);
}

static glp_prob *build(job *j)
{
    const lg_problem *problem = j->problem;
    glp_prob *lp = glp_create_prob();

    glp_set_obj_dir(lp, GLP_MIN);
    glp_add_cols(lp, problem->first[problem->n_blocks]);
    glp_add_rows(lp, problem->n_blocks);
    for (int32_t b = 0; b < problem->n_blocks; b++) {
        int n = 0;

        for (int32_t i = problem->first[b]; i < problem->first[b + 1]; i++) {
            glp_set_col_kind(lp, i + 1, GLP_BV);
            glp_set_obj_coef(lp, i + 1, (double)problem->demands[i].cost);
            j->rows[++n] = i + 1;
            j->values[n] = 1.0;
        }
        glp_set_row_bnds(lp, b + 1, GLP_FX, 1.0, 1.0);
        glp_set_mat_row(lp, b + 1, n, j->rows, j->values);
    }
    add_limit(lp, j, problem->latency_limit, problem->fixed.latency, offsetof(lg_demand, latency));
    add_limit(lp, j, problem->bytes_limit, problem->fixed.bytes, offsetof(lg_demand, bytes));
    return lp;
}

/* Forbid the selection in j->choice. */
static void add_cut(glp_prob *lp, job *j)
{
    const lg_problem *problem = j->problem;
    int row = glp_add_rows(lp, 1);

    for (int32_t b = 0; b < problem->n_blocks; b++) {
        j->rows[b + 1] = problem->first[b] + j->choice[b] + 1;
        j->values[b + 1] = 1.0;
    }
    glp_set_row_bnds(lp, row, GLP_UP, 0.0, (double)problem->n_blocks - 1.0);
    glp_set_mat_row(lp, row, problem->n_blocks, j->rows, j->values);
}

static void read_choice(glp_prob *lp, job *j)
{
    const lg_problem *problem = j->problem;

    for (int32_t b = 0; b < problem->n_blocks; b++) {
        j->choice[b] = 0;
        for (int32_t v = 1; v < lg_problem_n_variants(problem, b); v++)
            if (glp_mip_col_val(lp, problem->first[b] + v + 1) >
                glp_mip_col_val(lp, problem->first[b] + j->choice[b] + 1))
                j->choice[b] = v;
    }
}

/* Solve once; 1 if there is a selection in j->choice. */
static int solve_once(glp_prob *lp, job *j, int32_t time_limit_ms)
{
    glp_iocp options;
    int code, state;

    glp_init_iocp(&options);
    options.msg_lev = GLP_MSG_OFF;
    options.presolve = GLP_ON;
    options.tol_int = 1e-8; /* costs are large integers: 1e-5 of one would matter */
    options.tol_obj = 1e-10;
    if (time_limit_ms > 0)
        options.tm_lim = time_limit_ms;
    code = glp_intopt(lp, &options);
    state = glp_mip_status(lp);
    if (code == GLP_ENOPFS || code == GLP_ENODFS || (code == 0 && state == GLP_NOFEAS))
        fail(j, LEGO_EINFEASIBLE, "no selection meets the limits", code);
    else if (code == GLP_ETMLIM && state != GLP_FEAS)
        fail(j, LEGO_EBACKEND, "no selection was found within the time limit", code);
    else if (code != 0 && code != GLP_ETMLIM)
        fail(j, LEGO_EBACKEND, j->said[0] ? j->said : "the solve failed", code);
    else if (state != GLP_OPT && state != GLP_FEAS)
        fail(j, LEGO_EBACKEND, "the solve ended without a selection", state);
    if (j->status != LEGO_OK)
        return 0;
    read_choice(lp, j);
    j->proven = state == GLP_OPT;
    return 1;
}

static void solve(job *j)
{
    uint64_t start = lg_clock_ns();
    glp_prob *lp = build(j);
    lg_demand total;

    for (;;) {
        int32_t left = 0;

        if (j->time_limit_ms > 0) {
            left = j->time_limit_ms - (int32_t)fmin(lg_clock_ms_since(start), (double)j->time_limit_ms);
            if (left <= 0) {
                fail(j, LEGO_EBACKEND, "no selection was found within the time limit", GLP_ETMLIM);
                return;
            }
        }
        if (!solve_once(lp, j, left))
            return;
        total = lg_problem_total(j->problem, j->choice);
        if (lg_problem_fits(j->problem, &total))
            return;
        add_cut(lp, j);
    }
}

static void *run(void *payload)
{
    job *j = payload;

    glp_term_hook(keep_line, j);
    glp_error_hook(jump_back, j);
    if (setjmp(j->back) == 0)
        solve(j);
    else
        fail(j, LEGO_EBACKEND, j->said[0] ? j->said : "internal error", 0);
    glp_free_env();
    return NULL;
}

/* Host signals are for the host's threads. */
static lego_status run_on_thread(job *j)
{
    pthread_t thread;
    sigset_t all, before;
    int code;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&thread, NULL, run, j);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0)
        return lg_error(LEGO_ENOMEM, "GLPK: cannot start a thread: %s", strerror(code));
    pthread_join(thread, NULL);
    return j->status == LEGO_OK ? LEGO_OK : lg_error(j->status, "%s", j->message);
}

lego_status lg_solve_glpk(lg_answer *out, const lg_problem *problem, int32_t time_limit_ms)
{
    job *j = NULL;
    lg_answer answer = { 0, 0, NULL, NULL, 0, 0 };
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    if (!glp_config("TLS"))
        LG_FAIL(LEGO_EUNSUPPORTED, "this GLPK (%s) was built without thread support; use the exact solver",
                glp_version());
    LG_TRY(lg_problem_check(problem));
    LG_TRY(LG_CALLOC(&j, 1));
    LG_TRY(LG_CALLOC(&j->rows, problem->first[problem->n_blocks] + 1));
    LG_TRY(LG_CALLOC(&j->values, problem->first[problem->n_blocks] + 1));
    LG_TRY(lg_answer_init(&answer, problem->n_blocks, 1));
    j->problem = problem;
    j->time_limit_ms = time_limit_ms;
    j->choice = answer.choices;
    LG_TRY(run_on_thread(j));
    answer.totals[0] = lg_problem_total(problem, answer.choices);
    answer.proven = j->proven;
    answer.bound = j->proven ? answer.totals[0].cost : INT64_MIN;

    *out = answer;
    answer.choices = NULL;
    answer.totals = NULL;
done:
    lg_answer_dispose(&answer);
    if (j) {
        lg_free(j->rows);
        lg_free(j->values);
    }
    lg_free(j);
    return status;
}

#endif
