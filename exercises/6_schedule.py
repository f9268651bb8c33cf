"""The learning rate's schedule: warm-up, stable, decay (chapter 9; Hu et al. 2024, section 4).

``progress``: how much of the run is done, 0 to 1. Return what the peak rate is multiplied with: it rises in a straight line from 0 to 1 over the
first ``warmup`` of the run, stays at 1, and falls in a straight line to 0 over the last ``decay`` of it. Both are above 0, and together at most 1.

    progress=0.05, warmup=0.1, decay=0.2 -> 0.5
    progress=0.5,  warmup=0.1, decay=0.2 -> 1.0
    progress=0.9,  warmup=0.1, decay=0.2 -> 0.5
"""


def lr_multiplier(progress, warmup, decay):
    raise NotImplementedError
