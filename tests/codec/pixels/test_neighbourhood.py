"""What is known before a pixel, and when."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentkit.codec.pixels import Context, Neighbourhood
from latentkit.core.errors import InvalidParameterError


@given(reach=st.integers(2, 7), height=st.integers(1, 9), width=st.integers(1, 9))
def test_all_neighbours_of_a_front_are_in_earlier_ones(reach: int, height: int, width: int) -> None:
    near = Neighbourhood.within(reach)
    when = np.full((height, width), -1)
    for time, front in enumerate(near.fronts(height, width)):
        assert (when[front // width, front % width] == -1).all()
        when[front // width, front % width] = time
    assert (when >= 0).all()
    for y in range(height):
        for x in range(width):
            for dy, dx in near.offsets:
                if y + dy >= 0 and 0 <= x + dx < width:
                    assert when[y + dy, x + dx] < when[y, x]


@pytest.mark.parametrize("reach", range(2, 8))
def test_it_is_a_wedge_before_the_pixel_that_grows_with_its_reach(reach: int) -> None:
    near = Neighbourhood.within(reach)
    assert {(-1, 0), (-1, -1), (0, -1)} <= set(near.offsets)
    assert set(near.offsets) < set(Neighbourhood.within(reach + 1).offsets)
    assert near.side == reach
    assert near.up == (reach + 1) // 2
    assert all(abs(dx) - 2 * dy <= reach + 1 for dy, dx in near.offsets)


def test_rows_are_coded_together_where_that_can_be() -> None:
    fronts = Neighbourhood.within(4).fronts(28, 28)
    assert len(fronts) == 28 + 4 * 27
    assert max(map(len, fronts)) == 7
    assert len(Neighbourhood(((0, -1),)).fronts(5, 3)) == 7, "each row waits for a column of the one above"


@pytest.mark.parametrize("offsets", [((0, 0),), ((1, 0),), ((0, 1), (0, -1)), ()])
def test_what_comes_later_is_no_neighbour(offsets: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(InvalidParameterError, match="neighbours come before a pixel, and there is at least one"):
        Neighbourhood(offsets)


def test_a_reach_is_at_least_two() -> None:
    with pytest.raises(InvalidParameterError, match="reach"):
        Neighbourhood.within(1)


@given(west=st.integers(0, 255), north=st.integers(0, 255), corner=st.integers(0, 255))
def test_the_guess_is_the_median(west: int, north: int, corner: int) -> None:
    near = Neighbourhood.within(2)
    pixels = torch.zeros(1, len(near.offsets), 1)
    for offset, value in (((0, -1), west), ((-1, 0), north), ((-1, -1), corner)):
        pixels[0, near.offsets.index(offset)] = value
    guess = Context(near, 1, is_centred=False).guesses(pixels)
    assert guess.item() == sorted([west, north, west + north - corner])[1]


def test_features_of_a_centred_context_do_not_move_with_brightness_but_for_the_guess() -> None:
    context = Context(Neighbourhood.within(3), 3, is_centred=True)
    random = torch.Generator().manual_seed(0)
    near = torch.randint(0, 200, (50, context.n_neighbours, 3), generator=random).float()
    own = torch.randint(0, 200, (50, 3), generator=random).float()

    def features(shift: float) -> torch.Tensor:
        guesses = context.guesses(near + shift)
        return context.features(near + shift, own[:, :2] + shift, guesses)

    dark, bright = features(0.0), features(40.0)
    assert dark.shape == (50, context.n_features(2))
    assert torch.equal(dark[:, :-3], bright[:, :-3])
    assert torch.equal(dark[:, -3:] + 40, bright[:, -3:])
    assert dark.abs().max() <= 255


def test_few_levels_are_told_as_well_as_many() -> None:
    near = Neighbourhood.within(3)
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 2, (50, len(near.offsets), 1), generator=random).float()
    binary, whole = Context(near, 1, is_centred=True, gain=255), Context(near, 1, is_centred=True)

    def features(context: Context, x: torch.Tensor) -> torch.Tensor:
        return context.features(x, x[:, 0, :0], context.guesses(x))

    assert torch.equal(features(binary, pixels), features(whole, 255 * pixels))
    assert features(binary, 9 * pixels).abs().max() == 255, "what was not there when it was learnt"


def test_a_context_needs_what_its_guess_is_made_of() -> None:
    with pytest.raises(InvalidParameterError, match="the pixels to the left, above, and left of that"):
        Context(Neighbourhood(((0, -1),)), 1, is_centred=False)
