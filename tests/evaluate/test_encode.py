"""Films through a frozen encoder: whatever the size of a batch, the number of devices, and where it was interrupted."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import SetupError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate import encode, features
from cxrssl.evaluate.encode import Found, choose_size, encode_rows, film_bytes
from cxrssl.evaluate.features import extract_features, key_of
from cxrssl.images.store import ImageStore
from cxrssl.model.encoder import Encoder
from cxrssl.model.vit import build_encoder
from cxrssl.recipe.load import load_recipe
from cxrssl.records.encoder import NOWHERE
from cxrssl.records.features import FEATURES, KIND
from cxrssl.train.device import choose_devices
from cxrssl.train.pooled import open_films
from tests.gpu.world import NAME, draw_workspace

CPU = torch.device("cpu")
NUM_FILMS = 50
ROUNDING = 5e-6
"""Of values of at most 4: other sizes of a product are added up in another order."""
SMALL = ("model.backbone=vit-micro", "model.patch_px=8", "views.global_px=32")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return draw_workspace(tmp_path, NUM_FILMS)


@pytest.fixture
def images(workspace: Workspace) -> ImageStore:
    return open_films(workspace, NAME)[1]


def make_encoder(*settings: str) -> Encoder:
    recipe = load_recipe("strict", [*SMALL, *settings])
    torch.manual_seed(0)
    module = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
    return Encoder(module.eval().requires_grad_(False), recipe, "0" * 64, NOWHERE)


def read_class_token(encoder: Encoder, films: Tensor, valid: Tensor) -> Tensor:
    return encoder.encode_films(films, valid)


def join(found: list[Found]) -> np.ndarray:
    values = np.concatenate([each for _, each in found])
    return values[np.argsort(np.concatenate([rows for rows, _ in found]))]


def test_features_are_those_of_one_film_alone_for_every_size_of_a_batch(
    images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, rows = make_encoder(), np.arange(NUM_FILMS)
    found = {}
    for size in (1, 4, 32, 64):
        monkeypatch.setitem(encode.MOST_FILMS, "cpu", size)
        batches = list(encode_rows(encoder, images, rows, CPU, read_class_token))
        assert [len(some) for some, _ in batches[:-1]] == [size] * (len(batches) - 1)
        assert np.array_equal(np.concatenate([some for some, _ in batches]), rows), "in order"
        found[size] = join(batches)
    for size, values in found.items():
        assert np.allclose(values, found[1], rtol=0, atol=ROUNDING), size


def test_two_devices_share_the_films_and_give_the_file_of_one(
    workspace: Workspace, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(encode.MOST_FILMS, "cpu", 8)
    encoder, threads = make_encoder(), set()
    path = key_of(encoder, images, None).folder(workspace) / FEATURES
    one = extract_features(workspace, encoder, images, CPU)
    alone = path.read_bytes()
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    plain = encode._Sizes.read

    def read(*inputs: object) -> Tensor:
        threads.add(threading.get_ident())
        return plain(*inputs)  # type: ignore[arg-type]

    monkeypatch.setattr(encode._Sizes, "read", read)
    two = extract_features(workspace, encoder, images, choose_devices("cpu", 2))
    assert len(threads) == 2
    assert np.array_equal(one, two)
    assert path.read_bytes() == alone
    assert open_artefact(path.parent, KIND).inputs == {"precision": "fp32"}
    assert sorted(each.name for each in path.parent.iterdir()) == [FEATURES, "manifest.json"]


@pytest.mark.parametrize("num", [1, 2])
def test_what_fails_on_any_device_is_raised(images: ImageStore, monkeypatch: pytest.MonkeyPatch, num: int) -> None:
    monkeypatch.setitem(encode.MOST_FILMS, "cpu", 8)

    def fail(encoder: Encoder, films: Tensor, valid: Tensor) -> Tensor:
        raise SetupError("no more of it")

    with pytest.raises(SetupError, match="no more of it"):
        list(encode_rows(make_encoder(), images, np.arange(NUM_FILMS), choose_devices("cpu", num), fail))
    assert not [each for each in threading.enumerate() if each.name == "film reader"]


def test_an_interrupted_call_is_resumed_and_gives_the_same_file(
    workspace: Workspace, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(encode.MOST_FILMS, "cpu", 4)
    monkeypatch.setattr(features, "PART_FILMS", 16)
    encoder, plain, seen = make_encoder(), encode._Sizes.read, []
    whole = join(list(encode_rows(encoder, images, np.arange(NUM_FILMS), CPU, read_class_token)))

    def read(sizes: encode._Sizes, how: object, own: Encoder, films: Tensor, valid: Tensor) -> Tensor:
        seen.append(len(films))
        if len(seen) == 12:
            raise KeyboardInterrupt
        return plain(sizes, how, own, films, valid)  # type: ignore[arg-type]

    monkeypatch.setattr(encode._Sizes, "read", read)
    with pytest.raises(KeyboardInterrupt):
        extract_features(workspace, encoder, images, CPU)
    assert np.array_equal(extract_features(workspace, encoder, images, CPU), whole)
    # 44 films less 2 batches under way had arrived: two parts of 16 are kept.
    assert sum(seen[12:]) == NUM_FILMS - 32


def test_films_that_do_not_fit_are_encoded_half_as_many_at_a_time(
    images: ImageStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(encode.MOST_FILMS, "cpu", 32)
    encoder, rows = make_encoder(), np.arange(NUM_FILMS)
    expected = join(list(encode_rows(encoder, images, rows, CPU, read_class_token)))

    def read(own: Encoder, films: Tensor, valid: Tensor) -> Tensor:
        if len(films) > 8:
            raise torch.OutOfMemoryError
        return own.encode_films(films, valid)

    found = join(list(encode_rows(encoder, images, rows, CPU, read)))
    assert np.allclose(found, expected, rtol=0, atol=ROUNDING)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "cxrssl: note: 32 films at a time do not fit the device's memory; 16 from here on",
        "cxrssl: note: 16 films at a time do not fit the device's memory; 8 from here on",
    ]

    def fail(own: Encoder, films: Tensor, valid: Tensor) -> Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(SetupError, match="not enough memory to encode one film"):
        list(encode_rows(encoder, images, rows, CPU, fail))


def test_the_size_of_a_batch_is_a_power_of_two_from_the_sizes_of_film_view_and_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = make_encoder("model.backbone=vit-tiny", "model.patch_px=16", "views.global_px=224")
    pixels, view, tokens = 320 * 320 * 9, 224 * 224 * 12, 197 * 192 * 12 * 4
    assert film_bytes(tiny, 320) == pixels + view + tokens
    properties = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert choose_size(tiny, 320, torch.device("cuda")) == 1024
    properties.total_memory = 1000 * film_bytes(tiny, 320)
    assert choose_size(tiny, 320, torch.device("cuda")) == 256, "0.4 of the memory hold 400 films"
    properties.total_memory = 1
    assert choose_size(tiny, 320, torch.device("cuda")) == 1


@pytest.mark.gpu
def test_features_of_every_gpu_are_those_of_the_cpu(images: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(NUM_FILMS)
    expected = join(list(encode_rows(make_encoder(), images, rows, CPU, read_class_token)))
    for size in (4, 1024):
        monkeypatch.setitem(encode.MOST_FILMS, "cuda", size)
        devices = choose_devices("cuda", torch.cuda.device_count())
        found = join(list(encode_rows(make_encoder(), images, rows, devices, read_class_token)))
        assert np.allclose(found, expected, rtol=0, atol=1e-3), size
