/* kofn serve: the server of a job whose workers are started apart, on this host or on others. All
 * but its beginning is that of kofn run.
 */
#include <kofn/kofn.h>

#include "cli/run.h"
#include "transports/transport.h"

int kofn_serve_open(struct kofn_run *run)
{
    int rc = kofn_run_open_server(run, run->where);

    if (rc)
        return rc;
    kofn_display_say(&run->display, "listening on %s (transport %s), waiting for %u worker%s",
                     kofn_server_address(run->server), run->conf->transport->name,
                     run->terms.workers, run->terms.workers == 1 ? "" : "s");
    fflush(run->display.stream);
    return 0;
}

int kofn_command_serve(const struct kofn_command *command, int argc, char **argv)
{
    return kofn_run_command(command, argc, argv);
}
