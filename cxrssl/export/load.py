"""An encoder for users of Python: timm's module, and what makes films into its input.

In: the folder of a run, of its encoder, or of an export to timm or safetensors. Out: module and Prepare.
Never: weights that are not what the manifest says, or a number of heads that is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import DataError, IntegrityError, UsageError
from cxrssl.core.text import plain
from cxrssl.export.bundle import ABOUT, PIXELS, WEIGHTS, Shape, build_module, find_pack_px, take_class_token
from cxrssl.export.preprocess import Preprocessing
from cxrssl.images.decode import Letterboxed, decode_letterboxed, letterbox
from cxrssl.model.encoder import open_encoder
from cxrssl.recipe.settings import ViewSettings
from cxrssl.records.encoder import EncoderName
from cxrssl.records.fields import read_fields
from cxrssl.records.file import read_json
from cxrssl.records.run import ENCODER
from cxrssl.views.resample import whole_views

KIND = "encoder-export"


@dataclass(frozen=True)
class Prepare:
    """Makes a film into what an encoder sees, as packing and evaluation do."""

    pixels: Preprocessing

    def __call__(self, film: str | Path | NDArray[np.uint8]) -> Tensor:
        """Return float32 [1, channels, side, side] of a JPEG, PNG or DICOM file, or of grey uint8 [height, width].

        Raises: DecodeError for a file that is no film, UsageError for another kind of array.
        """
        square, box = self._letterbox(film)
        views = ViewSettings(global_px=self.pixels.view_px, pixel_mean=self.pixels.mean, pixel_std=self.pixels.std)
        whole = whole_views(torch.from_numpy(square)[None], torch.tensor([box], dtype=torch.float32), views)
        return whole.repeat(1, self.pixels.channels, 1, 1)

    def _letterbox(self, film: str | Path | NDArray[np.uint8]) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
        if isinstance(film, str | Path):
            path = Path(film).resolve()
            packed: Letterboxed = decode_letterboxed(Path(path.name), path.parent, self.pixels.pack_px)
            return packed.pixels_SS, packed.box
        if not isinstance(film, np.ndarray) or film.ndim != 2 or film.dtype != np.uint8 or not film.size:
            shape = f"{film.dtype} {list(film.shape)}" if isinstance(film, np.ndarray) else type(film).__name__
            hint = "convert it first: np.asarray(Image.open(path).convert('L'))"
            raise UsageError(f"a film is a file, or a grey array uint8 [height, width]; this is {shape}", hint=hint)
        return letterbox(film, self.pixels.pack_px)


def load_encoder(path: str | Path, which: EncoderName = "target") -> tuple[VisionTransformer, Prepare]:
    """Return an encoder, frozen, and what makes a film into its input.

    `path` is the folder of a run, of its encoder, or of an export to timm or safetensors. The module is timm's: called
    with [films, channels, side, side] it gives the class token after the final norm, [films, width], as `cxrssl probe`
    reads it; `forward_features` gives all tokens. `which` is target or anchor, of a run.

    Shapes: prepare(film) is [1, channels, side, side]; join several with torch.cat.
    Raises: DataError when there is no encoder, IntegrityError when it is damaged.
    """
    folder = Path(path)
    if (folder / ABOUT).is_file():
        return open_weights(folder), Prepare(_read_pixels(folder))
    folder = folder / ENCODER if (folder / ENCODER).is_dir() else folder
    if not folder.is_dir():
        raise DataError("there is no encoder: no folder of a finished run, of its encoder or of an export", folder)
    encoder = open_encoder(folder, which)
    views = encoder.recipe.views
    pack_px = find_pack_px(folder.parent.parent.parent / "images", encoder.origin)
    pixels = Preprocessing(views.global_px, views.pixel_mean, views.pixel_std, 1, pack_px)
    return take_class_token(encoder.module, 1), Prepare(pixels)


def open_weights(folder: Path) -> VisionTransformer:
    """Return the encoder of an export to timm or safetensors, frozen.

    Raises: DataError for an export in another format, IntegrityError when it is damaged.
    """
    shape = _read_shape(folder)
    if not (folder / WEIGHTS).is_file():
        raise DataError("this export has no weights that cxrssl can load", folder, "its README.md says how to load it")
    module = build_module(shape)
    try:
        module.load_state_dict(load((folder / WEIGHTS).read_bytes()), strict=True)
    except (RuntimeError, ValueError, OSError) as error:
        what = f"the weights do not fit {shape.backbone}: {plain(error, 200)}"
        raise DataError(what, folder, "exports to hf and onnx are loaded as their README.md says") from None
    return module.eval().requires_grad_(False)


def _read_shape(folder: Path) -> Shape:
    if (folder / "manifest.json").is_file():
        open_artefact(folder, KIND)
    faults: list[str] = []
    shape = read_fields(Shape, _read_table(folder / ABOUT), faults)
    if faults:
        raise IntegrityError(f"{ABOUT} {faults[0]}", folder)
    return shape


def _read_pixels(folder: Path) -> Preprocessing:
    try:
        return Preprocessing.read(folder / PIXELS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{PIXELS} cannot be read: {plain(error, 120)}", folder) from None


def _read_table(path: Path) -> Any:
    values = read_json(path)
    if not isinstance(values, dict):
        raise IntegrityError(f"{path.name} holds no table", path)
    return values
