"""`cxrssl.load_encoder`, as a user of Python meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import cxrssl
from cxrssl.core.errors import CxrsslError, IntegrityError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.export.proof import draw_films
from cxrssl.export.run import ExportChoices, export_encoder
from cxrssl.images.decode import letterbox
from cxrssl.images.store import open_images
from cxrssl.model.encoder import open_encoder
from tests.export.encoders import publish_run
from tests.world import make_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = make_workspace(tmp_path_factory.mktemp("load"), num_patients=4)
    packed = open_images(made.images / "nih")
    publish_run(made, "own", has_anchor=True, dataset="nih", cohort="nih", images_sha256=packed.content_sha256)
    publish_run(made, "gone", dataset="nih", cohort="gone")
    return made


def test_a_run_gives_the_features_that_its_probe_reads_of_the_same_film(workspace: Workspace) -> None:
    packed = open_images(workspace.images / "nih")
    squares, boxes = packed.read_rows([0, 1]), torch.from_numpy(packed.box_N4[:2].astype(np.float32))
    for which in ("target", "anchor"):
        encoder, prepare = cxrssl.load_encoder(workspace.runs / "own", which)
        files = [workspace.root.parent / "nih" / "images" / name for name in packed.image_id[:2]]
        found = encoder(torch.cat([prepare(file) for file in files]))
        expected = open_encoder(workspace.runs / "own" / "encoder", which).encode_films(
            torch.from_numpy(squares), boxes
        )
        assert (found - expected).abs().max() < 1e-5
        assert not found.requires_grad


def test_a_file_a_name_and_an_array_are_the_same_film(workspace: Workspace, tmp_path: Path) -> None:
    film = draw_films()[1]
    Image.fromarray(film).save(tmp_path / "film.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "film.png")
    _, prepare = cxrssl.load_encoder(workspace.runs / "gone" / "encoder")
    first, *others = (prepare(each) for each in (film, tmp_path / "film.png", str(tmp_path / "link.png")))
    assert first.shape == (1, 1, 64, 64)
    assert all(torch.equal(first, other) for other in others)


def test_films_are_scaled_as_in_the_pack_that_the_run_saw(workspace: Workspace) -> None:
    assert cxrssl.load_encoder(workspace.runs / "own")[1].pixels.pack_px == 48
    assert cxrssl.load_encoder(workspace.runs / "gone")[1].pixels.pack_px == 320


@pytest.mark.parametrize(("to", "channels"), [("timm", 1), ("safetensors", 3)])
def test_an_export_loads_by_itself(workspace: Workspace, tmp_path: Path, to: str, channels: int) -> None:
    made = export_encoder(workspace, "own", ExportChoices(to, channels=channels, out=tmp_path / "out"))
    encoder, prepare = cxrssl.load_encoder(made.path)
    film = draw_films()[2]
    square, box = letterbox(film, 48)
    run = open_encoder(workspace.runs / "own" / "encoder")
    expected = run.encode_films(torch.from_numpy(square)[None], torch.tensor([box], dtype=torch.float32))
    assert prepare(film).shape == (1, channels, 64, 64)
    assert (encoder(prepare(film)) - expected).abs().max() < 1e-5
    (made.path / "model.safetensors").write_bytes((made.path / "model.safetensors").read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(IntegrityError, match=r"model.safetensors is damaged"):
        cxrssl.load_encoder(made.path)


def test_an_export_that_another_library_loads_is_refused_in_one_sentence(workspace: Workspace, tmp_path: Path) -> None:
    for to, what in (("onnx", "has no weights that cxrssl can load"), ("hf", "the weights do not fit vit-micro")):
        made = export_encoder(workspace, "own", ExportChoices(to, out=tmp_path / to))
        with pytest.raises(CxrsslError) as caught:
            cxrssl.load_encoder(made.path)
        assert what in caught.value.what
        assert "README.md" in caught.value.hint


@pytest.mark.parametrize("film", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), [[1, 2]]])
def test_what_is_no_film_is_refused_with_the_way_out(workspace: Workspace, film: Any) -> None:
    _, prepare = cxrssl.load_encoder(workspace.runs / "own")
    with pytest.raises(UsageError, match="a film is a file, or a grey array") as caught:
        prepare(film)
    assert "convert('L')" in caught.value.hint


def test_a_folder_without_an_encoder_is_refused(tmp_path: Path) -> None:
    for path, what in ((tmp_path / "nowhere", "there is no encoder"), (tmp_path, "is not a published encoder")):
        with pytest.raises(CxrsslError, match=what):
            cxrssl.load_encoder(path)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, cxrssl; cxrssl.load_encoder; print([n for n in ('torch', 'numpy', 'PIL') if n in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"
