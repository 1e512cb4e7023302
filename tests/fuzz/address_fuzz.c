/* Addresses between hosts: what is accepted has a host that fits and a port that is one, and names
 * the same again when it is put together from these; what is not is refused with one message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/channel.h"
#include "tests/lib/caught_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void expect(bool condition)
{
    if (!condition)
        abort();
}

static void expect_same_again(const struct kofn_tcp_name *name, const struct kofn_log *log)
{
    struct kofn_tcp_name again;
    char text[sizeof(name->host) + sizeof(name->port) + 16];
    bool number = strchr(name->host, ':') != NULL;

    snprintf(text, sizeof(text), "tcp:%s%s%s:%s", number ? "[" : "", *name->host ? name->host : "*",
             number ? "]" : "", name->port);
    expect(kofn__tcp_parse(text, &again, log) == 0);
    expect(!strcmp(again.host, name->host) && !strcmp(again.port, name->port));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char scheme[] = "tcp:";
    char *text = calloc(1, sizeof(scheme) + size);
    struct kofn_tcp_name name;
    struct kofn_caught caught;

    expect(text != NULL);
    memcpy(text, scheme, sizeof(scheme));
    if (size)
        memcpy(text + strlen(scheme), bytes, size);
    kofn_caught_reset(&caught);
    if (kofn__tcp_parse(text, &name, &caught.log)) {
        expect(caught.count == 1);
    } else {
        expect(caught.count == 0);
        expect(memchr(name.host, 0, sizeof(name.host)) && memchr(name.port, 0, sizeof(name.port)));
        expect(strtoul(name.port, NULL, 10) <= 65535);
        expect_same_again(&name, &caught.log);
    }
    free(text);
    return 0;
}
