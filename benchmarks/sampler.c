/* Looks every millisecond of processor time at what the process is executing.

   A signal handler notes the address of the instruction, whichever thread it finds running. It only
   writes into an array, as a handler may. */

#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/time.h>
#include <ucontext.h>

enum { MOST = 1 << 16 };

static uint64_t found[MOST];
static volatile int count;

static void note(int signal, siginfo_t *info, void *context) {
    const ucontext_t *at = context;
    int place = __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
    if (place >= MOST)
        return;
#if defined(__x86_64__)
    found[place] = (uint64_t)at->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    found[place] = at->uc_mcontext.pc;
#else
    found[place] = 0;
#endif
}

/* 0 if the signals come from now on. */
int sampler_start(int microseconds) {
    struct sigaction action = {0};
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    count = 0;
    action.sa_sigaction = note;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    if (sigaction(SIGPROF, &action, 0))
        return 1;
    return setitimer(ITIMER_PROF, &timer, 0);
}

/* Stops, and returns how many addresses there are. */
int sampler_stop(void) {
    struct itimerval timer = {{0, 0}, {0, 0}};
    setitimer(ITIMER_PROF, &timer, 0);
    return count < MOST ? count : MOST;
}

const uint64_t *sampler_addresses(void) { return found; }
