/* fuzz_replay.c: main() of a fuzz target without libFuzzer, so that every compiler runs it in `make check`.
 *
 * `TARGET FILE_OR_DIRECTORY...` gives the target each file, then a fixed number of seeded variations of it (bytes
 * changed, cut off, repeated), and as many inputs of random bytes. It always gives the same inputs.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/random.h"

#define VARIATIONS 200
#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Hands over a copy of exactly @size bytes, so that a sanitizer sees a read beyond the end. */
static void give(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy) {
        perror("malloc");
        exit(99);
    }
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void give_variations(uint8_t *data, size_t size, struct kofn_random *random)
{
    uint8_t *work = malloc(INPUT_MAX);

    if (!work) {
        perror("malloc");
        exit(99);
    }
    for (int i = 0; size && i < VARIATIONS; i++) {
        size_t length = size, changes = 1 + kofn_random_below(random, 8);

        memcpy(work, data, size);
        while (changes--)
            work[kofn_random_below(random, size)] ^= (uint8_t)(1 + kofn_random_below(random, 255));
        if (i % 4 == 1)
            length = kofn_random_below(random, size);
        if (i % 4 == 2 && 2 * size <= INPUT_MAX) {
            memcpy(work + size, data, size);
            length = 2 * size;
        }
        give(work, length);
    }
    free(work);
}

static void give_random(struct kofn_random *random)
{
    uint8_t data[512];

    for (int i = 0; i < VARIATIONS; i++) {
        size_t size = kofn_random_below(random, sizeof(data) + 1);

        for (size_t j = 0; j < size; j++)
            data[j] = (uint8_t)kofn_random_next(random);
        give(data, size);
    }
}

/* Returns how many files were given. */
static unsigned give_file(const char *path, struct kofn_random *random)
{
    uint8_t *data = malloc(INPUT_MAX);
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!file || !data) {
        perror(path);
        exit(99);
    }
    size = fread(data, 1, INPUT_MAX, file);
    fclose(file);
    give(data, size);
    give_variations(data, size, random);
    free(data);
    return 1;
}

static unsigned give_path(const char *path, struct kofn_random *random)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    char name[4096];
    unsigned files = 0;

    if (!directory)
        return give_file(path, random);
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.') {
            snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
            files += give_path(name, random);
        }
    closedir(directory);
    return files;
}

int main(int argc, char **argv)
{
    struct kofn_random random;
    unsigned files = 0;

    kofn_random_seed(&random, 1, 0);
    give(NULL, 0);
    give_random(&random);
    for (int i = 1; i < argc; i++)
        files += give_path(argv[i], &random);
    printf("%u files and their variations, %d random inputs\n", files, VARIATIONS);
    return 0;
}
