"""The optimisers that a loop config names.

Muon makes every direction of a matrix's step equally long. The small generators learn in half
the steps with it, and their gates find more of what training never said (docs/generators.md).
"""

from __future__ import annotations

import torch
from torch import nn

from gestray.training.config import LoopConfig
from gestray.training.muon import Muon


def make_optimizers(model: nn.Module, config: LoopConfig) -> tuple[torch.optim.Optimizer, ...]:
    """AdamW of all that learns; or Muon of the weights of linear layers, and AdamW of the rest.

    Muon's steps are as long as AdamW's, so both have one learning rate and one decay of weights.
    """
    learns = [parameter for parameter in model.parameters() if parameter.requires_grad]
    of_linear = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Linear)}
    matrices, others = [], learns
    if config.optimizer == "muon":
        matrices = [parameter for parameter in learns if id(parameter) in of_linear]
        others = [parameter for parameter in learns if id(parameter) not in of_linear]
    rate, decay = config.learning_rate, config.weight_decay
    optimizers: list[torch.optim.Optimizer] = []
    if others:
        adamw = torch.optim.AdamW(
            others, lr=rate, betas=config.betas, weight_decay=decay, fused=True
        )
        optimizers.append(adamw)
    if matrices:
        optimizers.append(Muon(matrices, lr=rate, weight_decay=decay))
    return tuple(optimizers)
