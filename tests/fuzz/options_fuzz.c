/* What --transport-option and the environment say to a transport: options within their limits, or
 * one message. The text up to the first line break is the option, what follows a list of devices
 * as other programs have it.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/caught_log.h"
#include "transports/uring/options.h"
#if HAVE_VERBS
#include "transports/verbs/options.h"
#endif

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void expect(bool condition)
{
    if (!condition)
        abort();
}

static void read_tcp(const char *text)
{
    struct kofn__tcp_options options = {0};
    struct kofn_caught caught;
    int rc;

    kofn_caught_reset(&caught);
    rc = kofn__tcp_options_read(text, &options, &caught.log);
    expect(rc ? caught.count == 1 : options.engine != NULL);
}

#if HAVE_VERBS
static void read_verbs(const char *text, const char *devices)
{
    struct kofn__verbs_options options = {0};
    struct kofn_caught caught;

    setenv("NCCL_IB_HCA", devices, 1);
    kofn_caught_reset(&caught);
    if (kofn__verbs_options_read(&options, text, &caught.log)) {
        expect(caught.count == 1);
        return;
    }
    expect(memchr(options.filter.text, 0, sizeof(options.filter.text)) != NULL);
    expect(options.port <= 255 && options.level <= 15 && options.traffic <= 255);
    expect(options.retries <= KOFN__VERBS_RETRIES && options.timeout <= 31 && options.hops <= 255);
    kofn__verbs_filter_passes(&options.filter, "mlx5_0", 0);
    kofn__verbs_filter_passes(&options.filter, devices, 1);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = calloc(1, size + 1), *devices;

    expect(text != NULL);
    if (size)
        memcpy(text, bytes, size);
    devices = strchr(text, '\n');
    if (devices)
        *devices++ = 0;
    read_tcp(text);
#if HAVE_VERBS
    read_verbs(text, devices ? devices : "");
#endif
    free(text);
    return 0;
}
