"""Making views beside lightly's MSNTransform as the paper calls it, one core each, in turns: CPU time and ratios.

Both make 2 views of 224 px and 10 of 96 px a film, antialiased, flipped and normalised. lightly starts from a 512-px
JPEG and gives three channels; ours starts from packed films and gives one.
"""

import io
import os
import time
from collections.abc import Callable
from typing import Any

from cxrssl.views.draw import Views

os.environ.update(OMP_NUM_THREADS="1", LIGHTLY_DID_VERSION_CHECK="True")

import numpy as np
import torch
from lightly.transforms.msn_transform import MSNTransform
from PIL import Image

from cxrssl.model.msn import plan_views
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.settings import ViewSettings
from cxrssl.views.boxes import Boxes
from cxrssl.views.draw import make_views
from cxrssl.views.resample import cut_views

JPEG_PX = 512
STORE_SIZES = (256, 320, 384, 512)
NUM_FILMS, NUM_TURNS = 64, 9
TRANSFORM = MSNTransform(cj_prob=0.0, gaussian_blur=0.0, random_gray_scale=0.0)
PLAN = plan_views(load_recipe("strict"))


def draw_film(seed: int) -> Image.Image:
    """Lungs, ribs and grain."""
    y, x = np.mgrid[0 : 1 : JPEG_PX * 1j, 0 : 1 : JPEG_PX * 1j]
    rng = np.random.default_rng(seed)
    lungs = sum(np.exp(-(((x - c) / 0.16) ** 2) - ((y - 0.45) / 0.3) ** 2) for c in rng.normal((0.3, 0.7), 0.02))
    grey = 190 - 110 * lungs + 12 * np.cos(60 * (y + 0.4 * (x - 0.5) ** 2)) + rng.normal(0, 3, x.shape)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def encode(film: Image.Image) -> bytes:
    file = io.BytesIO()
    film.save(file, "jpeg", quality=92)
    return file.getvalue()


def views_of_jpegs(jpegs: list[bytes]) -> list[Any]:
    return [TRANSFORM(Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in jpegs]


def views_of_images(images: list[Image.Image]) -> list[Any]:
    return [TRANSFORM(image) for image in images]


def views_of_store(store: np.ndarray, valid: torch.Tensor, step: int) -> Views:
    films = torch.from_numpy(store[np.arange(NUM_FILMS)])
    return make_views(films, valid, PLAN, 0, step)


def cpu_ms(work: Callable[..., object], *arguments: Any) -> float:
    """Return milliseconds of CPU time a film."""
    started = time.process_time()
    work(*arguments)
    return (time.process_time() - started) / NUM_FILMS * 1000


def largest_difference(film: Image.Image, num_boxes: int = 50) -> float:
    """Return the largest difference in grey levels from Pillow's antialiased crop of the same box."""
    rng, size, plain = np.random.default_rng(0), film.size[0], ViewSettings(pixel_mean=0.0, pixel_std=1.0)
    worst = 0.0
    for px in [224, 96] * (num_boxes // 2):
        side = rng.uniform(0.25, 1.0) * size
        top, left = rng.uniform(0, size - side, 2)
        one = torch.ones(1, 1)
        boxes = Boxes(one * top, one * left, one * side, one * side, one * 0, one, one * 0, one * 0)
        pixels, valid = torch.from_numpy(np.array(film))[None].float(), torch.tensor([[0.0, 0.0, size, size]])
        ours = cut_views(pixels, valid, boxes, px, plain, size)[0, 0, 0].numpy() * 255
        box = (left, top, left + side, top + side)
        worst = max(worst, np.abs(ours - film.resize((px, px), Image.Resampling.BILINEAR, box=box)).max())
    return worst


def main() -> None:
    torch.set_num_threads(1)
    films = [draw_film(seed) for seed in range(NUM_FILMS)]
    jpegs, images = [encode(film) for film in films], [film.convert("RGB") for film in films]
    stores = {px: np.stack([np.asarray(film.resize((px, px))) for film in films]) for px in STORE_SIZES}
    work: dict[str, tuple[Callable[..., object], Any]] = {
        "lightly, 512-px JPEG": (views_of_jpegs, jpegs),
        "lightly, decoded": (views_of_images, images),
    }
    valids = {px: torch.tensor([[0.0, 0.0, px, px]]).expand(NUM_FILMS, 4) for px in STORE_SIZES}
    measured: dict[Any, list[float]] = {name: [] for name in (*work, *stores)}
    for turn in range(NUM_TURNS + 1):
        for name, (function, inputs) in work.items():
            measured[name].append(cpu_ms(function, inputs))
        for px, store in stores.items():
            measured[px].append(cpu_ms(views_of_store, store, valids[px], turn))
    times = {name: np.array(values[1:]) for name, values in measured.items()}
    print("views, one core, ms of CPU time a film (medians)   ours   lightly   ratio   compared")
    for px in STORE_SIZES:
        compared = "lightly, decoded" if px == JPEG_PX else "lightly, 512-px JPEG"
        shown = "like for like: view-making alone" if px == JPEG_PX else "JPEG opened, decoded and cut by lightly"
        ours, peer = times[px], times[compared]
        ratio = f"{np.median(peer / ours):>6.1f}x"
        print(f"  from packed films of {px} px {np.median(ours):>28.2f} {np.median(peer):>9.2f} {ratio}   {shown}")
    print(f"largest difference from Pillow's antialiased crop: {largest_difference(films[0]):.2f} grey levels")


if __name__ == "__main__":
    main()
