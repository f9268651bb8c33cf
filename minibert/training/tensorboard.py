"""The numbers of metrics.jsonl as curves in the browser: ``python train.py --tensorboard``.

    pip install -e ".[tensorboard]"
    tensorboard --logdir runs
"""
import time

from minibert.formats.run_folder import read_metrics_lines
from tokenizer.utils.files import remove


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
