/* The flags of kofn perf: perftest's letters, so that what works there works here. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "cli/perf.h"

#define DEFAULT_PORT 18515 /* as perftest */
#define DEFAULT_WAIT (60 * KOFN_NS_PER_S)
#define DEFAULT_TIMEOUT (20 * KOFN_NS_PER_S)
#define ALL_SIZES 23 /* -a: 2^1 to 2^23 */

enum {
    OPT_TRANSPORT = 256,
    OPT_OPTION,
    OPT_CONNECT,
    OPT_WRITERS,
    OPT_WAIT_FOR,
    OPT_FIRST,
    OPT_HERE,
    OPT_WARM_UP,
    OPT_WAIT,
    OPT_TIMEOUT,
    OPT_INSECURE,
    OPT_GBITS,
    OPT_JSON,
    OPT_JSON_FILE
};

static const char letters[] = ":d:i:x:m:S:T:u:I:Rp:s:an:et:Fh";
static const struct option flags[] = {
    {"transport", required_argument, NULL, OPT_TRANSPORT},
    {"transport-option", required_argument, NULL, OPT_OPTION},
    {"connect", required_argument, NULL, OPT_CONNECT},
    {"ib-dev", required_argument, NULL, 'd'},
    {"ib-port", required_argument, NULL, 'i'},
    {"gid-index", required_argument, NULL, 'x'},
    {"mtu", required_argument, NULL, 'm'},
    {"sl", required_argument, NULL, 'S'},
    {"tclass", required_argument, NULL, 'T'},
    {"qp-timeout", required_argument, NULL, 'u'},
    {"inline_size", required_argument, NULL, 'I'},
    {"rdma_cm", no_argument, NULL, 'R'},
    {"port", required_argument, NULL, 'p'},
    {"size", required_argument, NULL, 's'},
    {"all", no_argument, NULL, 'a'},
    {"iters", required_argument, NULL, 'n'},
    {"events", no_argument, NULL, 'e'},
    {"tx-depth", required_argument, NULL, 't'},
    {"warm-up", required_argument, NULL, OPT_WARM_UP},
    {"writers", required_argument, NULL, OPT_WRITERS},
    {"wait-for", required_argument, NULL, OPT_WAIT_FOR},
    {"first", required_argument, NULL, OPT_FIRST},
    {"here", required_argument, NULL, OPT_HERE},
    {"wait", required_argument, NULL, OPT_WAIT},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"insecure", no_argument, NULL, OPT_INSECURE},
    {"CPU-freq", no_argument, NULL, 'F'},
    {"report_gbits", no_argument, NULL, OPT_GBITS},
    {"out_json", no_argument, NULL, OPT_JSON},
    {"out_json_file", required_argument, NULL, OPT_JSON_FILE},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static void help(const struct kofn_command *command)
{
    printf("Usage: kofn %s lat|bw|quorum [OPTION]... [HOST]\n\n%s\n", command->name, command->text);
    printf("What is measured:\n"
           "  -s, --size BYTES           of payload; several with commas [8]\n"
           "  -a, --all                  2, 4, 8 ... 8 MiB\n"
           "  -n, --iters N              publications, or rounds [1000]\n"
           "      --warm-up N            as many before, not counted [a tenth]\n"
           "  -t, --tx-depth D           publications on their way at once: buffers of a slot, 2 "
           "to 8\n"
           "                             [2; bw: 8]\n"
           "  -e, --events               sleep while waiting; else spin\n"
           "      --writers N            quorum: writers of all clients together [4]\n"
           "      --wait-for K           quorum: which arrival is of interest [half]\n"
           "      --here N               quorum: writers of this client [all from the first on]\n"
           "      --first RANK           quorum: rank of the first of them [0]\n");
    printf(
        "How:\n"
        "      --transport NAME       one of shm, tcp, verbs; `kofn info` says what is built in\n"
        "                             [verbs, else tcp]\n"
        "      --transport-option KEY=VALUE\n"
        "                             an option of the transport; may be repeated\n"
        "  -p, --port PORT            of the control connection [18515]\n"
        "      --wait T               for the other side to be there, at most [60s]\n"
        "      --timeout T            how long it may be silent after that [20s]\n"
        "      --insecure             server: may be reached from other hosts, by anybody\n"
        "Over verbs:\n"
        "  -d, --ib-dev DEV[:PORT]    device\n"
        "  -i, --ib-port PORT         its port\n"
        "  -x, --gid-index INDEX      which of its addresses\n"
        "  -m, --mtu BYTES            at most\n"
        "  -S, --sl LEVEL             service level\n"
        "  -T, --tclass CLASS         traffic class\n"
        "  -u, --qp-timeout N         4.096 us * 2^N until what is not acknowledged is sent again\n"
        "  -I, --inline_size BYTES    carried in the request itself, at most\n"
        "      --connect HOW          one of tcp (by what the control connection tells), rdmacm "
        "(by\n"
        "                             the RDMA connection manager) [as the server has it: tcp]\n"
        "  -R, --rdma_cm              the same as --connect rdmacm\n"
        "Output, of the side that measures: of lat and bw the client, of quorum the server:\n"
        "      --report_gbits         bandwidth in Gb/s, not in MiB/s\n"
        "      --out_json             JSON instead of a table\n"
        "      --out_json_file FILE   JSON into a file, too\n"
        "  -F, --CPU-freq             no warning if CPUs change their frequency\n"
        "  -h, --help                 this text\n");
}

/* ---- values ---- */

static int bad(const char *flag, const struct kofn_bad *why)
{
    return kofn_error(NULL, KOFN_INVALID, "perf: %s: " KOFN_BAD, flag, KOFN_BAD_ARGS(why));
}

static int number(const char *flag, const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    struct kofn_bad why;

    return kofn_parse_uint(kofn_text(text), min, max, value, &why) ? bad(flag, &why) : 0;
}

static int duration(const char *flag, const char *text, uint64_t *ns)
{
    struct kofn_bad why;

    if (kofn_parse_duration(kofn_text(text), ns, &why))
        return bad(flag, &why);
    return *ns ? 0 : kofn_error(NULL, KOFN_INVALID, "perf: %s: \"%s\" is too short", flag, text);
}

/* Appends "KEY=VALUE" to the options of the transport. */
static int add_option(struct kofn_perf_conf *conf, const char *key, const char *value)
{
    size_t used = strlen(conf->options), left = sizeof(conf->options) - used;
    int length = snprintf(conf->options + used, left, "%s%s%s%s", used ? " " : "", key,
                          *key ? "=" : "", value);

    if (strchr(value, ' '))
        return kofn_error(NULL, KOFN_INVALID, "perf: \"%s\": no option of a transport has a space",
                          value);
    if ((size_t)length >= left)
        return kofn_error(NULL, KOFN_INVALID, "perf: the options of the transport are too long");
    return 0;
}

static int set_connect(struct kofn_perf_conf *conf, const char *how)
{
    static const char *const ways[] = {"tcp", "rdmacm"};
    char hint[KOFN_HINT_LENGTH];

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(ways); i++)
        if (!strcmp(how, ways[i])) {
            conf->connect = ways[i];
            return add_option(conf, "connect", how);
        }
    return kofn_error(NULL, KOFN_INVALID, "perf: --connect: \"%.64s\" is none; %s", how,
                      kofn_hint(hint, kofn_text(how), ways, KOFN_ARRAY_SIZE(ways)));
}

static int read_sizes(struct kofn_perf_conf *conf, const char *text)
{
    struct kofn_text list = kofn_text(text);
    struct kofn_bad why;

    for (conf->count = 0; list.start && conf->count < KOFN_PERF_SIZES; conf->count++)
        if (kofn_parse_size(kofn_text_cut(&list, ','), 1, KOFN_PERF_BYTES_MAX,
                            &conf->sizes[conf->count], &why))
            return bad("--size", &why);
    if (list.start)
        return kofn_error(NULL, KOFN_INVALID, "perf: --size: more than %d sizes", KOFN_PERF_SIZES);
    return 0;
}

static int all_sizes(struct kofn_perf_conf *conf)
{
    for (conf->count = 0; conf->count < ALL_SIZES; conf->count++)
        conf->sizes[conf->count] = UINT64_C(2) << conf->count;
    return 0;
}

/* The transport @name, if that is one between processes; `self` is inside one thread. Else NULL. */
static const struct kofn_transport_ops *find_transport(const char *name)
{
    return strcmp(name, "self") ? kofn_transport_find(name) : NULL;
}

static int set_transport(struct kofn_perf_conf *conf, const char *name)
{
    const char *names[8];
    char hint[KOFN_HINT_LENGTH];
    const struct kofn_transport_ops *ops;
    size_t count = 0;

    conf->ops = find_transport(name);
    if (conf->ops)
        return 0;
    for (size_t i = 0; (ops = kofn_transport_at(i)) && count < KOFN_ARRAY_SIZE(names); i++)
        if (find_transport(ops->name))
            names[count++] = ops->name;
    return kofn_error(NULL, KOFN_INVALID, "perf: --transport: \"%.64s\" is none; %s", name,
                      kofn_hint(hint, kofn_text(name), names, count));
}

/* ---- flags ---- */

/* What is an option of the verbs transport, under another name. NULL: none. */
static const char *verbs_key(int flag)
{
    static const struct {
        int flag;
        const char *key;
    } keys[] = {{'d', "device"}, {'i', "port"}, {'x', "gid"},     {'m', "mtu"},
                {'S', "sl"},     {'T', "tc"},   {'u', "timeout"}, {'I', "inline"}};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(keys); i++)
        if (keys[i].flag == flag)
            return keys[i].key;
    return NULL;
}

static int set_number(struct kofn_perf_conf *conf, int flag, const char *text)
{
    switch (flag) {
    case 'p':
        return number("--port", text, 1, 65535, &conf->port);
    case 'n':
        return number("--iters", text, 1, KOFN_PERF_ITERATIONS_MAX, &conf->iterations);
    case 't': /* perftest's letter; elsewhere in kofn it is the transport's */
        if (find_transport(text))
            return kofn_error(NULL, KOFN_INVALID,
                              "perf: -t is --tx-depth, a number: use --transport %s", text);
        return number("--tx-depth", text, KOFN_DEPTH, KOFN_DEPTH_MAX, &conf->depth);
    case OPT_WARM_UP:
        return number("--warm-up", text, 0, KOFN_PERF_ITERATIONS_MAX, &conf->warm_up);
    case OPT_WRITERS:
        return number("--writers", text, 1, KOFN_PERF_WRITERS_MAX, &conf->writers);
    case OPT_WAIT_FOR:
        return number("--wait-for", text, 1, KOFN_PERF_WRITERS_MAX, &conf->wait_for);
    case OPT_FIRST:
        return number("--first", text, 0, KOFN_PERF_WRITERS_MAX - 1, &conf->first);
    case OPT_HERE:
        return number("--here", text, 1, KOFN_PERF_WRITERS_MAX, &conf->here);
    case OPT_WAIT:
        return duration("--wait", text, &conf->wait);
    default:
        return duration("--timeout", text, &conf->timeout);
    }
}

static int set(struct kofn_perf_conf *conf, int flag, const char *text)
{
    const char *key = verbs_key(flag);

    if (key)
        return add_option(conf, key, text);
    switch (flag) {
    case 'R':
        return set_connect(conf, "rdmacm");
    case OPT_CONNECT:
        return set_connect(conf, text);
    case OPT_OPTION:
        return add_option(conf, "", text);
    case OPT_TRANSPORT:
        return set_transport(conf, text);
    case 's':
        return read_sizes(conf, text);
    case 'a':
        return all_sizes(conf);
    case 'e':
        conf->sleeps = true;
        return 0;
    case 'F':
        conf->any_frequency = true;
        return 0;
    case OPT_INSECURE:
        conf->insecure = true;
        return 0;
    case OPT_GBITS:
        conf->gbits = true;
        return 0;
    case OPT_JSON:
        conf->json = true;
        return 0;
    case OPT_JSON_FILE:
        conf->json_file = text;
        return 0;
    default:
        return set_number(conf, flag, text);
    }
}

/* getopt has found an unknown flag, or one without its value. */
static int refuse_flag(int answer, const char *word)
{
    const char *names[KOFN_ARRAY_SIZE(flags)];
    char hint[KOFN_HINT_LENGTH];
    size_t count = 0;

    if (answer == ':')
        return kofn_error(NULL, KOFN_INVALID, "perf: %.64s: its value is missing", word);
    for (; flags[count].name; count++)
        names[count] = flags[count].name;
    if (optopt && optopt < OPT_TRANSPORT && strncmp(word, "--", 2))
        return kofn_error(NULL, KOFN_INVALID,
                          "perf: -%c: no such option; `kofn perf --help` lists them", optopt);
    if (optopt)
        return kofn_error(NULL, KOFN_INVALID, "perf: %.64s: takes no value", word);
    word += strspn(word, "-");
    return kofn_error(NULL, KOFN_INVALID, "perf: --%.64s: no such option; %s", word,
                      kofn_text_near_match(kofn_text(word), names, count)
                          ? kofn_hint(hint, kofn_text(word), names, count)
                          : "`kofn perf --help` lists them");
}

/* ---- what is no flag, and what follows from all ---- */

static int read_words(struct kofn_perf_conf *conf, int argc, char **argv)
{
    const char *word = optind < argc ? argv[optind] : "";
    char hint[KOFN_HINT_LENGTH];

    conf->test = 0;
    while (conf->test < KOFN_PERF_TESTS && strcmp(word, kofn_perf_tests[conf->test]))
        conf->test++;
    if (conf->test == KOFN_PERF_TESTS && !*word)
        return kofn_error(NULL, KOFN_INVALID, "perf: a test is missing; %s",
                          kofn_hint(hint, kofn_text(word), kofn_perf_tests, KOFN_PERF_TESTS));
    if (conf->test == KOFN_PERF_TESTS)
        return kofn_error(NULL, KOFN_INVALID, "perf: \"%.64s\" is no test; %s", word,
                          kofn_hint(hint, kofn_text(word), kofn_perf_tests, KOFN_PERF_TESTS));
    if (argc - optind > 2)
        return kofn_error(NULL, KOFN_INVALID, "perf: \"%.64s\" is one word too many",
                          argv[optind + 2]);
    conf->host = optind + 1 < argc ? argv[optind + 1] : NULL;
    return 0;
}

static bool is_this_host(const char *host)
{
    char name[256] = "";

    gethostname(name, sizeof(name) - 1);
    return !strcmp(host, "localhost") || !strncmp(host, "127.", 4) || !strcmp(host, "::1") ||
           !strcmp(host, name);
}

static int check(const struct kofn_perf_conf *conf)
{
    bool measures = (conf->test == KOFN_PERF_QUORUM) == !conf->host;

    if (!measures && (conf->json || conf->json_file))
        return kofn_error(NULL, KOFN_INVALID,
                          "perf: the %s of %s measures nothing: --out_json is for the %s",
                          conf->host ? "client" : "server", kofn_perf_tests[conf->test],
                          conf->host ? "server" : "client");
    if (conf->host && (conf->ops->capabilities & KOFN_CAP_ONE_HOST) && !is_this_host(conf->host))
        return kofn_error(NULL, KOFN_INVALID,
                          "perf: %s is within one host, and \"%.64s\" is not localhost",
                          conf->ops->name, conf->host);
    if (conf->connect && conf->ops != kofn_transport_find("verbs"))
        return kofn_error(NULL, KOFN_INVALID,
                          "perf: --connect %s: is of transport verbs, and this one is %s",
                          conf->connect, conf->ops->name);
    if (conf->iterations > kofn_perf_most(conf->test))
        return kofn_error(NULL, KOFN_INVALID,
                          "perf: --iters: %s keeps every time, of up to %" PRIu64 " iterations",
                          kofn_perf_tests[conf->test], kofn_perf_most(conf->test));
    if (conf->wait_for > conf->writers)
        return kofn_error(NULL, KOFN_INVALID, "perf: K = %" PRIu64 " of %" PRIu64 " writers",
                          conf->wait_for, conf->writers);
    if (conf->first >= conf->writers || conf->here > conf->writers - conf->first)
        return kofn_error(NULL, KOFN_INVALID,
                          "perf: of %" PRIu64 " writers there are no %" PRIu64 " from rank %" PRIu64
                          " on",
                          conf->writers, KOFN_MAX(conf->here, UINT64_C(1)), conf->first);
    return 0;
}

int kofn_perf_options(struct kofn_perf_conf *conf, const struct kofn_command *command, int argc,
                      char **argv)
{
    static const struct kofn_log log = {.level = KOFN_LOG_WARN};
    int flag, rc = 0;

    *conf = (struct kofn_perf_conf){.port = DEFAULT_PORT,
                                    .sizes = {8},
                                    .count = 1,
                                    .iterations = 1000,
                                    .warm_up = UINT64_MAX,
                                    .writers = 4,
                                    .wait = DEFAULT_WAIT,
                                    .timeout = DEFAULT_TIMEOUT,
                                    .log = &log};
    optind = 0; /* GNU: afresh, and flags may stand anywhere */
    opterr = 0;
    while (!rc && (flag = getopt_long(argc, argv, letters, flags, NULL)) >= 0) {
        if (flag == 'h') {
            help(command);
            return KOFN_AGAIN;
        }
        rc = flag == '?' || flag == ':' ? refuse_flag(flag, argv[optind - 1])
                                        : set(conf, flag, optarg);
    }
    rc = rc ? rc : read_words(conf, argc, argv);
    if (!rc && !conf->ops)
        rc = set_transport(conf, kofn_transport_find("verbs") ? "verbs" : "tcp");
    return rc ? rc : check(conf);
}

struct kofn_perf_order kofn_perf_order_of(const struct kofn_perf_conf *conf, uint64_t bytes)
{
    bool quorum = conf->test == KOFN_PERF_QUORUM;
    uint64_t writers = quorum ? conf->writers : 1;
    uint64_t half = (writers + 1) / 2;

    return (struct kofn_perf_order){.test = conf->test,
                                    .bytes = bytes,
                                    .iterations = conf->iterations,
                                    .warm_up = conf->warm_up == UINT64_MAX ? conf->iterations / 10
                                                                           : conf->warm_up,
                                    .depth = conf->depth                  ? conf->depth
                                             : conf->test == KOFN_PERF_BW ? KOFN_DEPTH_MAX
                                                                          : KOFN_DEPTH,
                                    .writers = writers,
                                    .wait_for = quorum && conf->wait_for ? conf->wait_for : half};
}
