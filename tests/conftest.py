import torch

# The models of the tests are tiny: handing their work to a second thread takes longer than doing it.
torch.set_num_threads(1)
