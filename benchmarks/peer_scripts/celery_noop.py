"""Celery: no-op tasks through a broker of files and a result backend of files, one worker of two.

The file broker is the only durable one that needs no server.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

from celery import Celery

TASKS = 400
SINGLE = 20
FOLDER = os.environ.get("PEER_FOLDER") or tempfile.mkdtemp()
for name in ("queue", "processed", "results"):
    os.makedirs(os.path.join(FOLDER, name), exist_ok=True)

app = Celery(
    "celery_noop", broker="filesystem://", backend="file://" + os.path.join(FOLDER, "results")
)
app.conf.broker_transport_options = {
    "data_folder_in": os.path.join(FOLDER, "queue"),
    "data_folder_out": os.path.join(FOLDER, "queue"),
    "processed_folder": os.path.join(FOLDER, "processed"),
    "polling_interval": 0.01,
}


@app.task
def work(value):
    return value + 1


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_noop", "worker", "-c", "2", "-l", "ERROR"],
        cwd=here, env={**os.environ, "PEER_FOLDER": FOLDER}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        work.delay(1).get(timeout=60, interval=0.01)
        began = time.perf_counter()
        for result in [work.delay(value) for value in range(TASKS)]:
            result.get(timeout=120, interval=0.005)
        per_second = TASKS / (time.perf_counter() - began)
        latencies = []
        for value in range(SINGLE):
            began = time.perf_counter()
            work.delay(value).get(timeout=60, interval=0.002)
            latencies.append((time.perf_counter() - began) * 1000)
    finally:
        worker.terminate()
        worker.wait(timeout=30)
    latencies.sort()
    print(json.dumps({"per_second": per_second, "p50_ms": latencies[SINGLE // 2],
                      "p99_ms": latencies[-1]}))


if __name__ == "__main__":
    main()
