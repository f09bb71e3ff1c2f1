"""Films through a frozen encoder: as many at a time as the device can hold, read ahead, shared by several devices.

In: an encoder, rows of packed films, what is read of a batch. Out: rows with what was read, as it is done.
Never: a device that waits for the disk while the disk could read, a size that depends on what other programs hold, or
less than float32 without TF32: features are one thing, wherever they were made.
"""

from __future__ import annotations

import contextlib
import copy
import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrssl.core.errors import SetupError
from cxrssl.core.text import count_noun
from cxrssl.images.store import ImageStore
from cxrssl.model.encoder import Encoder
from cxrssl.recipe.machine import Machine
from cxrssl.train.device import Devices, list_devices, set_precision
from cxrssl.train.feed import FilmReader, Rows, send
from cxrssl.train.meter import HostCopy, bring

PRECISION = "fp32"
MOST_FILMS = {"cpu": 64, "cuda": 1024}
"""Beyond that a larger batch is no faster."""
MEMORY_SHARE = {"cpu": 0.1, "cuda": 0.4}
"""Of all memory of the device: what is free now would make sizes, and so last digits, differ from day to day."""
VALUES_A_TOKEN = 12
"""Vectors of the encoder's width that a block holds at once: what it was given, its norm, the MLP's hidden ones twice,
what comes out."""
UNDER_WAY = 2
"""Batches whose features are on their way to the host while the next ones are computed."""
Read = Callable[[Encoder, Tensor, Tensor], Tensor]
"""From an encoder, films uint8 [B, S, S] and their boxes [B, 4], on its device, to what is read of them, [B, ...]."""
Found = tuple[Rows, NDArray[np.float32]]


def encode_rows(encoder: Encoder, images: ImageStore, rows: Rows, devices: Devices, read: Read) -> Iterator[Found]:
    """Yield parts of `rows` with float32 [B, ...] of each; on one device in order, on several as they are done.

    Raises: SetupError for a disk that hangs, or a film that does not fit the device's memory alone.
    """
    places = list_devices(devices)
    set_precision(PRECISION, places[0])
    size = choose_size(encoder, images.size_px, places[0])
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    if len(places) == 1:
        yield from _encode(encoder, images, batches, places[0], read)
    else:
        yield from _share(encoder, images, batches, places, read)


def choose_size(encoder: Encoder, film_px: int, device: torch.device) -> int:
    """Return how many films are encoded at a time: a power of two, by the sizes of what is held for one film."""
    device_bytes = (
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if device.type == "cpu"
        else torch.cuda.get_device_properties(device).total_memory
    )
    most: int = int(MEMORY_SHARE[device.type] * device_bytes / film_bytes(encoder, film_px))
    return int(min(MOST_FILMS[device.type], 2 ** max(0, most.bit_length() - 1)))


def film_bytes(encoder: Encoder, film_px: int) -> int:
    """Return the bytes that one film takes on its way: as it is packed and as float32, its view, its tokens."""
    view_px = encoder.recipe.views.global_px
    num_tokens = (view_px // encoder.recipe.model.patch_px) ** 2 + encoder.module.num_prefix_tokens
    width = int(encoder.module.embed_dim)
    return film_px**2 * (1 + 2 * 4) + view_px**2 * 3 * 4 + num_tokens * width * VALUES_A_TOKEN * 4


def describe_places(encoder: Encoder, images: ImageStore, devices: Devices) -> str:
    """Return how films are encoded, for the line of progress: "fp32, 1,024 at a time, 2 GPUs"."""
    places = list_devices(devices)
    words = [PRECISION, f"{choose_size(encoder, images.size_px, places[0]):,} at a time"]
    many = "GPUs" if places[0].type == "cuda" else "threads"
    return ", ".join(words + [f"{len(places)} {many}"] * (len(places) > 1))


@dataclass
class _Sizes:
    """How many films go through at a time; half as many from where they do not fit."""

    films: int

    def read(self, read: Read, encoder: Encoder, films: Tensor, valid: Tensor) -> Tensor:
        while True:
            try:
                parts = zip(torch.split(films, self.films), torch.split(valid, self.films), strict=True)
                return torch.cat([read(encoder, *part).float() for part in parts])
            except torch.OutOfMemoryError as error:
                if self.films == 1:
                    hint = "another process may hold its memory: nvidia-smi lists them; or use --device cpu"
                    raise SetupError("the device has not enough memory to encode one film", hint=hint) from error
                self.films //= 2
                what = f"{count_noun(2 * self.films, 'film')} at a time do not fit the device's memory"
                sys.stderr.write(f"cxrssl: note: {what}; {self.films:,} from here on\n")


def _encode(
    encoder: Encoder, images: ImageStore, batches: Sequence[Rows], device: torch.device, read: Read
) -> Iterator[Found]:
    encoder.module.to(device)
    sizes, under_way = _Sizes(max(map(len, batches), default=1)), deque[tuple[Rows, HostCopy]]()
    with contextlib.closing(FilmReader(images, batches, device, Machine.stall_s)) as reader:
        for batch in batches:
            films = reader.take("the next films")
            valid = send(torch.from_numpy(images.box_N4[batch].astype(np.float32)), device)
            # Its copy is read once later batches were asked of the device, which so never waits for the host.
            under_way.append((batch, bring(sizes.read(read, encoder, films, valid))))
            if len(under_way) > UNDER_WAY:
                yield _arrive(*under_way.popleft())
        while under_way:
            yield _arrive(*under_way.popleft())


def _arrive(rows: Rows, copied: HostCopy) -> Found:
    return rows, np.asarray(copied.read().numpy(), np.float32)


def _share(
    encoder: Encoder, images: ImageStore, batches: Sequence[Rows], devices: Sequence[torch.device], read: Read
) -> Iterator[Found]:
    """Yield what a thread for each device encodes: its share of the batches, with weights of its own.

    The batches are those of one device, so that a film is rounded alike.
    """
    found: queue.Queue[Found | BaseException | None] = queue.Queue(UNDER_WAY * len(devices))
    is_closed = threading.Event()

    def hand_over(what: Found | BaseException | None) -> None:
        while not is_closed.is_set():
            with contextlib.suppress(queue.Full):
                found.put(what, timeout=0.1)
                return

    def work(device: torch.device, share: Sequence[Rows]) -> None:
        try:
            own = replace(encoder, module=copy.deepcopy(encoder.module))
            with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
                for each in _encode(own, images, share, device, read):
                    hand_over(each)
                    if is_closed.is_set():
                        return
            hand_over(None)
        except BaseException as error:  # raised where features are waited for
            hand_over(error)

    shares = [batches[place :: len(devices)] for place in range(len(devices))]
    threads = [threading.Thread(target=work, args=each, daemon=True) for each in zip(devices, shares, strict=True)]
    try:
        for thread in threads:
            thread.start()
        num_working = len(threads)
        while num_working:
            each = found.get()
            if isinstance(each, BaseException):
                raise each
            if each is None:
                num_working -= 1
            else:
                yield each
    finally:
        is_closed.set()
        for thread in threads:
            thread.join(timeout=5.0)
