"""Measure the seconds and the peak memory of a command, including its child processes (Linux).

The proportional set size counts a page that n processes share as 1/n of a page in each, so forked
workers are not counted twice. It includes pages of memory-mapped files, although the system may
reclaim those.
"""
import os
import subprocess
import threading
import time
from pathlib import Path

INTERVAL = 0.05  # seconds between two samples


def measured(command, **popen_args):
    """Run a command and return {"output", "seconds", "megabytes"}. SystemExit if it fails.

    "megabytes" is the peak, or None if the system does not report memory.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **popen_args)
    peak = 0
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(INTERVAL):
            peak = max(peak, memory_of_tree(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, command))}\n{output}")
    seconds = time.perf_counter() - start
    return {"output": output, "seconds": seconds, "megabytes": peak / 1e6 or None}


def memory_of_tree(pid):
    """Return the proportional set size of a process and its children in bytes, 0 if unknown."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            size = next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
        children = []
        for thread in os.listdir(f"/proc/{pid}/task"):
            children += Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
    except (OSError, StopIteration):
        return 0
    return size + sum(memory_of_tree(int(child)) for child in children)
