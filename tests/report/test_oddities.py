"""Pictures of odd rows and images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from latentkit.evaluation import detection_quality
from latentkit.report.oddities import detection_curves, heat_maps
from latentkit.report.style import draw_png


def test_curves_show_the_figures_and_the_cut() -> None:
    random = np.random.default_rng(0)
    odd = random.random(500) < 0.2
    quality = detection_quality(odd, random.normal(size=500) + 2.0 * odd)
    left, right = detection_curves(quality, flagged=(0.1, 0.6, 0.5)).axes
    assert left.get_title(loc="left") == f"AUROC {quality.auroc:.3f}"
    assert right.get_title(loc="left") == f"average precision {quality.average_precision:.3f}"
    assert np.array_equal(left.lines[0].get_ydata(), quality.true_positive_rate)
    assert [tuple(map(float, axes.lines[-1].get_xydata()[0])) for axes in (left, right)] == [(0.1, 0.6), (0.6, 0.5)]
    assert len(detection_curves(quality).axes[0].lines) == 2, "no cut, no mark"


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3), (3, 6, 8)])
def test_heat_maps_add_the_channels_of_a_pixel(shape) -> None:
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (3, 6, 8, 3) if len(shape) == 3 else (3, 6, 8)).astype(np.uint8)
    contributions = np.zeros((3, *shape))
    place = (1, 2, 3) if len(shape) == 2 else (1, 2, 3, slice(None)) if shape[2] == 3 else (1, slice(None), 2, 3)
    contributions[place] = 0.5
    figure = heat_maps(images, contributions, images, ["a", "b", "c"])
    assert len(figure.axes) == 9
    heat = figure.axes[4].images[0].get_array()
    assert heat.shape == (6, 8)
    assert heat[2, 3] == heat.max() == (0.5 if len(shape) == 2 else 1.5)
    assert (heat > 0).sum() == 1
    with Image.open(io.BytesIO(draw_png(figure))) as picture:
        assert picture.size[0] > 1000
