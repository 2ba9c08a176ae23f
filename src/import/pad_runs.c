#include "import/pad_runs.h"

#define MOST_REPEATED (LG_MOST_PAD_RUNS / 2)

/* The runs of one side, in front (0) or behind (1). */
static int fill_side(lg_pad_run *runs, lg_pad_mode mode, int64_t extent, int64_t n, int side)
{
    int count = 0;

    if (n == 0)
        return 0;
    switch (mode) {
    case LG_PAD_REFLECT:
        runs[0] = (lg_pad_run){ side ? extent - 2 : n, n, -1 };
        return 1;
    case LG_PAD_WRAP:
        runs[0] = (lg_pad_run){ side ? 0 : extent - n, n, 1 };
        return 1;
    case LG_PAD_EDGE:
        while (count < n)
            runs[count++] = (lg_pad_run){ side ? extent - 1 : 0, 1, 1 };
    }
    return count;
}

lego_status lg_pad_runs(lg_pad_run runs[LG_MOST_PAD_RUNS], int *n_runs, lg_pad_mode mode, int64_t extent,
                        const int64_t pads[2])
{
    const int64_t most = mode == LG_PAD_REFLECT ? extent - 1 : mode == LG_PAD_WRAP ? extent : MOST_REPEATED;
    int n = 0;

    for (int side = 0; side < 2; side++) {
        if (pads[side] < 0 || pads[side] > most)
            return lg_error(LEGO_EUNSUPPORTED, "padding of %lld elements, 0 to %lld are possible here", (long long)pads[side],
                            (long long)most);
        n += fill_side(runs + n, mode, extent, pads[side], side);
        if (side == 0)
            runs[n++] = (lg_pad_run){ 0, extent, 1 };
    }
    *n_runs = n;
    return LEGO_OK;
}
