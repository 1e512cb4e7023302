/* raw_ping.h: the least that two processes on two cores can do to tell each other something: one
 * cache line goes over, one comes back. What kofn does over shared memory is measured against this.
 *
 *   one line   the word that is polled
 *   two lines  a payload line is written, then the line with the word that is polled; the payload
 * is read back
 *
 * Both sides do nothing else. Between measurements the other process sleeps.
 */
#ifndef KOFN_BENCHMARKS_RAW_PING_H
#define KOFN_BENCHMARKS_RAW_PING_H

#include <stdbool.h>

struct raw_ping;

/* Starts the other process.
 *
 * @lines          1 or 2
 * @relax          pause between two looks: which is faster depends on the processor, because
 * looking pulls the line away from the one who writes it
 * @here, @there   the CPU of the caller, which is bound to it while it measures, and that of the
 * other Returns KOFN_NO_MEMORY or KOFN_SYSTEM (logged).
 */
int raw_ping_open(unsigned lines, bool relax, int here, int there, struct raw_ping **ping_p);

/* One sample, in ns one way: half a round trip, the median over @blocks blocks of 100 round trips
 * each. Returns KOFN_GONE if the other process does not answer within seconds (logged).
 */
int raw_ping_measure(struct raw_ping *ping, unsigned blocks, double *ns);

/* Ends the other process. NULL is allowed. */
void raw_ping_close(struct raw_ping *ping);

#endif
