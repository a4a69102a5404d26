"""Batches of examples of several lengths: little padding, every row as often as before."""

from __future__ import annotations

import torch

from latentkit.training import Feed


def _feed(n: int, lengths: torch.Tensor | None) -> Feed:
    storage = torch.arange(n).unsqueeze(1)
    return Feed(storage, lambda x: x, lengths=lengths)


def _lengths(n: int) -> torch.Tensor:
    return torch.randint(1, 60, (n,), generator=torch.Generator().manual_seed(0))


def _epoch(feed: Feed, epoch: int = 0) -> list[list[int]]:
    return [batch.x[:, 0].tolist() for batch in feed.epoch(8, seed=3, epoch=epoch)]


def test_an_epoch_takes_each_row_once_in_batches_of_one_length() -> None:
    lengths = _lengths(803)
    batches = _epoch(_feed(803, lengths))
    rows = [row for batch in batches for row in batch]
    assert len(set(rows)) == len(rows) == 800
    spread = [float(lengths[batch].max() - lengths[batch].min()) for batch in batches]
    alone = [float(lengths[batch].max() - lengths[batch].min()) for batch in _epoch(_feed(803, None))]
    assert sum(spread) < 0.1 * sum(alone)
    means = torch.tensor([float(lengths[batch].float().mean()) for batch in batches])
    assert abs(float(torch.corrcoef(torch.stack([means, torch.arange(100.0)]))[0, 1])) < 0.4  # short and long ones mix


def test_epochs_differ_and_repeat() -> None:
    feed = _feed(803, _lengths(803))
    assert _epoch(feed) == _epoch(feed)
    assert {frozenset(batch) for batch in _epoch(feed)} & {frozenset(batch) for batch in _epoch(feed, 1)} == set()
    start = [batch.x[:, 0].tolist() for batch in feed.epoch(8, seed=3, epoch=0, start=97)]
    assert start == _epoch(feed)[97:]


def test_a_subset_keeps_its_lengths() -> None:
    lengths = _lengths(100)
    rows = torch.arange(0, 100, 2)
    part = _feed(100, lengths).subset(rows)
    assert part.lengths is not None
    assert torch.equal(part.lengths, lengths[rows])


def test_fewer_rows_than_a_batch() -> None:
    assert sorted(_epoch(_feed(5, _lengths(5)))[0]) == [0, 1, 2, 3, 4]
