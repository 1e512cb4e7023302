/* echo.h: another process on another core that writes a word where it is told to, at once: what is
 * looked at here afterwards has been written there.
 */
#ifndef KOFN_BENCHMARKS_ECHO_H
#define KOFN_BENCHMARKS_ECHO_H

#include <stdbool.h>
#include <stdint.h>

struct echo;

/* Starts the process. It shares what is mapped shared by now, and spins until it is closed.
 *
 * @there  its CPU; negative: there is none for it, and words are written by the caller
 * Returns KOFN_NO_MEMORY or KOFN_SYSTEM (logged).
 */
int echo_open(int there, struct echo **echo_p);

/* Has @word written to @address, and waits for it. False if the process does not answer for
 * seconds.
 */
bool echo_write(struct echo *echo, void *address, uint64_t word);

/* Ends the process. NULL is allowed. */
void echo_close(struct echo *echo);

#endif
