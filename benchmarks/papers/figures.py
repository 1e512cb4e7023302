"""What the papers show, as jobs of kofn. A figure is a function of Jobs that returns its title, axes, series and table."""

from jobs import curve, reached, uploads

EXPONENTIAL = ("exp(1)", "exp:1s")
SHIFTED = ("1 + exp(1)", "shifted-exp:1s,1s")
PARETO = ("Pareto(2, 1)", "pareto:2,1s")


def figure(title, x, y, series, header, rows, **more):
    return {"title": title, "x": x, "y": y, "series": series, "header": header, "rows": rows, **more}


# ---- Dutta, Joshi, Ghosh, Dube, Nagpurkar: Slow and Stale Gradients Can Win the Race ----


def dutta_ratio(jobs):
    """Fig. 5: how much longer an update takes that waits for everybody than one that waits for one."""
    workers = (1, 2, 4, 8, 12, 16, 24, 32, 40)
    series, rows = [], []
    for name, delay in (EXPONENTIAL, SHIFTED, PARETO):
        points = []
        for p in workers:
            job = f"-n {p} --delay {delay}"
            sync = jobs.plan(f"-a ksync -k {p} {job}")["round_time_mean"]
            points.append([p, sync / jobs.plan(f"-a kbatch-async -k 1 {job}")["round_time_mean"]])
        series.append({"name": name, "points": points})
    for i, p in enumerate(workers):
        rows.append([p] + [line["points"][i][1] for line in series])
    header = ["P"] + [line["name"] for line in series]
    return figure("Runtime of synchronous over asynchronous SGD", "workers P", "ratio", series, header, rows, log="y")


UPDATES = 2000


def dutta_time(jobs):
    """Fig. 6: what 2,000 updates take against K, P = 20; predicted, and simulated."""
    waits = (1, 2, 5, 8, 10, 12, 15, 18, 19, 20)
    series, rows = [], []
    for label, delay in (PARETO, SHIFTED):
        for name in ("ksync", "kasync", "kbatch-async"):
            points = []
            for k in waits:
                job = f"-n 20 -k {k} -a {name} --delay {delay}"
                plan = jobs.plan(job)
                sim = jobs.times(f"{job} --rounds {UPDATES}")
                points.append([k, sim["seconds"]])
                rows.append([label, name, k, UPDATES * plan["round_time_mean"], plan["methods"]["round_time_mean"],
                             sim["seconds"]])
            series.append({"name": f"{name}, {label}", "points": points})
    header = ["delay", "algorithm", "K", "predicted, s", "by", "simulated, s"]
    return figure("Time of 2,000 updates, P = 20", "K", "seconds", series, header, rows, log="y")


def dutta_loss(jobs):
    """Fig. 8-like: loss against time of softmax regression; P = 8, K = 4, X ~ exp(1)."""
    job = "-n 8 --model softmax --batch 8 --lr 0.002 --delay exp:1s --seconds 400 --eval-every 10s"
    contenders = (
        ("sync (K = 8)", "-a ksync -k 8"),
        ("K-sync, K = 4", "-a ksync -k 4"),
        ("K-async, K = 4", "-a kasync -k 4"),
        ("K-batch-async, K = 4", "-a kbatch-async -k 4"),
        ("async (K = 1)", "-a kasync -k 1"),
    )
    return losses(jobs, "Loss against time, P = 8", job, contenders, (2.0, 1.9))


def first(points, target):
    """When the loss was first as low as that; None if it never was."""
    return next((x for x, y in points if y is not None and y <= target), None)


def losses(jobs, title, job, contenders, targets, rates=(None,), data=None):
    """Loss curves, and when each contender is at certain losses; each at the best of its learning rates."""
    series, rows = [], []
    for name, options in contenders:
        found = []
        for rate in rates:
            result = jobs.learn(options.format(lr=rate, nth=rate and rate / 8) + f" {job}", data)
            points = curve(result, "loss")
            when = [first(points, target) for target in targets]
            least = min((y for _, y in points if y is not None), default=float("inf"))
            found.append(([at is None for at in reversed(when)], when[-1] or least, rate, when, least, points, result))
        *_, rate, when, least, points, result = min(found, key=lambda one: one[:2])
        series.append({"name": name, "points": points})
        rows.append([name, *when, least, result["accuracy"], result["k_last"], result["staleness_mean"],
                     result["idle_fraction_mean"]] + ([rate] if rate else []))
    header = ["contender", *(f"s to loss {target}" for target in targets), "least loss", "accuracy at the end", "last K",
              "staleness", "idle"] + (["rate"] if rates[0] else [])
    return figure(title, "simulated seconds", "test loss", series, header, rows)


def adasync(jobs):
    """AdaSync against fixed K: K-async, P = 8, batch 32, X ~ exp(20 ms). K grows with the fall of the loss, which of
    softmax regression on CIFAR-10 falls by a quarter and never moves K: hence an MLP on the synthetic data."""
    job = "-n 8 --model mlp --hidden 64 --batch 32 --lr 0.1 --delay exp:20ms --seconds 30 --eval-every 500ms"
    contenders = [(f"K-async, K = {k}", f"-a kasync -k {k}") for k in (1, 2, 4, 8)]
    contenders.append(("AdaSync from K = 1", "-a adasync --over kasync -k 1 --adapt-every 1s"))
    contenders.append(("AdaSync from K = 2", "-a adasync --over kasync -k 2 --adapt-every 1s"))
    return losses(jobs, "AdaSync over K-async, P = 8, synthetic data", job, contenders, (0.7, 0.4), data="synthetic")


# ---- Zhu, Zhang, Wang: STSyn ----

STSYN = "-n 20 --model softmax --batch 100 --lr 0.005 --eval-every 1ms"
DELAY = "--delay exp:100us"  # drawn anew for every local update, as in the paper
PER_ROUND = "--delay exp:100us@round"  # one draw a worker and round, as in the authors' code of their comparisons
SEEDS = (1, 2, 3)


def targets(jobs, title, job, contenders, accuracy, most):
    """Simulated time, rounds and models sent until an accuracy is reached: means over seeds."""
    series, rows = [], []
    for name, options, local in contenders:
        found, results = [], []
        delay = "" if "--delay" in options else DELAY
        for seed in SEEDS[: jobs.seeds]:
            result = jobs.learn(f"{options} {job} {delay} --seed {seed} --target-accuracy {accuracy} --seconds {most}")
            results.append(result)
            found.append(reached(result, accuracy))
        series.append({"name": name, "points": curve(results[0], "accuracy")})
        if None in found:
            rows.append([name, None, None, None, None, results[0]["round_time_mean"]])
            continue
        seconds = sum(at[0] for at in found) / len(found)
        rounds = sum(at[1] for at in found) / len(found)
        sent = sum(uploads(r, at[1]) for r, at in zip(results, found)) / len(found)
        rows.append([name, seconds, rounds, sent, sent + 20 * rounds if local else None,
                     results[0]["round_time_mean"]])
    header = ["contender", f"s to accuracy {accuracy}", "rounds", "models up", "up and down", "s a round"]
    return figure(title, "simulated seconds", "test accuracy", series, header, rows)


def stsyn(jobs):
    """Time and uploads to a target accuracy; M = 20, K = 5, U = 10, data sorted by label, one update ~ exp(100 us)."""
    contenders = (
        ("STSyn, K = 5, U = 10", "-a stsyn -k 5 -u 10", True),
        ("STSyn with FedNova's weights", "-a stsyn -k 5 -u 10 --weights fednova", True),
        ("STSyn, capped, without who did most", "-a stsyn -k 5 -u 10 --step-cap 1.5 --leave-out-most", True),
        ("PASGD (local SGD), tau = 10", "-a local -u 10", True),
        ("AdaComm from tau = 10", "-a adacomm -u 10", True),
        ("FLANP from 5 workers, tau = 10", "-a flanp -u 10 -k 5", True),
        ("overlap, tau = 10", "-a overlap -u 10", True),
        ("K-sync, K = 5", "-a ksync -k 5", True),
        ("sync", "-a sync", True),
        ("one draw a round: STSyn, the authors' code", f"-a stsyn -k 5 -u 10 --step-cap 1.5 --leave-out-most {PER_ROUND}",
         True),
        ("one draw a round: PASGD, tau = 10", f"-a local -u 10 {PER_ROUND}", True),
    )
    return targets(jobs, "STSyn and others, data sorted by label", f"{STSYN} --split sorted", contenders, 0.36, "60ms")


def stsyn_k(jobs):
    """The influence of K: U = 10, independent samples."""
    contenders = [(f"K = {k}", f"-a stsyn -k {k} -u 10", True) for k in (1, 5, 10, 20)]
    return targets(jobs, "STSyn, U = 10: the influence of K", f"{STSYN} --split iid", contenders, 0.37, "60ms")


def stsyn_u(jobs):
    """The influence of U: K = 5, independent samples."""
    contenders = [(f"U = {u}", f"-a stsyn -k 5 -u {u}", True) for u in (1, 5, 10, 20)]
    return targets(jobs, "STSyn, K = 5: the influence of U", f"{STSYN} --split iid", contenders, 0.37, "60ms")


# ---- Wang, Liang, Joshi: Overlap Local-SGD ----


def overlap(jobs):
    """What communication adds to a round, against its delay; 16 workers, tau = 2. Of local SGD it is in the way."""
    series, rows = [], []
    for label, delay in (("steps of 1 s", "uniform:1s,1s"), ("exp(1)", "exp:1s")):
        for name in ("local", "overlap"):
            job = f"-n 16 -a {name} -u 2 --delay {delay} --rounds 2000"
            alone = jobs.times(job)["round_time_mean"]
            points = []
            for delay_of_round in (0.1, 0.5, 1, 2, 3, 5):
                result = jobs.times(f"{job} --latency {delay_of_round / 2}s")
                share = result["round_time_mean"] / alone - 1
                points.append([delay_of_round, 100 * share])
                rows.append([label, name, delay_of_round, result["round_time_mean"], 100 * share])
            series.append({"name": f"{name}, {label}", "points": points})
    header = ["local update", "algorithm", "delay D, s", "s a round", "overhead, %"]
    return figure("What communication adds to a round, tau = 2", "delay of a round's communication, s", "overhead, %",
                  series, header, rows)


# ---- Zhu, Tian, Huang, Xu, He: R-FAST ----

PEERS = "-n 8 --model softmax --batch 32 --delay exp:10ms --latency 1ms --seconds 10 --eval-every 250ms"
# each contender at the best of three rates; the root of R-FAST tracks the sum of all gradients: its rate is 1/n
RATES = (0.004, 0.01, 0.025)
OTHERS = (
    ("ring all-reduce", "-a sync --collective ring --lr {lr}"),
    ("D-PSGD", "-a dpsgd --lr {lr}"),
    ("AD-PSGD", "-a adpsgd --lr {lr}"),
    ("OSGP", "-a osgp --lr {lr}"),
)


def peers(jobs, title, more, others=OTHERS):
    contenders = [("R-FAST, tree", "-a rfast --topology tree --root 0 --lr {nth}"),
                  ("R-FAST, ring", "-a rfast --topology ring --root 0 --lr {nth}"), *others]
    return losses(jobs, title, f"{PEERS} {more}", contenders, (1.9, 1.8), RATES)


def rfast_slow(jobs):
    """One of eight nodes is 5 times slower."""
    return peers(jobs, "Peers, one node 5 times slower", "--straggler rank=5,factor=5")


def rfast_loss(jobs):
    """30 % of the messages are lost: those of R-FAST for good, those of the others are sent again."""
    return peers(jobs, "Peers, 30 % of messages lost", "--loss 0.3")


def rfast_skew(jobs):
    """One node slow, a tenth of the messages lost, and every node with its own labels."""
    return peers(jobs, "Peers, one slow, 10 % lost, sorted by label",
                 "--straggler rank=5,factor=5 --loss 0.1 --split sorted")


# ---- the network of the STSyn paper ----


def cnn(jobs):
    """A short curve of the convolutional network: STSyn and local SGD, 4 workers, one of them 4 times slower."""
    job = "-n 4 --model cnn --batch 50 --lr 0.05 --delay exp:100ms --straggler rank=3,factor=4 --eval-every 5s --seconds 10"
    contenders = (("STSyn, K = 3, U = 5", "-a stsyn -k 3 -u 5"), ("local SGD, tau = 5", "-a local -u 5"))
    return losses(jobs, "The CNN of 797,962 parameters", job, contenders, (2.2, 2.1))


FIGURES = {
    "dutta-ratio": dutta_ratio,
    "dutta-time": dutta_time,
    "dutta-loss": dutta_loss,
    "adasync": adasync,
    "stsyn": stsyn,
    "stsyn-k": stsyn_k,
    "stsyn-u": stsyn_u,
    "overlap": overlap,
    "rfast-slow": rfast_slow,
    "rfast-loss": rfast_loss,
    "rfast-skew": rfast_skew,
    "cnn": cnn,
}
