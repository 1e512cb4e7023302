/* The file of options: whatever is in it, it is taken, or refused with one message of one line;
 * what is taken are lines of the file, and numbers within the bounds of their options.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/option.h"
#include "tests/lib/caught_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void expect(bool condition)
{
    if (!condition)
        abort();
}

/* Nothing but the file says anything. */
static void clear_environment(void)
{
    char name[KOFN_OPTION_NAME_BYTES];

    for (size_t i = 0; i < kofn_option_count; i++)
        if (kofn_option_environment(&kofn_option_table[i], name))
            unsetenv(name);
}

static int file_of(const uint8_t *bytes, size_t size, char path[32])
{
    int fd = memfd_create("config", MFD_CLOEXEC);

    expect(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

/* What a file gives an option is a piece of it: not empty, without a comment, on one line unless
 * the option repeats.
 */
static void expect_from_file(const struct kofn_option *option, const struct kofn_value *value)
{
    expect(!(option->flags & (KOFN_OPTION_FLAG_ONLY | KOFN_OPTION_NOT_IN_FILE)));
    expect(value->line > 0 && value->text && *value->text);
    expect(!strpbrk(value->text, "#\n") && strchr(" \t\r", *value->text) == NULL);
}

static void expect_sane(const struct kofn_options *options)
{
    const struct kofn_conf *conf = &options->conf;

    for (size_t i = 0; i < kofn_option_count; i++)
        if (options->values[i].origin == KOFN_ORIGIN_FILE)
            expect_from_file(&kofn_option_table[i], &options->values[i]);
    expect(conf->workers >= 1 && conf->workers <= kofn_option_find("workers")->max);
    expect(conf->batch >= 1 && conf->batch <= kofn_option_find("batch")->max);
    expect(conf->momentum >= 0 && conf->momentum < 1);
    expect(conf->target_accuracy >= 0 && conf->target_accuracy <= 1);
    expect(conf->algorithm && conf->transport && conf->model);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct kofn_command run = {.name = "run", .bit = KOFN_FOR_RUN, .text = ""};
    static struct kofn_options options;
    struct kofn_caught caught;
    char path[32], name[] = "run", flag[] = "--config";
    char *argv[] = {name, flag, path, NULL};
    int fd = file_of(bytes, size, path), rc;

    clear_environment();
    kofn_caught_reset(&caught);
    rc = kofn_options_read(&options, &run, 3, argv, &caught.log);
    if (rc) {
        expect(rc == KOFN_INVALID || rc == KOFN_FORMAT);
        expect(caught.count == 1 && !strchr(caught.last, '\n'));
    } else {
        expect(caught.count == 0);
        expect_sane(&options);
    }
    kofn_options_free(&options);
    close(fd);
    return 0;
}
