"""kofn perf over verbs: both of its sides, in perftest's letters, with what the device has counted."""

import json

from lab import expect


def measure(lab, test, server, client):
    """Runs both sides of a test in one guest; returns what the side that measures has said, as JSON."""
    one = lab.guest()
    program = f"{lab.build}/kofn perf {test} -d rxe0 --timeout 60s"
    there = one.start(f"{test}-server", f"{program} {server}")
    if "json" not in server:
        there.wait_for("waiting for", 60)
    here = one.start(f"{test}-client", f"{program} {client} 127.0.0.1")
    expect(here.wait(200) == 0, f"client: {here.text()}")
    expect(there.wait(60) == 0, f"server: {there.text()}")
    result = json.loads((there if "json" in server else here).text())
    expect(result["transport"] == "verbs", "over something else")
    expect(result["hw_counters"]["sent_pkts"] > 0, f"the device has sent nothing: {result}")
    return result["results"]


def latency(lab, counts):
    """Half of a round trip, of sizes that are sent inline and that are not."""
    rows = measure(lab, "lat", "-e", "-e -s 8,64K -n 100 --out_json")
    expect([row["bytes"] for row in rows] == [8, 65536], f"not the sizes: {rows}")
    for row in rows:
        expect(row["iterations"] == 100 and 0 < row["t_min"] <= row["t_typical"] <= row["p99_99"] <= row["t_max"],
               f"times: {row}")
    counts.note(f"8 bytes: {rows[0]['t_typical']:.0f} us, least {rows[0]['t_min']:.0f}")


def bandwidth(lab, counts):
    """As much as goes through, with all buffers on their way."""
    row = measure(lab, "bw", "-e", "-e -s 64K -n 100 --out_json")[0]
    expect(0 < row["bw_average"] <= row["bw_peak"], f"bandwidth: {row}")
    counts.note(f"64 KiB: {row['bw_average']:.1f} MiB/s")


def quorum(lab, counts):
    """Three writers, the second of which is of interest."""
    rows = measure(lab, "quorum", "-e --out_json", "-e -n 30 --writers 3 --wait-for 2")
    expect([row["arrival"] for row in rows] == ["first", "K=2", "N=3"], f"not the arrivals: {rows}")
    means = [row["t_avg"] for row in rows]
    expect(0 < means[0] <= means[1] <= means[2], f"not in order: {rows}")
    counts.note("first, K, N: " + ", ".join(f"{mean:.0f}" for mean in means) + " us")


TESTS = [latency, bandwidth, quorum]
