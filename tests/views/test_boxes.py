"""Crop boxes against torchvision's law of cropping: area, sides, place, and what becomes of a box that does not fit."""

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from cxrssl.recipe.settings import ViewSettings
from cxrssl.views.boxes import ASPECT_RATIO, draw_boxes, longest_side

NUM = 6000
VIEWS = ViewSettings()


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Kolmogorov-Smirnov distance of two samples."""
    grid = np.sort(np.concatenate([first, second]))
    return float(
        np.abs(
            np.searchsorted(np.sort(first), grid, "right") / len(first)
            - np.searchsorted(np.sort(second), grid, "right") / len(second)
        ).max()
    )


def ours(height: int, width: int, scale: tuple[float, float], seed: int = 0) -> np.ndarray:
    """Return top, left, height and width of many boxes, in pixels."""
    boxes = draw_boxes(torch.tensor([[0.0, 0.0, height, width]]).expand(NUM, 4), 1, scale, VIEWS, seed)
    return torch.stack([boxes.top_BV, boxes.left_BV, boxes.height_BV, boxes.width_BV])[..., 0].double().numpy()


def torchvisions(height: int, width: int, scale: tuple[float, float], seed: int = 0) -> np.ndarray:
    torch.manual_seed(seed)
    film = torch.empty(1, height, width)
    drawn = [RandomResizedCrop.get_params(film, list(scale), list(ASPECT_RATIO)) for _ in range(NUM)]
    return np.array(drawn, np.float64).T


@pytest.mark.parametrize("scale", [(0.3, 1.0), (0.05, 0.3)], ids=["global", "focal"])
@pytest.mark.parametrize(("height", "width"), [(2000, 2000), (3000, 2400), (2400, 3000)])
def test_boxes_follow_torchvisions_law(height: int, width: int, scale: tuple[float, float]) -> None:
    found, expected = ours(height, width, scale), torchvisions(height, width, scale)
    limit = 1.95 * np.sqrt(2 / NUM)  # p = .001
    for what in (
        lambda box: box[2] * box[3],
        lambda box: box[3] / box[2],
        lambda box: box[0] / np.maximum(height - box[2], 1),
        lambda box: box[1] / np.maximum(width - box[3], 1),
        lambda box: box[0] + box[2],
        lambda box: box[1] + box[3],
    ):
        assert distance(what(found), what(expected)) < limit


def test_a_box_that_is_clipped_at_once_follows_another_law() -> None:
    """Planted: the area of clipped boxes is told apart by the same limit."""
    drawn = torch.rand((2, NUM), generator=torch.Generator().manual_seed(0)).double().numpy()
    area, ratio = 0.3 + 0.7 * drawn[0], np.exp(np.log(3 / 4) + drawn[1] * np.log(16 / 9))
    clipped = np.minimum(np.sqrt(area * ratio), 1) * np.minimum(np.sqrt(area / ratio), 1)
    expected = torchvisions(2000, 2000, (0.3, 1.0))
    assert distance(clipped, expected[2] * expected[3] / 4e6) > 1.95 * np.sqrt(2 / NUM)


@pytest.mark.parametrize(("height", "width"), [(900, 100), (100, 900), (300, 200)])
def test_where_no_box_fits_the_centre_is_taken_at_the_nearest_ratio(height: int, width: int) -> None:
    found, expected = (of(height, width, (0.98, 1.0)) for of in (ours, torchvisions))
    assert np.abs(np.median(found, axis=1) - np.median(expected, axis=1)).max() <= 1
    assert (found[2] <= height + 1e-3).all()
    assert (found[3] <= width + 1e-3).all()


@pytest.mark.parametrize("scale", [(0.05, 0.3), (0.3, 0.6), (0.3, 1.0)])
def test_no_side_is_longer_than_said(scale: tuple[float, float]) -> None:
    for height, width in ((320, 320), (320, 100), (60, 320), (320, 250)):
        found = ours(height, width, scale)
        assert found[2:].max() <= longest_side(scale, 320) + 1e-3
        assert (found[0] + found[2] <= height + 1e-3).all()
        assert (found[1] + found[3] <= width + 1e-3).all()
