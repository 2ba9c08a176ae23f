/* Prices for latency and bytes: the linear relaxation of the selection problem by column generation (Dantzig and
 * Wolfe 1960).
 *
 * A column of the master problem is a whole selection; the master mixes selections so that the mixture meets both
 * limits. It has three rows (latency, bytes, mixture adds up to 1), so its basis is 3 x 3 and a simplex step is a
 * handful of multiplications. Pricing a column is separable: each block takes the variant whose cost plus priced
 * latency and bytes is least. The best prices give the tightest Lagrangian bound, which prunes the exact search.
 *
 * What newcomers get wrong: any non-negative prices give a valid bound. Rounding in here can only make the bound
 * weaker, never the answer wrong; the integers decide. */
#include <math.h>
#include <string.h>

#include "optimize/core.h"

#define MAX_STEPS 100

double lg_core_least(const lg_core_block *block, const lg_prices *prices, int32_t *index)
{
    double best = lg_priced(prices, &block->candidates[0].demand);

    *index = 0;
    for (int32_t i = 1; i < block->n; i++) {
        double value = lg_priced(prices, &block->candidates[i].demand);

        if (value < best) {
            best = value;
            *index = i;
        }
    }
    return best;
}

/* A mixture's ingredient; latency and bytes in units of the slack. */
typedef struct column {
    double row[3]; /* latency, bytes, share */
    double cost;
} column;

/* inverse of the basis (columns b[0..2]); 0 if it is singular */
static int invert(double inverse[3][3], const column b[3])
{
    double det = 0.0;

    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            int r0 = (j + 1) % 3, r1 = (j + 2) % 3, c0 = (i + 1) % 3, c1 = (i + 2) % 3;

            inverse[i][j] = b[c0].row[r0] * b[c1].row[r1] - b[c0].row[r1] * b[c1].row[r0];
        }
    for (int r = 0; r < 3; r++)
        det += b[0].row[r] * inverse[0][r];
    if (!(fabs(det) > 1e-14))
        return 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            inverse[i][j] /= det;
    return 1;
}

/* Put `entering` into the basis in place of the column that bounds its share; 0 if none does. */
static int pivot(column basis[3], const double inverse[3][3], const column *entering)
{
    int leaving = -1;
    double least_share = 0.0;

    for (int i = 0; i < 3; i++) {
        double direction = 0.0, share = 0.0;

        for (int r = 0; r < 3; r++) {
            direction += inverse[i][r] * entering->row[r];
            share += inverse[i][r];
        }
        if (direction > 1e-9 && (leaving < 0 || share / direction < least_share)) {
            leaving = i;
            least_share = share / direction;
        }
    }
    if (leaving >= 0)
        basis[leaving] = *entering;
    return leaving >= 0;
}

/* The selection that is best at these prices: its sums, and the bound. */
static double price(lg_demand *sum, const lg_core *core, const lg_prices *prices, int32_t *choice)
{
    double value = 0.0;

    *sum = (lg_demand){ 0, 0, 0 };
    for (int32_t b = 0; b < core->n_blocks; b++) {
        const lg_demand *demand;

        value += lg_core_least(&core->blocks[b], prices, &choice[b]);
        demand = &core->blocks[b].candidates[choice[b]].demand;
        sum->cost += demand->cost;
        sum->latency += demand->latency;
        sum->bytes += demand->bytes;
    }
    return value;
}

void lg_core_price(lg_prices *out, const lg_core *core, int32_t *scratch, int32_t *choice, int64_t *cost)
{
    /* A slack that is gone allows no excess at all, so its price does not matter; 1 avoids dividing by zero. */
    double latency_unit = core->latency_slack == LG_NO_LIMIT || core->latency_slack == 0 ? 1.0 : (double)core->latency_slack;
    double bytes_unit = core->bytes_slack == LG_NO_LIMIT || core->bytes_slack == 0 ? 1.0 : (double)core->bytes_slack;
    double largest = 1.0;
    column basis[3] = { { { 1, 0, 0 }, 0 }, { { 0, 1, 0 }, 0 }, { { 0, 0, 1 }, 0 } }; /* slacks, artificial */

    *cost = INT64_MAX;
    *out = (lg_prices){ 0.0, 0.0, -INFINITY, 0.0 };
    for (int32_t b = 0; b < core->n_blocks; b++) {
        int64_t block_most = 0;

        for (int32_t i = 0; i < core->blocks[b].n; i++)
            if (core->blocks[b].candidates[i].demand.cost > block_most)
                block_most = core->blocks[b].candidates[i].demand.cost;
        largest += (double)block_most;
    }
    basis[2].cost = 4.0 * largest; /* dearer than any selection */
    for (int step = 0; step < MAX_STEPS; step++) {
        double inverse[3][3], dual[3] = { 0, 0, 0 }, bound, value;
        lg_prices prices = { 0.0, 0.0, 0.0, 0.0 };
        lg_demand sum;
        column entering = { { 0, 0, 0 }, 0 };

        if (!invert(inverse, basis))
            break;
        for (int r = 0; r < 3; r++)
            for (int i = 0; i < 3; i++)
                dual[r] += basis[i].cost * inverse[i][r];
        if (dual[0] > 1e-12 * largest || dual[1] > 1e-12 * largest) { /* unused limit: its slack comes back */
            entering.row[dual[0] > dual[1] ? 0 : 1] = 1.0;
            if (!pivot(basis, (const double(*)[3])inverse, &entering))
                break;
            continue;
        }
        prices.latency = core->latency_slack == LG_NO_LIMIT ? 0.0 : fmax(0.0, -dual[0]) / latency_unit;
        prices.bytes = core->bytes_slack == LG_NO_LIMIT ? 0.0 : fmax(0.0, -dual[1]) / bytes_unit;
        value = price(&sum, core, &prices, scratch);
        bound = value;
        if (core->latency_slack != LG_NO_LIMIT)
            bound -= prices.latency * (double)core->latency_slack;
        if (core->bytes_slack != LG_NO_LIMIT)
            bound -= prices.bytes * (double)core->bytes_slack;
        if (bound > out->bound) {
            prices.bound = bound;
            prices.rounding = 1e-12 * (largest + fabs(value) + fabs(bound));
            *out = prices;
        }
        if (sum.latency <= core->latency_slack && sum.bytes <= core->bytes_slack && sum.cost < *cost) {
            *cost = sum.cost;
            memcpy(choice, scratch, (size_t)core->n_blocks * sizeof(*choice));
        }
        if (value >= dual[2] - 1e-9 * largest)
            break;
        entering.row[0] = (double)sum.latency / latency_unit;
        entering.row[1] = (double)sum.bytes / bytes_unit;
        entering.row[2] = 1.0;
        entering.cost = (double)sum.cost;
        if (!pivot(basis, (const double(*)[3])inverse, &entering))
            break;
    }
}
