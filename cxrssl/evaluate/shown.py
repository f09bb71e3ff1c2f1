"""Films as a protocol of others shows them to a frozen encoder: train films in another way each time.

In: an encoder, packed films, a protocol. Out: features by rows of the cohort.
Never: a changed val or test film.

Suffix letters: N films, B films of a batch, P side of a view, E features, D embedding width, R readings.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrssl.core.errors import UsageError
from cxrssl.core.seed import derive_seed
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import Candidate
from cxrssl.evaluate.features import keep_films, key_of
from cxrssl.evaluate.protocol import Protocol
from cxrssl.images.store import ImageStore
from cxrssl.model.encoder import Encoder
from cxrssl.model.reading import count_features, read_layers
from cxrssl.model.vit import encode_views
from cxrssl.recipe.settings import ViewSettings
from cxrssl.records.features import open_features
from cxrssl.records.reading import Reading, parse_reading
from cxrssl.train.device import Devices, list_devices
from cxrssl.views.affine import middle_boxes, move_boxes
from cxrssl.views.boxes import Boxes, draw_boxes, longest_side
from cxrssl.views.resample import cut_views


@dataclass(frozen=True)
class Read:
    """Tokens that a head reads."""

    layers: int
    """Class tokens of this many last layers."""
    has_patches: bool

    def columns(self, most: Read, width: int) -> NDArray[np.bool_]:
        """Return which features of those that `most` reads are these, [E]: layers from the first on, then patches."""
        is_read = np.arange(most.layers) >= most.layers - self.layers
        parts = np.concatenate([is_read, [self.has_patches]] if most.has_patches else [is_read])
        return np.repeat(parts, width)


def parse_read(text: str) -> Read:
    """Return what "last:4+patches" reads. Raises: UsageError."""
    layers, has_patches = 0, False
    for part in text.split("+"):
        reading = parse_reading(part)
        if reading.kind not in ("cls", "last", "patches"):
            raise UsageError(
                f'a protocol cannot read "{plain(text, 60)}"', hint="cls, last:N, patches, or a sum of them"
            )
        has_patches |= reading.kind == "patches"
        layers = max(layers, 0 if reading.kind == "patches" else reading.count or 1)
    return Read(layers, has_patches)


@dataclass(frozen=True, eq=False)
class ShownFilms:
    """Features of films of a cohort: of unchanged ones by row, of changed ones by row and step."""

    encoder: Encoder
    images: ImageStore
    device: torch.device
    protocol: Protocol
    features_NE: NDArray[np.float32]
    """Of unchanged films."""

    @property
    def shape(self) -> tuple[int, int]:
        num, width = self.features_NE.shape
        return num, width

    @property
    def reads_RE(self) -> NDArray[np.bool_]:
        """Which features each reading has."""
        reads = [parse_read(each) for each in self.protocol.read]
        return np.stack([each.columns(join_reads(self.protocol), int(self.encoder.module.embed_dim)) for each in reads])

    def __getitem__(self, rows: Any) -> NDArray[np.float32]:
        """Return the features of unchanged films."""
        return np.asarray(self.features_NE[rows])

    def change(self, rows: NDArray[np.int64], seed: int, step: int) -> NDArray[np.float32]:
        """Return the features of train films as they are shown at a step, [B, E]."""
        if not self.protocol.show.is_changed:
            return self[rows]
        valid = torch.from_numpy(self.images.box_N4[rows].astype(np.float32))
        boxes, longest = draw_changed(
            valid, self.protocol, self.images.size_px, derive_seed(seed, step, "protocol/views")
        )
        return encode_boxes(self, rows, boxes, longest)


def join_reads(protocol: Protocol) -> Read:
    """Return what has all that the heads of a protocol read."""
    reads = [parse_read(each) for each in protocol.read]
    return Read(max(each.layers for each in reads), any(each.has_patches for each in reads))


def draw_changed(valid_B4: Tensor, protocol: Protocol, size_px: int, seed: int) -> tuple[Boxes, float]:
    """Return the boxes of changed films, and the longest side that one can have, in pixels."""
    show, views = protocol.show, views_of(protocol, ViewSettings())
    if show.crop_scale is None:
        boxes, longest = middle_boxes(valid_B4, show.middle_frac, views, seed), show.middle_frac * size_px
        reach = tuple(valid_B4[:, 2:].cpu().float()[:, None].unbind(2))
    else:
        boxes, longest = draw_boxes(valid_B4, 1, show.crop_scale, views, seed), longest_side(show.crop_scale, size_px)
        reach = boxes.height_BV, boxes.width_BV
    down, across = reach
    moved = move_boxes(boxes, (down, across), show.zoom, show.translate_frac, derive_seed(seed, 0, "protocol/moves"))
    return moved, longest / show.zoom[0]


def views_of(protocol: Protocol, own: ViewSettings) -> ViewSettings:
    """Return how the views of a protocol are changed, with the size and the grey values of an encoder's own."""
    show = protocol.show
    return ViewSettings(
        global_px=own.global_px,
        flip_prob=show.flip_prob,
        rotation_deg=show.rotation_deg,
        contrast=show.contrast,
        brightness=show.brightness,
        pixel_mean=own.pixel_mean,
        pixel_std=own.pixel_std,
    )


def encode_boxes(
    shown: ShownFilms, rows: NDArray[np.int64], boxes: Boxes | None, longest: float
) -> NDArray[np.float32]:
    """Return the features of boxes of films, [B, E]; without boxes of the unchanged middle."""
    films_BSS = torch.from_numpy(shown.images.read_rows(rows)).to(shown.device)
    valid_B4 = torch.from_numpy(shown.images.box_N4[rows].astype(np.float32)).to(shown.device)
    return read_boxes(shown.encoder, films_BSS, valid_B4, boxes, shown.protocol, longest).float().cpu().numpy()


@torch.no_grad()
def read_boxes(
    encoder: Encoder, films_BSS: Tensor, valid_B4: Tensor, boxes: Boxes | None, protocol: Protocol, longest: float
) -> Tensor:
    """Return the features of boxes of films on the encoder's device, [B, E]; without boxes of the unchanged middle."""
    own = encoder.recipe.views
    views = views_of(protocol, own)
    if boxes is None:
        views = ViewSettings(global_px=own.global_px, pixel_mean=own.pixel_mean, pixel_std=own.pixel_std)
        boxes = middle_boxes(valid_B4, protocol.show.middle_frac)
    here = Boxes(*(each.to(films_BSS.device) for each in boxes))
    pixels_BV1PP = cut_views(films_BSS.float(), valid_B4, here, own.global_px, views, longest)
    read = join_reads(protocol)
    if read == Read(1, False):  # of the last block the class token alone is computed
        return encode_views(encoder.module, pixels_BV1PP[:, 0])
    return read_layers(encoder, pixels_BV1PP[:, 0], read.layers, read.has_patches)


def show_films(
    workspace: Workspace, encoder: Encoder, images: ImageStore, devices: Devices, protocol: Protocol
) -> ShownFilms:
    """Return films as a protocol shows them; the features of unchanged ones are kept in the cache.

    Raises: UsageError for more layers than the encoder has.
    """
    read = join_reads(protocol)
    width = count_features(encoder, Reading("last", max(1, read.layers))) // max(1, read.layers)
    key = key_of(encoder, images, f"{'+'.join(protocol.read)} of the middle {protocol.show.middle_frac:g}")

    def read_middle(own: Encoder, films_BSS: Tensor, valid_B4: Tensor) -> Tensor:
        return read_boxes(own, films_BSS, valid_B4, None, protocol, images.size_px)

    size = (width * (read.layers + read.has_patches),)
    path = keep_films(workspace, key, encoder, images, devices, read_middle, size, np.float32, "features")
    device = list_devices(devices)[0]
    encoder.module.to(device)
    return ShownFilms(encoder, images, device, protocol, open_features(path))


def shown_candidate(
    workspace: Workspace, candidate: Candidate, protocol: Protocol | None, images: ImageStore, devices: Devices
) -> Candidate:
    """Return a candidate whose encoder is shown films by a protocol; one without an encoder stays as it is."""
    if protocol is None or candidate.encoder is None:
        return candidate
    films = partial(show_films, workspace, candidate.encoder, images, devices, protocol)
    return dataclasses.replace(candidate, features=films)
