from __future__ import annotations

import time

import pytest
import torch

from latentkit.core.seeds import RowGenerator, derive_seed, generator, isolated_rng, row_keys, row_noise

GOLDEN_KEYS = [-2461822140369053485, 4351466480188869570]
GOLDEN_NOISE = [-0.500399, 0.810806, -0.376711, 1.347424, -1.553686, -1.985487, 0.925302, -0.816492]


def test_seeds_depend_on_every_key() -> None:
    seeds = {derive_seed(0), derive_seed(1), derive_seed(0, "a"), derive_seed(0, "a", 1), derive_seed(0, "a1")}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_of_equal_keys_agree() -> None:
    first, second = (torch.rand(4, generator=generator(3, "epoch", 1)) for _ in range(2))
    assert torch.equal(first, second)


def test_isolated_rng_restores_the_global_state() -> None:
    before = torch.random.get_rng_state()
    with isolated_rng(5):
        inside = torch.rand(3)
    assert torch.equal(before, torch.random.get_rng_state())
    with isolated_rng(5):
        assert torch.equal(inside, torch.rand(3))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float32, torch.float64, torch.int64, torch.bfloat16])
@pytest.mark.parametrize("event", [(1,), (7,), (8,), (3, 5, 2)])
def test_keys_name_the_content_whatever_the_batch(dtype: torch.dtype, event: tuple[int, ...]) -> None:
    rows = torch.randint(0, 2, (50, *event), generator=torch.Generator().manual_seed(0)).to(dtype)
    keys = row_keys(rows)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    assert keys.dtype == torch.int64
    assert keys.shape == (50,)
    assert torch.equal(row_keys(rows[order]), keys[order])
    assert torch.equal(torch.cat([row_keys(rows[i : i + 3]) for i in range(0, 50, 3)]), keys)
    assert len(set(keys.tolist())) == len({tuple(row.flatten().tolist()) for row in rows})


def test_keys_see_the_place_of_a_value() -> None:
    rows = torch.eye(64)
    assert len(set(row_keys(rows).tolist())) == 64
    swapped = rows[:, torch.arange(63, -1, -1)]
    assert torch.equal(row_keys(swapped).flip(0), row_keys(rows))


def test_keys_of_negative_zero_and_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.tensor([[0.0, 1.0], [-0.0, 1.0]])
    assert row_keys(rows)[0] == row_keys(rows)[1]
    assert row_keys(torch.empty(0, 3)).shape == (0,)
    assert torch.equal(row_keys(torch.arange(3)), row_keys(torch.arange(3)[:, None]))
    data = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    whole = row_keys(data)
    monkeypatch.setattr("latentkit.core.seeds._HASHED_WORDS", 40)
    assert torch.equal(row_keys(data), whole)


def test_keys_are_the_same_on_every_machine() -> None:
    assert row_keys(torch.arange(10, dtype=torch.uint8).reshape(2, 5)).tolist() == GOLDEN_KEYS
    torch.testing.assert_close(row_noise(torch.tensor([1, -1]), 2, 2, seed=4).flatten(), torch.tensor(GOLDEN_NOISE))


@pytest.mark.parametrize("dim", [1, 2, 3, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_of_a_row_is_the_same_bit_for_bit_in_any_batch(dim: int, dtype: torch.dtype) -> None:
    keys = row_keys(torch.arange(23.0).reshape(23, 1))
    whole = row_noise(keys, 41, dim, seed=2, dtype=dtype)
    assert whole.shape == (41, 23, dim)
    assert whole.dtype == dtype
    order = torch.randperm(23, generator=torch.Generator().manual_seed(0))
    assert torch.equal(row_noise(keys[order], 41, dim, seed=2, dtype=dtype), whole[:, order])
    for first, last, start, stop in ((0, 1, 0, 1), (3, 7, 5, 40), (22, 23, 40, 41), (1, 23, 2, 9)):
        part = row_noise(keys[first:last], stop - start, dim, seed=2, start=start, dtype=dtype)
        assert torch.equal(part, whole[start:stop, first:last])


def test_noise_is_the_same_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = torch.arange(7)
    whole = row_noise(keys, 30, 5)
    for chunk in (1, 16, 50, 4096):
        monkeypatch.setattr("latentkit.core.seeds._NOISE_CHUNK", chunk)
        assert torch.equal(row_noise(keys, 30, 5), whole)


def test_noise_in_other_precisions_is_the_same_noise() -> None:
    keys = torch.arange(5)
    exact = row_noise(keys, 400, 3, dtype=torch.float64)
    torch.testing.assert_close(row_noise(keys, 400, 3).double(), exact, rtol=1e-4, atol=1e-5)
    assert torch.equal(row_noise(keys, 400, 3, dtype=torch.bfloat16), row_noise(keys, 400, 3).bfloat16())


@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (3, 2, 0)])
def test_noise_may_be_empty(shape: tuple[int, int, int]) -> None:
    assert row_noise(torch.arange(shape[1]), shape[0], shape[2]).shape == shape


@pytest.mark.parametrize("kind", ["sequential", "hashed", "high bits"])
def test_noise_is_standard_normal_and_independent(kind: str) -> None:
    rows = torch.randint(0, 2, (40, 784), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    keys = {"sequential": torch.arange(40), "hashed": row_keys(rows), "high bits": torch.arange(40) << 40}[kind]
    noise = row_noise(keys, 5000, 10, seed=7, dtype=torch.float64)
    n = noise.numel()
    flat = noise.flatten()
    # each statistic in units of its standard error
    moments = torch.stack(
        [
            flat.mean() * n**0.5,
            (flat.square().mean() - 1) * (n / 2) ** 0.5,
            flat.pow(3).mean() * (n / 15) ** 0.5,
            (flat.pow(4).mean() - 3) * (n / 96) ** 0.5,
        ]
    )
    assert moments.abs().max() < 4.0
    ordered = flat.sort().values
    kolmogorov = (torch.special.ndtr(ordered) - (torch.arange(n, dtype=torch.float64) + 0.5) / n).abs().max() * n**0.5
    assert kolmogorov < 1.95  # the 0.1 % point of the Kolmogorov distribution
    series = noise.permute(1, 2, 0).reshape(400, 5000)
    for values in (series, (series.square() - 1) / 2**0.5):
        correlation = values @ values.T / 5000**0.5
        off = correlation[~torch.eye(400, dtype=torch.bool)]
        assert off.abs().max() < 6.5
        assert abs(float(off.square().mean()) - 1) < 0.03
        for lag in (1, 2, 3, 64):
            lagged = (values[:, lag:] * values[:, :-lag]).sum() / (400 * (5000 - lag)) ** 0.5
            assert abs(float(lagged)) < 4.0


def test_seeds_give_unrelated_noise() -> None:
    first, second = (row_noise(torch.arange(100), 1000, 2, seed=seed).flatten() for seed in (0, 1))
    assert abs(float((first * second).mean())) * len(first) ** 0.5 < 4.0


@pytest.mark.slow
def test_noise_takes_about_the_time_of_randn() -> None:
    keys = torch.arange(20)

    def best(function: object) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            function()  # type: ignore[operator]
            times.append(time.perf_counter() - start)
        return min(times)

    assert best(lambda: row_noise(keys, 5000, 50)) < 3 * best(lambda: torch.randn(5000, 20, 50))


def test_row_generator_gives_each_row_its_own_stream() -> None:
    keys = torch.tensor([5, 6, 7])
    first, second = RowGenerator(keys, seed=1), RowGenerator(keys[[2, 0]], seed=1)
    for _ in range(2):
        assert torch.equal(first.normal((4, 3, 2, 2))[:, [2, 0]], second.normal((4, 2, 2, 2)))
        assert torch.equal(first.uniform((1, 3))[:, [2, 0]], second.uniform((1, 2)))
    assert not torch.equal(first.normal((1, 3)), first.normal((1, 3)))
    uniform = first.uniform((4000, 3, 1), dtype=torch.float64)
    assert abs(float(uniform.mean()) - 0.5) < 4 * (1 / 12 / 12000) ** 0.5
    assert abs(float(uniform.var()) - 1 / 12) < 0.004
    assert 0 < float(uniform.min()) < float(uniform.max()) < 1


def test_row_generator_is_a_generator_to_others() -> None:
    first, second = (torch.rand(3, generator=RowGenerator(torch.arange(2), seed=9)) for _ in range(2))
    assert torch.equal(first, second)
    with pytest.raises(AssertionError, match="one row per key"):
        RowGenerator(torch.arange(2)).normal((3, 3))
