"""Several processes that train one model: who writes, and what all of them agree on.

``torchrun`` and ``accelerate launch`` tell every process its place through the environment. With
one process every function here is free and does nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Value = TypeVar("Value")


def num_processes() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Tell whether this process is the one that writes files and talks."""
    return int(os.environ.get("RANK", "0")) == 0


def join_group() -> None:
    """Meet the other processes, each on its own GPU where there are GPUs."""
    if num_processes() == 1:
        return
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available())


def wait_for_all() -> None:
    """Go on once every process has come here."""
    if num_processes() > 1:
        import torch.distributed as group

        group.barrier()


def of_main(value: Value) -> Value:
    """Return the main process's value in every process."""
    if num_processes() == 1:
        return value
    import torch.distributed as group

    box = [value]
    group.broadcast_object_list(box, src=0)
    return box[0]


def of_any(*flags: bool) -> tuple[bool, ...]:
    """Tell of each flag whether it is set in any process."""
    return tuple(bool(count) for count in summed(flags))


def summed(values: Sequence[float]) -> list[float]:
    """Return values added up over all processes; whole numbers stay exact."""
    if num_processes() == 1:
        return list(values)
    import torch
    import torch.distributed as group

    place = "cuda" if group.get_backend() == "nccl" else "cpu"
    total = torch.tensor(values, dtype=torch.float64, device=place)
    group.all_reduce(total)
    return [float(each) for each in total.tolist()]
