"""Ray: no-op tasks on a local cluster of two workers. Not durable."""

import json
import time

import ray

TASKS = 3_000
SINGLE = 200


@ray.remote
def work(value):
    return value + 1


def main():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.get([work.remote(value) for value in range(100)])
    began = time.perf_counter()
    ray.get([work.remote(value) for value in range(TASKS)])
    per_second = TASKS / (time.perf_counter() - began)
    latencies = []
    for value in range(SINGLE):
        began = time.perf_counter()
        ray.get(work.remote(value))
        latencies.append((time.perf_counter() - began) * 1000)
    ray.shutdown()
    latencies.sort()
    print(json.dumps({"per_second": per_second, "p50_ms": latencies[SINGLE // 2],
                      "p99_ms": latencies[int(SINGLE * 0.99)]}))


if __name__ == "__main__":
    main()
