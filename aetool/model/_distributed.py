"""Training by several processes at once, as torchrun starts them: each takes its part of every batch.

The batches, the steps and so the quality are those of one process; what is shared are the gradients
(DistributedDataParallel, over gloo on CPUs, over NCCL on GPUs). Batch norm alone sees the part of one process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from aetool.errors import InputError


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that train one network together, as one of them sees it."""

    rank: int
    count: int

    @property
    def first(self) -> bool:
        """Return True in the process that writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Wrap the network for the training steps; the weights are those of the first process."""
        return DistributedDataParallel(network) if self.count > 1 else network

    def part(self, batch: Tensor) -> Tensor:
        """Return this process's rows of a batch."""
        return batch[self.rank :: self.count]

    def agreed(self, value: Tensor) -> Tensor:
        """Return the first process's value."""
        if self.count > 1:
            dist.broadcast(value, 0)
        return value

    def summed(self, value: Tensor) -> Tensor:
        """Return the sum over all processes."""
        if self.count > 1:
            dist.all_reduce(value)
        return value


ALONE = Processes(0, 1)


def is_first_process() -> bool:
    """Return True in the process that writes: the first one of torchrun, or any without torchrun."""
    return not dist.is_torchelastic_launched() or int(os.environ["RANK"]) == 0


@contextmanager
def joined(rows: int, batch_size: int) -> Iterator[Processes]:
    """Join the processes that torchrun started, for as long as the block lasts; alone without torchrun.

    Raises:
        InputError: a batch has too few rows for each process to have two.
    """
    if not dist.is_torchelastic_launched():
        yield ALONE
        return
    processes = Processes(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if min(rows, batch_size) < 2 * processes.count:
        raise InputError(
            f"{processes.count} processes need {2 * processes.count} rows or more in a batch, "
            f"found {min(rows, batch_size)}; start fewer, or raise --batch-size"
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield processes
    finally:
        dist.destroy_process_group()
