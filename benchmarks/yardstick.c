/* A piece of work that never changes: what the speed of this moment is measured by.

   Half of its time goes into sums in registers, half into reading 4 MiB, as kernels' time does. */

enum { LANES = 16, STEPS = 6000, NUMBERS = 1 << 20 };

static float numbers[NUMBERS];

double yardstick(void) {
    float sums[LANES] = {0}, total = 0;
    for (long step = 0; step < STEPS; step++)
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] = sums[lane] * 0.999f + (float)step;
    for (long i = 0; i < NUMBERS; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] += numbers[i + lane];
    for (int lane = 0; lane < LANES; lane++)
        total += sums[lane];
    return total;
}
