"""The measure of memory that the benchmarks share: a process with its children, and pages that they share counted once."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAM = """
import os, time
held = bytearray(os.urandom(1 << 20) * 60)
if os.fork() == 0:
    more = bytearray(os.urandom(1 << 20) * 40)
    time.sleep(0.5)
    os._exit(0)
os.wait()
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_a_parent_of_60_mb_and_its_fork_with_40_more_are_100_and_not_160():
    asked = f"import json, sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import memory; " \
            f"print(json.dumps(memory.measured([sys.executable, '-c', {PROGRAM!r}])))"
    result = json.loads(subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout)
    assert result["output"] == "done\n" and result["seconds"] > 0.5
    assert 100 < result["megabytes"] < 150
