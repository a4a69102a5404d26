"""Networks of a ladder: shapes of any size, and layers that start at unit variance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from latentkit.core.seeds import generator
from latentkit.nn.activations import BRANCH_SCALE
from latentkit.nn.ladder import (
    GatedBlock,
    LadderDecoder,
    LadderEncoder,
    LadderMerge,
    Level,
    LevelSettings,
    levels_of,
    standardise_layers,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed, "normal"))


@pytest.mark.parametrize("event_shape", [(1, 28, 28), (3, 37, 50), (2, 1, 9)])
@pytest.mark.parametrize("has_grids", [False, True])
@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_images_of_any_size(event_shape: tuple[int, int, int], has_grids: bool, upsampling: str) -> None:
    levels = levels_of((4, 6, 8), event_shape, on_grids=True)
    settings = LevelSettings(has_grids=has_grids, upsampling=upsampling)
    encoder = LadderEncoder(event_shape, levels, levels, (3, 2, 1), settings)
    decoder = LadderDecoder(levels, (3, 2, 1), (2, *event_shape), settings)
    below = encoder(normal(5, *event_shape))
    h = decoder.begin(None)
    for merge, layer, part, dims in zip(encoder.merges, decoder.layers, below, decoder.dims, strict=True):
        assert merge(part, h).shape == (5, 2 * dims)
        assert layer.prior_parameters(h).shape == (len(h), 2 * dims)
        h = layer(h, normal(5, dims))
    assert decoder.finish(h).shape == (5, 2, *event_shape)


def test_widths_of_the_two_ways_may_differ() -> None:
    up, down = levels_of((8, 6), (5,), on_grids=False), levels_of((7, 4), (5,), on_grids=False)
    encoder = LadderEncoder((5,), up, down, (2, 1), LevelSettings())
    decoder = LadderDecoder(down, (2, 1), (1, 5), LevelSettings())
    below = encoder(normal(3, 5))
    assert [tuple(part.shape) for part in below] == [(3, 4), (3, 7)]
    assert encoder.merges[0](below[0], decoder.begin(None)).shape == (3, 2)
    assert decoder.dims == [1, 2]


def test_several_draws_merge_as_each_alone() -> None:
    (level,) = levels_of((6,), (5,), on_grids=False)
    merge = LadderEncoder((5,), [level], [level], (2,), LevelSettings()).merges[0]
    below, above = normal(4, 6), normal(12, 6, seed=1)
    together = merge(below, above)
    for k in range(3):
        torch.testing.assert_close(together[4 * k : 4 * k + 4], merge(below, above[4 * k : 4 * k + 4]))


@pytest.mark.parametrize("level", [Level(8), Level(8, (3, 5))], ids=["row", "grid"])
def test_a_block_is_its_formula(level: Level) -> None:
    block, h = GatedBlock(level, LevelSettings(normalization="none")), normal(4, *level.shape)
    inner = block.first(nn.functional.silu(h))
    value, gate = block.second(nn.functional.silu(inner)).chunk(2, dim=1)
    torch.testing.assert_close(block(h), h + value * torch.sigmoid(gate))
    assert (block(h) - h).std() < BRANCH_SCALE


@pytest.mark.parametrize("kind", ["linear", "convolution", "transposed"])
def test_layers_are_scaled_to_unit_variance_one_after_the_other(kind: str) -> None:
    makers = {
        "linear": (nn.Linear, (3,)),
        "convolution": (lambda a, b: nn.Conv2d(a, b, 3, padding=1), (3, 6, 6)),
        "transposed": (lambda a, b: nn.ConvTranspose2d(a, b, 3, padding=1), (3, 6, 6)),
    }
    make, shape = makers[kind]
    network = nn.Sequential(make(3, 5), nn.ReLU(), make(5, 4))
    x = 7.0 * normal(200, *shape) + 3.0
    with torch.no_grad():
        network[2].weight[..., :1].mul_(30.0)
    standardise_layers([network], lambda: network(x))
    for output in (network[0](x), network(x)):
        dims = [0, *range(2, output.ndim)]
        torch.testing.assert_close(output.mean(dims), torch.zeros(output.shape[1]), atol=1e-4, rtol=0.0)
        torch.testing.assert_close(output.std(dims, correction=0), torch.ones(output.shape[1]), atol=1e-3, rtol=0.0)
    assert not network[0]._forward_hooks


def test_what_does_not_vary_keeps_its_weights() -> None:
    layer = nn.Linear(3, 4)
    weight = layer.weight.detach().clone()
    standardise_layers([layer], lambda: layer(torch.ones(10, 3)))
    assert torch.equal(layer.weight, weight)


def test_ends_of_branches_and_heads_keep_their_small_weights() -> None:
    levels = levels_of((8, 6), (5,), on_grids=False)
    encoder = LadderEncoder((5,), levels, levels, (2, 1), LevelSettings())
    kept = {
        name: weight.detach().clone()
        for name, weight in encoder.named_parameters()
        if "second" in name or "output" in name
    }
    x, start = normal(50, 5), torch.zeros(1, 6)
    standardise_layers([encoder], lambda: encoder.merges[0](encoder(x)[0], start))
    assert len(kept) == 8
    for name, weight in kept.items():
        assert torch.equal(dict(encoder.named_parameters())[name], weight)


def test_a_vector_is_written_onto_a_grid_with_weights_that_a_few_steps_can_change() -> None:
    levels = levels_of((8, 16), (1, 28, 28), on_grids=True)
    decoder = LadderDecoder(levels, (8, 4), (1, 1, 28, 28), LevelSettings(normalization="group"))
    draws = [normal(50, n) for n in decoder.dims]
    start = [layer.input.layer.weight.detach().clone() for layer in decoder.layers]

    def descend() -> None:
        h = decoder.begin(None)
        for layer, z in zip(decoder.layers, draws, strict=True):
            h = layer(h, z)

    standardise_layers([decoder.layers], descend)
    for layer, weight in zip(decoder.layers, start, strict=True):
        assert torch.equal(layer.input.layer.weight, weight)
        assert weight.abs().max() < 0.15  # an optimiser at rate 1e-3 moves a weight by a tenth in a hundred steps


def test_a_layer_s_vector_starts_informed_where_it_stands_for_a_grid() -> None:
    down = Level(8, (14, 14))
    merges = {
        kind: LadderMerge(down, down, 6, LevelSettings(normalization="group", has_grids=kind == "grid"))
        for kind in ("vector", "grid")
    }
    h = normal(100, 8, 14, 14)
    deviation = {kind: float(merge(merge.from_below(h), h[:1]).std().detach()) for kind, merge in merges.items()}
    assert deviation["vector"] > 0.3
    assert deviation["grid"] < 0.2
