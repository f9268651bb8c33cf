"""Where the numbers of a run are logged: metrics.jsonl, and with --tensorboard also TensorBoard.

    pip install -e ".[tensorboard]"
    tensorboard --logdir runs
"""
import json
import time
from pathlib import Path

from minibert.formats.run_folder import read_metrics_lines
from tokenizer.utils.files import atomic_write, errors_name, remove


class Metrics:
    """metrics.jsonl: one JSON object per line; the first holds the expected losses.

    A run that resumes at step N first drops the lines after step N: it will write them again.
    """

    def __init__(self, path, step, header):
        self.path = Path(path)
        lines = [header]
        if step and self.path.is_file():
            lines += [line for line in read_metrics_lines(self.path)
                      if 0 <= line.get("step", -1) <= step and "final" not in line]
        atomic_write(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def write(self, values):
        """Append one line and flush it."""
        with errors_name(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


def check_tensorboard():
    """Raise ValueError if the package is missing or does not work with this torch."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise ValueError('--tensorboard needs another package: pip install -e ".[tensorboard]" '
                         f"({error})") from None


class TensorBoard:
    """RUN/tensorboard, with the lines of RUN/metrics.jsonl so far. Use ``write`` for the next ones.

    A run that resumes writes all of it again, so no step is there twice.
    """

    def __init__(self, run_folder, elapsed):
        from torch.utils.tensorboard import SummaryWriter
        self.start = time.time() - elapsed  # as if the run had never stopped
        remove(run_folder / "tensorboard")
        # purge_step: a TensorBoard that is already running forgets the removed file
        self.writer = SummaryWriter(run_folder / "tensorboard", purge_step=0)
        for line in read_metrics_lines(run_folder / "metrics.jsonl"):
            if "step" in line:  # not the header
                self.write(line)

    def write(self, line):
        """Write the numbers of a line of metrics.jsonl."""
        # The final evaluation has the step of another one, and more examples.
        prefix = "final/" if "final" in line else ""
        for name in line.keys() - {"step", "elapsed", "final"}:
            self.writer.add_scalar(prefix + name, line[name], line["step"],
                                   walltime=self.start + line["elapsed"])
        self.writer.flush()
