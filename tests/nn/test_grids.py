"""Networks between images of any size and grids."""

from __future__ import annotations

import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.nn import GridDecoder, GridEncoder, last_layer
from latentkit.nn.convolutional import grid_sizes
from latentkit.nn.grids import grid_channels


@pytest.mark.parametrize("event_shape", [(1, 8, 8), (3, 9, 14), (1, 28, 28), (2, 30, 5)])
@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
@pytest.mark.parametrize("normalization", ["group", "none", "batch"])
def test_any_size_goes_to_a_grid_and_back(event_shape: tuple[int, ...], upsampling: str, normalization: str) -> None:
    channels = grid_channels(event_shape, n_rows=10)
    options = {"channels": channels, "normalization": normalization}
    encoder = GridEncoder(event_shape, 3, **options)
    decoder = GridDecoder(3, (2, *event_shape), upsampling=upsampling, **options)
    height, width = encoder.grid
    assert (height, width) == grid_sizes(event_shape[1:], len(channels))[-1]
    z = encoder(torch.rand(4, *event_shape, generator=torch.Generator().manual_seed(0)))
    assert z.shape == (4, height * width * 3)
    assert decoder(z).shape == (4, 2, *event_shape)
    assert last_layer(decoder) is decoder.output_bias


def test_a_place_sees_and_is_seen_by_its_part_of_the_image() -> None:
    encoder = GridEncoder((1, 64, 64), 2, channels=(4, 4, 4), normalization="none")
    x = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[..., :2, :2] = 1 - changed[..., :2, :2]
    difference = (encoder(x) - encoder(changed)).reshape(8, 8, 2).abs().sum(-1)
    assert difference[0, 0] > 0
    assert difference[-1].max() == difference[:, -1].max() == 0


def test_channels_follow_the_size() -> None:
    for side, grid in ((8, 4), (28, 7), (32, 8), (64, 8), (96, 12), (256, 16)):
        assert grid_sizes((side, side), len(grid_channels((3, side, side))))[-1] == (grid, grid)
    assert sum(grid_channels((1, 28, 28), n_rows=100)) < sum(grid_channels((1, 28, 28), n_rows=5000))
    assert len(grid_channels((3, 32, 32), downsampling=2)) == 1


def test_few_examples_get_a_coarser_grid() -> None:
    for side, grid in ((8, 4), (28, 4), (64, 4), (256, 8)):
        assert grid_sizes((side, side), len(grid_channels((1, side, side), n_rows=999)))[-1] == (grid, grid)


@pytest.mark.parametrize("factor", [3, 16, 1])
def test_downsampling_is_a_power_of_two_that_leaves_a_grid(factor: int) -> None:
    words = (
        "downsampling must be an integer of at least 2" if factor == 1 else "power of 2 from 2 to 8 for images of 32"
    )
    with pytest.raises(InvalidParameterError, match=words):
        grid_channels((3, 32, 32), downsampling=factor)


def test_rows_have_no_grid() -> None:
    with pytest.raises(InvalidParameterError, match="needs images"):
        GridEncoder((5,), 3, channels=(4,))
    with pytest.raises(InvalidParameterError, match="channels must have at least one entry"):
        GridDecoder(3, (1, 1, 8, 8), channels=())
