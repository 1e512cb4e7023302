/* The map as a few lines for people. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "place/place.h"

struct printer {
    const struct kofn_place_map *map;
    void (*line)(void *arg, const char *text);
    void *arg;
};

/* Consecutive workers on one line. */
struct group {
    unsigned first, end; /* workers [first, end) */
    int node;            /* of all of them; -1 = several, or not known */
};

static const char *plural(unsigned count)
{
    return count == 1 ? "" : "s";
}

/* ", node 1", or nothing where the node is not known. */
static const char *node_text(int node, char *buffer, size_t size)
{
    buffer[0] = '\0';
    if (node >= 0)
        snprintf(buffer, size, ", node %d", node);
    return buffer;
}

/* "cores 1-3 (CPUs 2,4,6)" for @count bound threads, or "CPUs 2,4,6" where cores are not known. */
static void format_places(const struct kofn_place *place, size_t count, char *buffer, size_t size)
{
    char cpu_text[KOFN_CPUS_TEXT_BYTES / 2], core_text[KOFN_CPUS_TEXT_BYTES / 2];
    struct kofn_cpus cpus = {{0}}, cores = {{0}}; /* core numbers are as small as those of CPUs */
    bool known = true;

    for (size_t i = 0; i < count; i++) {
        kofn_cpus_add(&cpus, place[i].cpu);
        if (place[i].core >= 0 && place[i].core < KOFN_CPUS_MAX)
            kofn_cpus_add(&cores, place[i].core);
        else
            known = false;
    }
    kofn_cpus_format(&cpus, cpu_text, sizeof(cpu_text));
    if (known)
        snprintf(buffer, size, "core%s %s (CPU%s %s)", plural(kofn_cpus_count(&cores)),
                 kofn_cpus_format(&cores, core_text, sizeof(core_text)),
                 plural(kofn_cpus_count(&cpus)), cpu_text);
    else
        snprintf(buffer, size, "CPU%s %s", plural(kofn_cpus_count(&cpus)), cpu_text);
}

static void print_machine(const struct printer *printer)
{
    const struct kofn_place_map *map = printer->map;
    char cpus[KOFN_CPUS_TEXT_BYTES], line[KOFN_LOG_LINE];

    snprintf(line, sizeof(line), "%u CPU%s (%s) on %u core%s, %u memory node%s", map->cpu_count,
             plural(map->cpu_count), kofn_cpus_format(&map->cpus, cpus, sizeof(cpus)),
             map->core_count, plural(map->core_count), map->node_count, plural(map->node_count));
    printer->line(printer->arg, line);
}

static void print_server(const struct printer *printer)
{
    const struct kofn_place_map *map = printer->map;
    char places[2 * KOFN_CPUS_TEXT_BYTES], node[32], line[2 * KOFN_LOG_LINE];

    node_text(map->poll.node, node, sizeof(node));
    if (map->poll.cpu >= 0) {
        format_places(&map->poll, 1, places, sizeof(places));
        snprintf(line, sizeof(line), "poll thread: %s%s", places, node);
    } else {
        kofn_cpus_format(&map->poll_cpus, places, sizeof(places));
        snprintf(line, sizeof(line), "poll thread: not bound, any of CPUs %s%s", places, node);
    }
    printer->line(printer->arg, line);
}

static void print_group(const struct printer *printer, const struct group *group)
{
    const struct kofn_place_map *map = printer->map;
    const struct kofn_place *place = map->compute + (size_t)group->first * map->threads;
    size_t threads = (size_t)(group->end - group->first) * map->threads;
    char who[64], places[2 * KOFN_CPUS_TEXT_BYTES], node[32], line[2 * KOFN_LOG_LINE];

    if (group->end - group->first == 1)
        snprintf(who, sizeof(who), "worker %u", group->first);
    else
        snprintf(who, sizeof(who), "workers %u-%u", group->first, group->end - 1);
    node_text(group->node, node, sizeof(node));
    if (place->cpu >= 0) {
        format_places(place, threads, places, sizeof(places));
        snprintf(line, sizeof(line), "%s: %s%s", who, places, node);
    } else {
        kofn_cpus_format(&map->cpus, places, KOFN_CPUS_TEXT_BYTES);
        snprintf(line, sizeof(line), "%s: not bound, %zu thread%s share CPU%s %s%s", who, threads,
                 threads == 1 ? "" : "s", plural(map->cpu_count), places, node);
    }
    printer->line(printer->arg, line);
}

/* Workers that share a line: one alone if there are few; else all that follow each other on a node.
 * Unbound ones have nothing to tell them apart.
 */
static struct group next_group(const struct kofn_place_map *map, unsigned first)
{
    bool alone = map->workers <= KOFN_PLACE_LINES && map->compute[0].cpu >= 0;
    struct group group = {first, first + 1, -1};
    int node;

    kofn_place_node(map, kofn_place_worker(first), &group.node);
    while (!alone && group.end < map->workers &&
           kofn_place_node(map, kofn_place_worker(group.end), &node) == 0 && node == group.node)
        group.end++;
    return group;
}

static void print_spinning(const struct printer *printer)
{
    const struct kofn_place_map *map = printer->map;
    char budget[64], line[KOFN_LOG_LINE];

    if (!map->spin_ok)
        snprintf(budget, sizeof(budget), "no");
    else if (map->spin_ns == KOFN_FOREVER)
        snprintf(budget, sizeof(budget), "without end");
    else
        snprintf(budget, sizeof(budget), "%llu us, then sleep",
                 (unsigned long long)(map->spin_ns / KOFN_NS_PER_US));
    snprintf(line, sizeof(line), "spinning: %s (%s)", budget, map->spin_why);
    printer->line(printer->arg, line);
}

void kofn_place_print(const struct kofn_place_map *map, void (*line)(void *arg, const char *text),
                      void *arg)
{
    struct printer printer = {map, line, arg};

    print_machine(&printer);
    if (map->server)
        print_server(&printer);
    for (unsigned worker = 0; worker < map->workers;) {
        struct group group = next_group(map, worker);

        print_group(&printer, &group);
        worker = group.end;
    }
    print_spinning(&printer);
}
