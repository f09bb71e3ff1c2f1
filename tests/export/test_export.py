"""Encoders handed on: another library gives the features of the run, or nothing is written."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

import cxrssl
from cxrssl.core.artefact import publish
from cxrssl.core.errors import CxrsslError, DataError, SetupError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.export import bundle, card, to_hf, to_timm
from cxrssl.export.proof import Proof, draw_films
from cxrssl.export.run import LIBRARIES, EncoderExport, ExportChoices, export_encoder
from cxrssl.export.terms import KNOWN, find_terms
from cxrssl.images.decode import letterbox
from cxrssl.model.encoder import open_encoder
from cxrssl.model.external import ExternalChoices, open_external
from cxrssl.records.members import Member
from tests.cli import command
from tests.export.encoders import publish_run
from tests.records.folders import make_evaluation

BACKBONES = ("vit-tiny", "vit-tiny-6h", "vit-small")
SIZE = ("model.patch_px=16", "views.global_px=96")
PACK_PX = 320


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a run of each backbone that others use, and a small one with an anchor."""
    made = Workspace(tmp_path_factory.mktemp("export") / "workspace").create()
    made.mark()
    for backbone in BACKBONES:
        publish_run(made, f"run-{backbone}", backbone, changes=SIZE)
    publish_run(made, "small", has_anchor=True)
    return made


@pytest.fixture(scope="module")
def film() -> NDArray[np.uint8]:
    return draw_films()[0]


def features_of(workspace: Workspace, run_id: str, film: NDArray[np.uint8], which: Any = "target") -> torch.Tensor:
    """Return what a probe reads of a film, [1, width]."""
    square, box = letterbox(film, PACK_PX)
    encoder = open_encoder(workspace.runs / run_id / "encoder", which)
    return encoder.encode_films(torch.from_numpy(square)[None], torch.tensor([box], dtype=torch.float32))


def run_card(folder: Path, film: NDArray[np.uint8], patch: pytest.MonkeyPatch) -> torch.Tensor:
    """Run the lines of README.md in the folder, as a user would, and return their features."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    names: dict[str, Any] = {}
    with patch.context() as inner, torch.no_grad():
        inner.chdir(folder)
        inner.syspath_prepend(folder)
        Image.fromarray(film).save("film.png")
        exec(code, names)
    del sys.modules["preprocess"]  # of this folder
    (folder / "film.png").unlink()
    return torch.as_tensor(names["features"])


def export(workspace: Workspace, run_id: str, to: str, **choices: Any) -> EncoderExport:
    for library in {"hf": ["transformers"], "onnx": ["onnx", "onnxruntime"]}.get(to, []):
        if bundle.importlib.util.find_spec is find_spec:  # type: ignore[attr-defined]
            pytest.importorskip(library, reason=f"{library} is of the extra cxrssl[export]")
    return export_encoder(workspace, run_id, ExportChoices(to, **choices))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("to", ["timm", "hf"])
def test_the_lines_of_the_card_give_the_features_of_the_run(
    workspace: Workspace,
    to: str,
    backbone: str,
    channels: int,
    film: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = export(workspace, f"run-{backbone}", to, channels=channels)
    expected = features_of(workspace, f"run-{backbone}", film)
    assert expected.std() > 0.1
    assert (run_card(made.path, film, monkeypatch) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert made.proof["difference"] < 1e-5
    assert made.bundle.shape.heads == {"vit-tiny": 3, "vit-tiny-6h": 6, "vit-small": 6}[backbone]


@pytest.mark.parametrize(("to", "channels"), [("safetensors", 1), ("safetensors", 3), ("onnx", 1), ("onnx", 3)])
def test_the_lines_of_the_other_formats_do_too(
    workspace: Workspace, to: str, channels: int, film: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = export(workspace, "run-vit-tiny-6h", to, channels=channels)
    expected = features_of(workspace, "run-vit-tiny-6h", film)
    assert (run_card(made.path, film, monkeypatch) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_six_heads_load_into_three_without_complaint_and_give_other_features(
    workspace: Workspace, film: NDArray[np.uint8]
) -> None:
    made = export(workspace, "run-vit-tiny-6h", "timm")
    weights = load_file(made.path / "model.safetensors")
    wrong: Any = timm.create_model("vit_tiny_patch16_224", in_chans=1, num_classes=0, img_size=96).eval()
    wrong.load_state_dict(weights)
    right: Any = timm.create_model(f"local-dir:{made.path}", pretrained=True).eval()
    views = torch.from_numpy(made.bundle.pixels.prepare(film))
    with torch.no_grad():
        assert (wrong(views) - right(views)).abs().max() > 0.01
    assert "**It has 6 heads.**" in (made.path / "README.md").read_text()


@pytest.mark.parametrize("to", ["timm", "safetensors"])
def test_six_heads_in_an_architecture_of_three_are_refused_by_name(
    workspace: Workspace, tmp_path: Path, to: str
) -> None:
    made = export(workspace, "run-vit-tiny-6h", to, out=tmp_path / "out")
    file = made.path / "model.safetensors"
    pixels: dict[str, Any] = {"pixel_mean": (0.5,), "pixel_std": (0.5,)}
    with pytest.raises(DataError, match="the file says 6 heads, vit_tiny_patch16_224 has 3"):
        open_external(ExternalChoices(file, "vit_tiny_patch16_224", **pixels))
    assert open_external(ExternalChoices(file, "vit-tiny-6h", **pixels))[1].num_tensors == 150
    about = made.path / "encoder.json"
    about.write_text(about.read_text().replace('"vit-tiny-6h"', '"vit-tiny"'))
    (made.path / "manifest.json").unlink()  # as in a folder that someone has put together again
    with pytest.raises(DataError, match="vit-tiny has another number of heads here than the 6 of the encoder"):
        cxrssl.load_encoder(made.path)


@pytest.mark.parametrize(
    ("module", "key", "value"),
    [
        (to_hf, "num_attention_heads", 4),
        (to_hf, "layer_norm_eps", 0.1),
        (to_timm, "num_heads", 4),
    ],
)
def test_an_export_that_gives_other_features_is_refused_and_leaves_nothing(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, key: str, value: Any
) -> None:
    make_config = module.make_config

    def make_wrong(made: Any) -> dict[str, Any]:
        config: dict[str, Any] = make_config(made)
        (config["model_args"] if module is to_timm else config)[key] = value
        return config

    monkeypatch.setattr(module, "make_config", make_wrong)
    with pytest.raises(DataError, match="gives other features: they differ by up to"):
        export(workspace, "small", "timm" if module is to_timm else "hf", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_a_library_leaves_out_are_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = to_hf.rename
    monkeypatch.setattr(to_hf, "rename", lambda made: {k: v for k, v in rename(made).items() if k != "layernorm.bias"})
    with pytest.raises(DataError, match=r"not take the weights as they are: missing_keys: layernorm\.bias"):
        export(workspace, "small", "hf", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_proof_of_features_that_are_no_numbers_does_not_hold() -> None:
    proof = Proof(3, 9e-6, 0.5, {})
    assert proof.holds
    assert not replace(proof, difference=float("nan")).holds
    assert not replace(proof, difference=2e-5).holds
    assert not replace(proof, difference=2e-5, largest=3.0).holds
    assert replace(proof, difference=2e-5, largest=3.0, libraries={"onnxruntime": "1"}).holds


def test_a_backbone_of_timm_keeps_its_name_and_a_layer_that_hf_lacks_is_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).create()
    name = "timm:vit_xsmall_patch16_clip_224"
    publish_run(workspace, "clip", name, changes=("model.patch_px=16",))
    made = export(workspace, "clip", "timm")
    assert json.loads((made.path / "config.json").read_text())["architecture"] == name.removeprefix("timm:")
    with pytest.raises(DataError, match=r"ViTMSN has no place for norm_pre\.bias"):
        export(workspace, "clip", "hf")


@pytest.mark.parametrize(("to", "channels"), [("timm", 1), ("timm", 3), ("hf", 3)])
def test_an_export_is_probed_as_an_encoder_of_others_with_the_same_features(
    workspace: Workspace, to: str, channels: int, film: NDArray[np.uint8]
) -> None:
    made = export(workspace, "run-vit-tiny-6h", to, channels=channels)
    encoder, source = open_external(ExternalChoices(made.path))
    square, box = letterbox(film, PACK_PX)
    found = encoder.encode_films(torch.from_numpy(square)[None], torch.tensor([box], dtype=torch.float32))
    expected = features_of(workspace, "run-vit-tiny-6h", film)
    assert (found - expected).abs().max() < 1e-4
    assert "6 heads" in source.architecture or "num_heads=6" in source.architecture


def test_no_id_leaves_and_the_training_films_are_hashes_in_order(workspace: Workspace) -> None:
    made = export(workspace, "small", "safetensors", out=workspace.root.parent / "handed-on")
    assert (made.path / "training_films.csv").read_text() == f"pixel_hash\n{'a' * 32}\n{'c' * 32}\n"
    for file in made.path.iterdir():
        data = file.read_bytes()
        assert not any(word in data for word in (b"film-a", b"film-b", b"person-1", str(workspace.root).encode())), file
    assert "| films | under 10 of under 10 subjects |" in (made.path / "README.md").read_text()


def test_the_card_shows_scores_with_films_and_intervals_of_this_encoder_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).create()
    publish_run(workspace, "scored", has_anchor=True)
    assert "This encoder was not evaluated." in (export(workspace, "scored", "timm").path / "README.md").read_text()
    make_evaluation(workspace, "scored", "run", 0.7123, leak="3 test films took part in pretraining")
    make_evaluation(workspace, "other", "run", 0.6)
    (tmp_path / "cohorts").mkdir(exist_ok=True)
    folder = export(workspace, "scored", "timm", may_replace=True).path
    text = (folder / "README.md").read_text()
    assert re.search(r"^\| mimic, paper \| 4 \| 206 \| 103 \| 0\.712 \[0\.\d+, 0\.\d+\]", text, re.M), text
    assert "mimic, paper: the run has seen films or people that it is tested on." in text
    assert "3 test films" not in text  # a small count
    assert "0.600" not in text
    anchor = export(workspace, "scored", "timm", encoder="anchor").path
    assert "This encoder was not evaluated." in (anchor / "README.md").read_text()
    assert "This is the anchor" in (anchor / "README.md").read_text()
    assert (folder / "model.safetensors").read_bytes() != (anchor / "model.safetensors").read_bytes()


def test_counts_of_few_people_are_not_on_the_card() -> None:
    assert [card._count(*counts) for counts in ((9,), (10,), (18, 9), (18, 10), (0,), (1234, 500))] == [
        "under 10",
        "10",
        "not shown",
        "18",
        "0",
        "1,234",
    ]


def test_the_card_warns_of_outcomes_and_of_labels(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).create()
    publish_run(workspace, "stay", changes=('ehr.features=["mortality"]', "ehr.may_use_outcomes=true"))
    text = (export(workspace, "stay", "timm").path / "README.md").read_text()
    assert "An outcome of the stay took part in pretraining" in text
    assert "MSN + mortality" in text


def test_the_strictest_terms_come_first_and_an_unknown_dataset_allows_nothing() -> None:
    found = [(terms.dataset, terms.verdict) for terms in find_terms(["nih", "mimic", "nih", "elsewhere"])]
    assert found == [("mimic", "restricted"), ("elsewhere", "unknown"), ("nih", "attribution")]
    assert set(KNOWN) == {"mimic", "chexpert", "nih", "covid", "dicom", "synthetic"}


def test_every_verdict_names_its_source_and_what_nobody_has_read_is_said_so() -> None:
    assert all(terms.source and terms.sentence.endswith(".") for terms in KNOWN.values())
    unread = [terms.dataset for terms in KNOWN.values() if "not checked: read" in terms.sentence]
    assert unread == ["chexpert", "covid"]
    assert KNOWN["chexpert"].verdict == "not checked"
    assert "was not read" in KNOWN["chexpert"].source


def test_the_verdict_is_that_of_the_cohort_that_was_seen(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).create()
    publish_run(workspace, "nih-run", dataset="nih")
    made = export(workspace, "nih-run", "safetensors")
    assert [terms.verdict for terms in made.terms] == ["attribution"]
    assert "## Licence verdict: attribution\n" in (made.path / "README.md").read_text()


def test_an_export_that_is_there_is_kept_and_other_folders_are_never_replaced(
    workspace: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = export(workspace, "small", "timm", out=out)
    again = export(workspace, "small", "timm", out=out)
    assert (first.was_current, again.was_current) == (False, True)
    assert again.proof == first.proof
    with pytest.raises(UsageError, match="holds an older export"):
        export(workspace, "small", "timm", out=out, channels=3)
    assert export(workspace, "small", "timm", out=out, channels=3, may_replace=True).bundle.shape.channels == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="something other than an export"):
        export(workspace, "small", "timm", out=tmp_path / "mine", may_replace=True)
    with pytest.raises(UsageError, match="among the workspace's own folders"):
        export(workspace, "small", "timm", out=workspace.runs / "x")


@pytest.mark.parametrize(
    ("run_id", "choices", "what"),
    [
        ("small", {"to": "tim"}, 'there is no format "tim"'),
        ("small", {"to": "timm", "channels": 2}, "--channels is 2"),
        ("run-vit-small", {"to": "timm", "encoder": "anchor"}, "has no anchor encoder"),
        ("nosuch", {"to": "timm"}, 'no run "nosuch"'),
        ("begun", {"to": "timm"}, "run begun is not finished"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(
    workspace: Workspace, run_id: str, choices: Mapping[str, Any], what: str
) -> None:
    (workspace.runs / "begun").mkdir(exist_ok=True)
    with pytest.raises(CxrsslError) as caught:
        export_encoder(workspace, run_id, ExportChoices(**choices))
    assert what in caught.value.what


@pytest.mark.parametrize("to", ["hf", "onnx"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    workspace: Workspace, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    with pytest.raises(SetupError, match=f"proven with {LIBRARIES[to][0]}, which is not installed") as caught:
        export(workspace, "small", to)
    assert "cxrssl[export]" in caught.value.hint


def test_the_command_shows_shape_proof_and_verdict(workspace: Workspace, tmp_path: Path) -> None:
    words = ("export", "small", "--to", "timm", "--out", tmp_path / "out")
    shown = command.run(*words, workspace=workspace.root)
    assert shown.returncode == 0, shown.stderr
    assert "width 96, depth 4, 3 heads, patches of 8 px, films of 64 px" in shown.stdout
    assert "proof: 3 drawn films, features differ by at most" in shown.stdout
    assert "licence verdict, mimic: restricted." in shown.stdout
    values = json.loads(command.run(*words, "--json", workspace=workspace.root).stdout)
    assert (values["was_current"], values["verdicts"], values["shape"]["heads"]) == (True, {"mimic": "restricted"}, 3)
    refused = command.run("export", "small", "--to", "onnx", "--out", "a.onnx", workspace=workspace.root)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--out is a folder" in refused.stderr


def test_films_of_a_drawn_hospital_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cxrssl.export import lineage

    with publish(tmp_path / "hospital", "synthetic hospital", {}):
        pass
    assert lineage._is_drawn(tmp_path / "hospital")
    (tmp_path / "mimic").mkdir()
    assert not lineage._is_drawn(tmp_path / "mimic")


def test_a_condition_on_films_and_its_hash_stay_inside(tmp_path: Path) -> None:
    own = Workspace(tmp_path)
    own.runs.mkdir()
    members = (Member("a", "mimic", "official", "c" * 64, "i" * 64, num_films=100, num_left_out=3),)
    publish_run(own, "chosen", changes=("data.where=\"subject_id IN ('10000032')\"",), members=members)
    made = export(own, "chosen", "safetensors")
    whole = b"".join(path.read_bytes() for path in sorted(made.path.rglob("*")) if path.is_file())
    assert b"10000032" not in whole
    sha256 = open_encoder(own.runs / "chosen" / "encoder").origin.recipe_sha256
    assert sha256.encode() not in whole
    assert json.loads((made.path / "recipe.json").read_text())["data"] == {"where": "(a condition, which stays inside)"}
    settings = json.loads((made.path / "manifest.json").read_text())["settings"]
    assert [each["num_left_out"] for each in settings["origin"]["members"]] == [0]
