"""Dask: no-op tasks through a scheduler process and two worker processes. Not durable."""

import json
import time

from distributed import Client, LocalCluster

TASKS = 3_000
SINGLE = 200


def work(value):
    return value + 1


def main():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            client.gather(client.map(work, range(100), pure=False))
            began = time.perf_counter()
            client.gather(client.map(work, range(TASKS), pure=False))
            per_second = TASKS / (time.perf_counter() - began)
            latencies = []
            for value in range(SINGLE):
                began = time.perf_counter()
                client.submit(work, value, pure=False).result()
                latencies.append((time.perf_counter() - began) * 1000)
    latencies.sort()
    print(json.dumps({"per_second": per_second, "p50_ms": latencies[SINGLE // 2],
                      "p99_ms": latencies[int(SINGLE * 0.99)]}))


if __name__ == "__main__":
    main()
