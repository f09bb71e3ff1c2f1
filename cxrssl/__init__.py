"""Self-supervised chest X-ray pretraining with the health record as a second view.

model, prepare = cxrssl.load_encoder("cxrssl-workspace/runs/RUN")
features = model(prepare("film.png"))
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cxrssl.core.version import __version__ as __version__

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

    from cxrssl.export.load import Prepare


def load_encoder(path: str | Path, which: Literal["target", "anchor"] = "target") -> tuple[VisionTransformer, Prepare]:
    """Return an encoder, frozen, as timm's module, and what makes a film into its input.

    `path` is the folder of a run, of its encoder, or of an export to timm or safetensors; `which` is of a run alone.
    `prepare` takes the name of a JPEG, PNG or DICOM file, or a grey array uint8 [height, width], and gives
    [1, channels, side, side]. The module takes [films, channels, side, side] and gives the class token after the final
    norm, [films, width].

    Raises: DataError when there is no encoder, IntegrityError when it is damaged.
    """
    from cxrssl.export.load import load_encoder as load

    return load(path, which)
