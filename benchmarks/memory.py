"""What a command takes: seconds, and memory at its peak, of the process with all its children (Linux).

The proportional set size counts a page that n processes share as 1/n of a page in each: forked workers are not counted twice. Pages
of memory-mapped files count, too, although the system may take them back.
"""
import os
import subprocess
import threading
import time
from pathlib import Path


def measured(command, **how):
    """Run a command -> {"output", "seconds", "megabytes" at the peak, None where the system does not say}. SystemExit where it fails.

    how: for ``subprocess.Popen``, as cwd and env. Memory is looked at twenty times a second.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **how)
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.05):
            peak[0] = max(peak[0], memory_of_tree(process.pid))
    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, command))}\n{output}")
    return {"output": output, "seconds": time.perf_counter() - start, "megabytes": peak[0] / 1e6 or None}


def memory_of_tree(pid):
    """Bytes, proportional set size, of a process and its children; 0 where /proc does not tell."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            size = next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
        children = [child for thread in os.listdir(f"/proc/{pid}/task")
                    for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    except (OSError, StopIteration):
        return 0
    return size + sum(memory_of_tree(int(child)) for child in children)
