#include "transports/verbs/errors.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"

const char *kofn__verbs_completion_text(enum ibv_wc_status status)
{
    switch (status) {
    case IBV_WC_RETRY_EXC_ERR:
        return "retry exceeded: the other side does not answer: it has ended, or the link is down; "
               "from the start: wrong GID or MTU, a firewall on UDP port 4791, or a time-out too "
               "short for this network (--peer-timeout)";
    case IBV_WC_RNR_RETRY_EXC_ERR:
        return "receiver not ready: the other side takes nothing in: it is overloaded or hangs";
    case IBV_WC_REM_ACCESS_ERR:
        return "remote access refused: its memory there is no longer ours: evicted, most likely";
    case IBV_WC_REM_INV_REQ_ERR:
        return "remote request refused: longer than its memory there, or of a kind that is not "
               "allowed";
    case IBV_WC_REM_OP_ERR:
        return "remote operation failed: the device of the other side could not do it";
    case IBV_WC_LOC_PROT_ERR:
        return "local protection error: memory that is not registered (any more)";
    case IBV_WC_LOC_LEN_ERR:
        return "local length error: a message longer than the port can send";
    case IBV_WC_LOC_QP_OP_ERR:
        return "local queue pair error: the device refuses the request as inconsistent; with "
               "Soft-RoCE also: its interface is down";
    case IBV_WC_LOC_ACCESS_ERR:
        return "local access error: memory that may not be written";
    case IBV_WC_MW_BIND_ERR:
        return "memory window not bound: the memory below it does not allow that";
    case IBV_WC_BAD_RESP_ERR:
        return "bad response: the other side answers in a way that is not expected";
    case IBV_WC_REM_ABORT_ERR:
        return "aborted by the other side";
    case IBV_WC_WR_FLUSH_ERR:
        return "flushed: the connection had failed before";
    case IBV_WC_FATAL_ERR:
        return "fatal error of the device: it must be reset";
    case IBV_WC_RESP_TIMEOUT_ERR:
        return "no response in time";
    case IBV_WC_GENERAL_ERR:
        return "general error: the device takes nothing that is to be sent: it was removed, or is "
               "out of memory";
    case IBV_WC_LOC_EEC_OP_ERR:
    case IBV_WC_LOC_RDD_VIOL_ERR:
    case IBV_WC_REM_INV_RD_REQ_ERR:
    case IBV_WC_INV_EECN_ERR:
    case IBV_WC_INV_EEC_STATE_ERR:
        return "an error of reliable datagrams, which are not used: old firmware, or a broken "
               "driver";
    default:
        return ibv_wc_status_str(status);
    }
}

const char *kofn__verbs_failure_text(const struct kofn__verbs_port *port, enum ibv_wc_status status,
                                     uint32_t vendor, char text[KOFN__VERBS_FAILURE_TEXT])
{
    int used =
        snprintf(text, KOFN__VERBS_FAILURE_TEXT, "%s (", kofn__verbs_completion_text(status));

    if (status == IBV_WC_RETRY_EXC_ERR && port->routed)
        used += snprintf(text + used, KOFN__VERBS_FAILURE_TEXT - (size_t)used, "GID index %u, ",
                         port->gid.gid_index);
    if (status == IBV_WC_RETRY_EXC_ERR)
        used += snprintf(text + used, KOFN__VERBS_FAILURE_TEXT - (size_t)used,
                         "MTU %u, %u tries of %.0f ms; ", port->mtu,
                         (unsigned)port->options.retries + 1,
                         4.096e-3 * (double)(1u << kofn__verbs_port_timeout(port)));
    snprintf(text + used, KOFN__VERBS_FAILURE_TEXT - (size_t)used, "status %d, vendor error 0x%x)",
             (int)status, vendor);
    return text;
}

const char *kofn__verbs_event_text(enum ibv_event_type type, uint32_t port, char text[128])
{
    switch (type) {
    case IBV_EVENT_DEVICE_FATAL:
        snprintf(text, 128, "the device has failed or was removed; nothing of it can be used");
        break;
    case IBV_EVENT_PORT_ERR:
        snprintf(text, 128, "port %u is down: cable, switch or interface", port);
        break;
    case IBV_EVENT_PORT_ACTIVE:
        snprintf(text, 128, "port %u is up", port);
        break;
    case IBV_EVENT_GID_CHANGE:
        snprintf(text, 128, "the addresses of port %u have changed; new connections use them",
                 port);
        break;
    case IBV_EVENT_LID_CHANGE:
    case IBV_EVENT_PKEY_CHANGE:
    case IBV_EVENT_SM_CHANGE:
    case IBV_EVENT_CLIENT_REREGISTER:
        snprintf(text, 128, "the subnet manager has changed port %u", port);
        break;
    case IBV_EVENT_CQ_ERR:
        snprintf(text, 128, "a completion queue has overrun; its connections are lost");
        break;
    case IBV_EVENT_SRQ_ERR:
        snprintf(text, 128, "a receive queue has failed; its connections are lost");
        break;
    case IBV_EVENT_PATH_MIG:
    case IBV_EVENT_PATH_MIG_ERR:
        snprintf(text, 128, "a connection was moved to another path, which is not asked for (%s)",
                 ibv_event_type_str(type));
        break;
    case IBV_EVENT_COMM_EST:
    case IBV_EVENT_SQ_DRAINED:
    case IBV_EVENT_QP_LAST_WQE_REACHED:
    case IBV_EVENT_SRQ_LIMIT_REACHED:
        snprintf(text, 128, "nothing to worry about (%s)", ibv_event_type_str(type));
        break;
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
        snprintf(text, 128, "the connection has failed by itself (%s)", ibv_event_type_str(type));
        break;
    default:
        snprintf(text, 128, "%s", ibv_event_type_str(type));
        break;
    }
    return text;
}

bool kofn__verbs_event_of_pair(enum ibv_event_type type)
{
    return type == IBV_EVENT_QP_FATAL || type == IBV_EVENT_QP_REQ_ERR ||
           type == IBV_EVENT_QP_ACCESS_ERR;
}

bool kofn__verbs_event_fatal(enum ibv_event_type type)
{
    return type == IBV_EVENT_DEVICE_FATAL || type == IBV_EVENT_CQ_ERR || type == IBV_EVENT_SRQ_ERR;
}

int kofn__verbs_memory_error(const struct kofn_log *log, const char *device, const char *what,
                             size_t bytes, int error)
{
    struct rlimit limit = {0};

    getrlimit(RLIMIT_MEMLOCK, &limit);
    if ((error == ENOMEM || error == EAGAIN || error == EPERM) && limit.rlim_cur != RLIM_INFINITY)
        return kofn_error(log, KOFN_NO_MEMORY,
                          "verbs: %s: cannot register %zu bytes for %s: the limit of locked memory "
                          "is %llu KiB: ulimit -l unlimited (systemd: LimitMEMLOCK=infinity, "
                          "containers: --ulimit memlock=-1; doc/roce.md has more)",
                          device, bytes, what, (unsigned long long)limit.rlim_cur / 1024);
    return kofn_error(log, error == ENOMEM ? KOFN_NO_MEMORY : KOFN_SYSTEM,
                      "verbs: %s: cannot register %zu bytes for %s: %s", device, bytes, what,
                      strerror(error));
}
