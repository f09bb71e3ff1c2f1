"""Views: against Pillow's antialiased crop and a slow double-precision one, inside the valid box, and a function of
(seed, step) alone."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from cxrssl.recipe.settings import ViewSettings
from cxrssl.views.boxes import Boxes, draw_boxes
from cxrssl.views.draw import Views, make_views
from cxrssl.views.masks import draw_kept
from cxrssl.views.plan import Mask, ViewKind, ViewPlan
from cxrssl.views.resample import cut_views, whole_views
from tests.scale import scaled

PLAIN = ViewSettings(pixel_mean=0.0, pixel_std=1.0, flip_prob=0.0)
MAX_GREY_ERROR = 1.001
"""Pillow rounds to whole grey levels after each axis; on float films it does not."""
MAX_FLOAT_ERROR = 2e-4


def plan_views(settings: ViewSettings, patch_px: int = 16, focal_mask: Mask | None = None) -> ViewPlan:
    """One target view, random views and focal ones."""
    kinds = (
        ViewKind("target", 1, settings.global_px, settings.global_scale),
        ViewKind("random", settings.num_random, settings.global_px, settings.global_scale, Mask(0.15)),
        ViewKind("focal", settings.num_focal, settings.focal_px, settings.focal_scale, focal_mask),
    )
    return ViewPlan(kinds, settings, patch_px)


def shapes_of(views: Views) -> dict[str, tuple[int, ...]]:
    return {purpose: tuple(view.pixels_BV1PP.shape) for purpose, view in views.items()}


def smooth_film(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def cut_one(
    film: np.ndarray,
    valid: tuple[int, int, int, int],
    top: float,
    left: float,
    height: float,
    width: float,
    px: int,
    flip: bool = False,
    angle: float = 0.0,
    views: ViewSettings = PLAIN,
) -> torch.Tensor:
    one = torch.ones(1, 1)
    boxes = Boxes(one * top, one * left, one * height, one * width, one * flip, one, one * 0, one * angle)
    films, valid_B4 = torch.tensor(film)[None].float(), torch.tensor([valid]).float()
    return cut_views(films, valid_B4, boxes, px, views, max(film.shape))[0, 0, 0] * 255


def slow_axis(start: float, extent: float, low: int, length: int, px: int, size: int) -> np.ndarray:
    """The weights [P, S] of one axis in double precision, pixel by pixel."""
    weights = np.zeros((px, size))
    scale = extent / px
    for p in range(px):
        centre = start + (p + 0.5) * scale
        if low <= centre <= low + length:
            for s in range(size):
                if low <= s < low + length:
                    weights[p, s] = max(0.0, 1.0 - abs(s + 0.5 - centre) / max(1.0, scale))
            weights[p] /= weights[p].sum()
    return weights


@pytest.mark.parametrize(("px", "extent"), [(96, 100.0), (96, 200.0), (224, 150.0), (48, 317.5), (224, 320.0)])
def test_a_view_is_within_one_grey_level_of_pillows_antialiased_crop(px: int, extent: float) -> None:
    film = smooth_film(320, 320)
    top, left = (320 - extent) * 0.3, (320 - extent) * 0.8
    ours = cut_one(film, (0, 0, 320, 320), top, left, extent, extent, px).numpy()
    box = (left, top, left + extent, top + extent)
    for kind, max_error in ((np.uint8, MAX_GREY_ERROR), (np.float32, MAX_FLOAT_ERROR)):
        pillows = Image.fromarray(film.astype(kind)).resize((px, px), Image.Resampling.BILINEAR, box=box)
        assert np.abs(ours - np.asarray(pillows)).max() <= max_error


@pytest.mark.fuzz
def test_views_equal_the_slow_computation_in_double_precision() -> None:
    seed = 20240601
    rng = np.random.default_rng(seed)
    for trial in range(scaled(20, 500)):
        size, px = int(rng.integers(16, 80)), int(rng.integers(4, 48))
        film = rng.integers(0, 256, (size, size), dtype=np.uint8)
        low_y, low_x = (int(low) for low in rng.integers(0, size // 2, 2))
        high, wide = (int(rng.integers(2, size - low + 1)) for low in (low_y, low_x))
        height, width = rng.uniform(1, high), rng.uniform(1, wide)
        top, left = low_y + rng.uniform(0, high - height), low_x + rng.uniform(0, wide - width)
        box = [float(np.float32(number)) for number in (top, left, height, width)]
        rows = slow_axis(box[0], box[2], low_y, high, px, size)
        columns = slow_axis(box[1], box[3], low_x, wide, px, size)
        expected = rows @ film.astype(float) @ columns.T
        is_flipped = bool(rng.integers(2))
        ours = (
            cut_one(film, (low_y, low_x, high, wide), box[0], box[1], box[2], box[3], px, is_flipped).double().numpy()
        )
        error = np.abs((ours[:, ::-1] if is_flipped else ours) - expected).max() / 255
        assert error < 1e-6, f"seed {seed}, trial {trial}: {error}"


@pytest.mark.parametrize("angle", [-15.0, 4.0, 15.0, 45.0])
def test_a_rotated_view_is_pillows_rotation_and_antialiased_crop(angle: float) -> None:
    """Anticlockwise, as Pillow turns; on structures of four pixels of the view, where nothing hides an error."""
    film = smooth_film(320, 320)
    views = dataclasses.replace(PLAIN, rotation_deg=45.0)
    ours = cut_one(film, (0, 0, 320, 320), 100.0, 110.0, 120.0, 100.0, 48, angle=angle, views=views).numpy()
    turned = Image.fromarray(film).rotate(angle, Image.Resampling.BICUBIC, center=(160, 160))
    pillows = turned.resize((48, 48), Image.Resampling.BILINEAR, box=(110, 100, 210, 220))
    errors = np.abs(ours - np.asarray(pillows))
    assert errors.max() < 5
    assert errors.mean() < 1.3


def test_a_rotation_by_nothing_changes_nothing_but_the_interpolation() -> None:
    film = smooth_film(320, 320)
    views = dataclasses.replace(PLAIN, rotation_deg=15.0)
    straight = cut_one(film, (0, 0, 320, 320), 20.0, 30.0, 200.0, 240.0, 96)
    turned = cut_one(film, (0, 0, 320, 320), 20.0, 30.0, 200.0, 240.0, 96, views=views)
    torch.testing.assert_close(turned, straight, rtol=0, atol=3.0)


def test_what_a_rotation_brings_in_from_outside_the_film_is_black() -> None:
    film = np.full((64, 64), 200, np.uint8)
    views = dataclasses.replace(PLAIN, rotation_deg=45.0)
    view = cut_one(film, (0, 0, 64, 64), 0.0, 0.0, 64.0, 64.0, 32, angle=45.0, views=views)
    assert view[:3, :3].abs().max() == 0
    torch.testing.assert_close(view[8:24, 8:24], torch.full((16, 16), 200.0), rtol=0, atol=1e-3)


def test_a_view_at_the_films_edge_takes_nothing_from_the_padding() -> None:
    """The valid box is cut out first: what lies outside it has no weight."""
    film = np.full((64, 64), 255, np.uint8)
    film[16:48] = 100
    view = cut_one(film, (16, 0, 32, 64), 16.0, 0.0, 32.0, 64.0, 16)
    torch.testing.assert_close(view, torch.full((16, 16), 100.0), rtol=0, atol=1e-3)


def test_a_flip_mirrors_left_and_right_only() -> None:
    film = smooth_film(64, 64)
    straight = cut_one(film, (0, 0, 64, 64), 5.0, 7.0, 40.0, 44.0, 32)
    flipped = cut_one(film, (0, 0, 64, 64), 5.0, 7.0, 40.0, 44.0, 32, flip=True)
    torch.testing.assert_close(flipped, straight.flip(1))


def test_contrast_spreads_about_the_mean_and_brightness_shifts_within_black_and_white() -> None:
    film = smooth_film(64, 64)
    straight = cut_one(film, (0, 0, 64, 64), 0.0, 0.0, 64.0, 64.0, 32) / 255
    one = torch.ones(1, 1)
    boxes = Boxes(one * 0, one * 0, one * 64, one * 64, one * 0, one * 1.5, one * 0.2, one * 0)
    views = dataclasses.replace(PLAIN, contrast=0.5, brightness=0.2)
    changed = cut_views(torch.tensor(film)[None].float(), torch.tensor([[0.0, 0.0, 64.0, 64.0]]), boxes, 32, views, 64)
    expected = ((straight - straight.mean()) * 1.5 + straight.mean() + 0.2).clamp(0, 1)
    torch.testing.assert_close(changed[0, 0, 0], expected, rtol=0, atol=1e-6)


def test_boxes_lie_inside_the_film_and_have_the_area_of_the_scale() -> None:
    valid = torch.tensor([[30.0, 0.0, 260.0, 320.0]] * 500)
    boxes = draw_boxes(valid, 4, (0.05, 0.3), ViewSettings(), seed=1)
    assert (boxes.top_BV >= 30).all()
    assert (boxes.top_BV + boxes.height_BV <= 290.001).all()
    assert (boxes.left_BV >= 0).all()
    assert (boxes.left_BV + boxes.width_BV <= 320.001).all()
    area = boxes.height_BV * boxes.width_BV / (260 * 320)
    assert area.min() >= 0.049
    assert area.max() <= 0.301
    assert 0.45 < boxes.is_flipped_BV.float().mean() < 0.55


def test_views_have_the_numbers_and_sizes_of_the_recipe() -> None:
    films, valid = torch.zeros(2, 64, 64, dtype=torch.uint8), torch.tensor([[0, 0, 64, 64]] * 2)
    views = make_views(films, valid, plan_views(ViewSettings()), seed=0, step=0)
    wanted = {"target": (2, 1, 1, 224, 224), "random": (2, 1, 1, 224, 224), "focal": (2, 10, 1, 96, 96)}
    assert shapes_of(views) == wanted
    # 15 % of 196 patches are dropped from the random view.
    kept = views["random"].kept_BVK
    assert kept is not None
    assert kept.shape == (2, 1, 166)
    assert views["target"].kept_BVK is None
    assert views["focal"].kept_BVK is None


def test_views_are_a_function_of_seed_and_step() -> None:
    films = torch.randint(0, 256, (2, 64, 64), dtype=torch.uint8)
    valid = torch.tensor([[0, 0, 64, 64]] * 2)
    settings = ViewSettings(global_px=32, focal_px=16, num_focal=2, contrast=0.3, brightness=0.1, rotation_deg=10.0)

    def make(seed: int, step: int) -> torch.Tensor:
        views = make_views(films, valid, plan_views(settings, 8), seed, step)
        return torch.cat([view.pixels_BV1PP.flatten() for view in views.values()])

    torch.manual_seed(1)
    first = make(0, 5)
    torch.manual_seed(2)
    assert torch.equal(first, make(0, 5))
    assert not torch.equal(first, make(0, 6))
    assert not torch.equal(first, make(1, 5))


@pytest.mark.parametrize("rotation_deg", [0.0, 10.0])
def test_views_of_a_part_are_those_of_the_whole_to_the_last_bit(rotation_deg: float) -> None:
    films = torch.randint(0, 256, (21, 64, 64), dtype=torch.uint8)
    valid = torch.tensor([[0, 4, 64, 50]] * 21)
    settings = ViewSettings(global_px=32, focal_px=16, num_focal=2, contrast=0.3, rotation_deg=rotation_deg)
    whole = make_views(films, valid, plan_views(settings, 8), 3, 4)
    part = slice(5, 18)
    views = make_views(films[part], valid, plan_views(settings, 8), 3, 4, part)
    for purpose, view in views.items():
        assert torch.equal(view.pixels_BV1PP, whole[purpose].pixels_BV1PP[part])
    kept, kept_whole = views["random"].kept_BVK, whole["random"].kept_BVK
    assert kept is not None
    assert kept_whole is not None
    assert torch.equal(kept, kept_whole[part])


@pytest.mark.parametrize(("num_random", "num_focal"), [(2, 0), (0, 3), (3, 2)])
def test_any_number_of_views_of_each_kind(num_random: int, num_focal: int) -> None:
    settings = ViewSettings(global_px=32, focal_px=16, num_random=num_random, num_focal=num_focal)
    films, valid = torch.zeros(2, 40, 40, dtype=torch.uint8), torch.tensor([[0, 0, 40, 40]] * 2)
    views = make_views(films, valid, plan_views(settings, 8, focal_mask=Mask(0.15)), seed=0, step=0)
    wanted = {"target": (2, 1, 1, 32, 32), "random": (2, num_random, 1, 32, 32), "focal": (2, num_focal, 1, 16, 16)}
    assert shapes_of(views) == {purpose: shape for purpose, shape in wanted.items() if shape[1]}
    for purpose, view in views.items():
        kept = None if view.kept_BVK is None else view.kept_BVK.shape[:2]
        assert kept == (None if purpose == "target" else wanted[purpose][:2])


def test_kept_patches_are_distinct_ascending_and_differ_between_films() -> None:
    kept = draw_kept(50, 2, 196, Mask(0.15), seed=0)
    assert kept.shape == (50, 2, 166)
    assert (kept.diff(dim=2) > 0).all()
    assert len({tuple(row.tolist()) for row in kept.flatten(0, 1)}) == 100
    assert 195 in kept


def test_equal_draws_keep_the_first_patches_whatever_the_machine_sorts_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, generator: torch.full(shape, 0.5))
    kept = draw_kept(3, 2, 196, Mask(0.15), seed=0)
    assert torch.equal(kept, torch.arange(166).expand(3, 2, -1))


def test_the_published_index_range_never_shows_the_last_patch() -> None:
    """Source: the published code: class token + 165 of 196 patches, + 29 of 36 for focal views, never the last one."""
    mask = Mask(0.15, hides_last=True)
    kept = draw_kept(200, 1, 196, mask, seed=0)
    assert kept.shape[2] == 165
    assert kept.max() == 194
    assert draw_kept(2, 1, 36, mask, seed=0).shape[2] == 29


def test_the_evaluation_view_shows_the_whole_film_with_its_aspect() -> None:
    film = np.zeros((64, 64), np.uint8)
    film[16:48] = 200
    settings = dataclasses.replace(PLAIN, global_px=32)
    view = whole_views(torch.tensor(film)[None], torch.tensor([[16, 0, 32, 64]]), settings)[0, 0] * 255
    assert view.shape == (32, 32)
    torch.testing.assert_close(view[8:24], torch.full((16, 32), 200.0), rtol=0, atol=0.1)
    assert view[:8].abs().max() == 0
    assert view[24:].abs().max() == 0


@pytest.mark.gpu
def test_views_on_the_gpu_equal_those_on_the_cpu() -> None:
    films = torch.randint(0, 256, (4, 320, 320), dtype=torch.uint8)
    valid = torch.tensor([[0, 0, 320, 320]] * 4)
    cpu = make_views(films, valid, plan_views(ViewSettings()), 0, 3)
    gpu = make_views(films.cuda(), valid, plan_views(ViewSettings()), 0, 3)
    for purpose, view in gpu.items():
        torch.testing.assert_close(view.pixels_BV1PP.cpu(), cpu[purpose].pixels_BV1PP, rtol=0, atol=1e-4)
