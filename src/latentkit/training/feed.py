"""Data on their way to the model: resident in their smallest dtype, converted a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from latentkit.core.protocols import Batch
from latentkit.core.seeds import generator
from latentkit.training.augmentation import Augment

__all__ = ["Feed"]

#: Batches among whose rows those of about one length are looked for.
POOL = 64


class Feed:
    """Examples in storage form, served as batches in model units.

    Args:
        storage: Examples in their smallest dtype, shape (n, *event).
        prepare: Storage to model units, for one batch.
        device: Where batches are wanted. The storage moves there when it fits in a third of the free memory.
        condition: What generation is conditioned on, shape (n, features).
        hidden: Probability with which an epoch hides the condition of a row (zeros in its place), so that the model
            learns to do without.
        numbers: Numbers of the examples among all, shape (n,); by default from 0 to n - 1. A subset keeps them.
        augment: What is drawn anew of the examples of a batch in :meth:`epoch`; :meth:`batch` gives them as they are.
        lengths: How long each example is, shape (n,), where they differ: then the batches of an epoch are of examples
            of about one length, so that little of them is padding. None where all are as long.
    """

    def __init__(
        self,
        storage: Tensor,
        prepare: Callable[[Tensor], Tensor],
        *,
        device: torch.device | str = "cpu",
        condition: Tensor | None = None,
        hidden: float = 0.0,
        numbers: Tensor | None = None,
        augment: Augment | None = None,
        lengths: Tensor | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.prepare = prepare
        self.storage = self._place(storage)
        self.condition = None if condition is None else self._place(condition)
        self.hidden = hidden
        self.augment = augment
        self.lengths = lengths
        self.numbers = (torch.arange(len(storage)) if numbers is None else numbers).to(self.storage.device)

    def __len__(self) -> int:
        return self.storage.shape[0]

    def subset(self, rows: Tensor, *, augment: Augment | None = None) -> Feed:
        """Return a feed of these rows, in this order, with augmentations of its own."""
        condition = None if self.condition is None else self.condition[rows.to(self.condition.device)]
        rows = rows.to(self.storage.device)
        return Feed(
            self.storage[rows],
            self.prepare,
            device=self.device,
            condition=condition,
            hidden=self.hidden,
            numbers=self.numbers[rows],
            augment=augment,
            lengths=None if self.lengths is None else self.lengths[rows.to(self.lengths.device)],
        )

    def batch(self, rows: Tensor | slice) -> Batch:
        """Return these rows in model units on the device."""
        x = self.storage[rows] if isinstance(rows, slice) else self.storage.index_select(0, rows)
        x = self.prepare(x if x.device == self.device else x.to(self.device, non_blocking=True))
        numbers = self.numbers[rows].to(self.device)
        if self.condition is None:
            return Batch(x, rows=numbers)
        condition = self.condition[rows]
        return Batch(x, condition=condition.to(self.device), rows=numbers)

    def augmented(self, batch: Batch, *, seed: int, keys: Sequence[str | int] = ()) -> Batch:
        """Return a batch with its examples drawn anew, by `seed` and `keys` alone."""
        if self.augment is None:
            return batch
        source = generator(seed, "augmentation", *keys, device=batch.x.device)
        return replace(batch, x=self.augment(batch.x, source))

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return how many batches :meth:`epoch` yields."""
        full, rest = divmod(len(self), batch_size)
        return full + (1 if full == 0 or 2 * rest >= batch_size else 0)

    def epoch(
        self,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        draw: Callable[[int], Tensor | None] = lambda step: None,
    ) -> Iterator[Batch]:
        """Yield the batches of one epoch in an order that depends on `seed` and `epoch` alone.

        A remainder smaller than half a batch sits out this epoch (another one, drawn afresh, sits out the next).

        Args:
            batch_size: Rows in a batch.
            seed: Seed of the run.
            epoch: Number of the epoch.
            start: Batches to skip, for a run that is resumed within an epoch.
            draw: Asked for the rows of each batch, by its place in the epoch; None leaves it to the order.
        """
        order = torch.randperm(len(self), generator=generator(seed, "order", epoch))
        if self.lengths is not None:
            order = self._by_length(order, batch_size, generator(seed, "lengths", epoch))
        if self.storage.device.type != "cpu":
            order = order.to(self.storage.device)
        for step in range(start, self.steps_per_epoch(batch_size)):
            drawn = draw(step)
            rows = order[step * batch_size : (step + 1) * batch_size] if drawn is None else drawn.to(order.device)
            batch = self.batch(rows)
            if batch.condition is not None and self.hidden:
                draws = torch.rand(len(batch.x), 1, generator=generator(seed, "hidden", epoch, step))
                shown = (draws >= self.hidden).to(batch.condition)
                batch = replace(batch, condition=batch.condition * shown)
            yield self.augmented(batch, seed=seed, keys=(epoch, step))

    def _by_length(self, order: Tensor, batch_size: int, source: torch.Generator) -> Tensor:
        """An order whose batches are of examples of about one length, the batches in random order.

        Rows are sorted within pools of :data:`POOL` batches, so that which ones meet differs from epoch to epoch. A
        remainder stays at the end of the order.
        """
        assert self.lengths is not None
        n_whole = len(order) - len(order) % batch_size
        whole, rest = order[:n_whole], order[n_whole:]
        pools = [pool[self.lengths[pool].argsort()] for pool in torch.split(whole, POOL * batch_size)]
        batches = torch.cat([*pools, whole.new_empty(0)]).reshape(-1, batch_size)
        return torch.cat([batches[torch.randperm(len(batches), generator=source)].flatten(), rest])

    def _place(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if tensor.nbytes > free / 3:
                return tensor.pin_memory()
        return tensor.to(self.device)
