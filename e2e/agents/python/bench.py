"""Times a small SELECT straight at the account and through Frostgate, in turn, and prints one JSON line.

    bench.py '{"direct": {...connect...}, "through": {...connect...}, "rounds": 300, "sql": "..."}'

Both ways are measured in the same run and alternate, so that what the machine does besides hits both alike.
"""

import json
import sys
import time

import snowflake.connector


def quantile(sorted_times, share):
    return sorted_times[min(len(sorted_times) - 1, int(share * len(sorted_times)))]


def main():
    task = json.loads(sys.argv[1])
    cursors = {way: snowflake.connector.connect(**task[way]).cursor() for way in ("direct", "through")}
    times = {"direct": [], "through": []}
    for number in range(task["rounds"] + 20):
        for way, cursor in cursors.items():
            start = time.perf_counter()
            cursor.execute(task["sql"]).fetchall()
            if number >= 20:  # the first rounds warm caches on both sides
                times[way].append(time.perf_counter() - start)
    answer = {"rounds": task["rounds"]}
    for way, taken in times.items():
        taken.sort()
        answer[way] = {"p50_ms": 1000 * quantile(taken, 0.5), "p99_ms": 1000 * quantile(taken, 0.99)}
    for share in ("p50_ms", "p99_ms"):
        answer[f"added_{share}"] = answer["through"][share] - answer["direct"][share]
        answer[f"ratio_{share[:3]}"] = answer["through"][share] / answer["direct"][share]
    print(json.dumps(answer), flush=True)


main()
