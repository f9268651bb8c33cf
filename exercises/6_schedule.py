"""The learning-rate schedule: warm-up, stable, decay (chapter 9; Hu et al. 2024, section 4).

progress: the fraction of the run that is done, 0 to 1; warmup, decay: fractions of the run, above
0, together at most 1

Return the factor of the peak learning rate. It rises linearly from 0 to 1 during the first
``warmup`` of the run, stays at 1, and falls linearly to 0 during the last ``decay``.

    progress=0.05, warmup=0.1, decay=0.2 -> 0.5
    progress=0.5,  warmup=0.1, decay=0.2 -> 1.0
    progress=0.9,  warmup=0.1, decay=0.2 -> 0.5
"""


def lr_multiplier(progress, warmup, decay):
    raise NotImplementedError
