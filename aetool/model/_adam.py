"""Adam, the optimizer of every training."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam (Kingma & Ba, ICLR 2015) by PyTorch's own function.

    Its class imports the compiler, torch._dynamo, when it is made: a second that no training needs.
    """

    def __init__(self, parameters: Iterable[Tensor], weight_decay: float) -> None:
        """Begin with no step done."""
        self.parameters, self.weight_decay = list(parameters), weight_decay
        self.slots = {
            "step": [torch.zeros((), device=each.device) for each in self.parameters],
            "exp_avg": [torch.zeros_like(each) for each in self.parameters],
            "exp_avg_sq": [torch.zeros_like(each) for each in self.parameters],
        }
        """Numbers of steps done, and running averages of the gradients and of their squares, by parameter."""

    def step(self, learning_rate: float) -> None:
        """Change the parameters by their gradients, and forget those."""
        with torch.no_grad():
            adam(
                self.parameters,
                [each.grad for each in self.parameters if each.grad is not None],
                self.slots["exp_avg"],
                self.slots["exp_avg_sq"],
                [],
                self.slots["step"],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=learning_rate,
                weight_decay=self.weight_decay,
                eps=1e-8,
                maximize=False,
            )
        for each in self.parameters:
            each.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return what `restore` needs: `0.exp_avg` of the first parameter, and so on."""
        return {f"{i}.{slot}": value for slot, values in self.slots.items() for i, value in enumerate(values)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        for slot, values in self.slots.items():
            for i, value in enumerate(values):
                value.copy_(state[f"{i}.{slot}"])
