/* child.h: another program as a contender: what it prints is what it has measured. */
#ifndef KOFN_BENCHMARKS_CHILD_H
#define KOFN_BENCHMARKS_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#define CHILD_ABSENT 77 /* exit status of a contender that finds something missing */

/* Is @program in one of the folders of PATH, or a path itself? */
bool bench_child_there(const char *program);

/* Where the running program is: "/build/benchmarks"; its contenders lie next to it. */
int bench_child_folder(char *folder, size_t room);

/* Runs @argv (NULL at its end), found along PATH, and collects its standard output as one string.
 * It is killed after @seconds.
 *
 * @output  at most @room bytes with the final zero; what exceeds it is dropped
 * @status  out: its exit status, -1 if a signal ended it
 * Returns 0, KOFN_TIMEOUT or KOFN_SYSTEM (logged).
 */
int bench_child_run(const char *const *argv, unsigned seconds, char *output, size_t room,
                    int *status);

/* Runs @script, which lies with the sources, with @words (NULL at their end) under a python that
 * has what it needs, and reads the number that it prints first.
 *
 * Returns as a bench_contender.measure does: KOFN_UNSUPPORTED and @why if it found something
 * missing, else also KOFN_FORMAT (logged).
 */
int bench_child_python(const char *script, const char *const *words, unsigned seconds,
                       double *value, const char **why);

#endif
