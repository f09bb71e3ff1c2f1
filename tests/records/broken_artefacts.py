"""Broken encoders and evaluations."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cxrssl.core.manifest import FORMAT_VERSION, MANIFEST
from tests.records.breaking import breaks, change_json, edit_manifest, flip_middle, publish_again, with_value, without

# ---- the encoder of a run


@breaks("encoder", "encoder: encoder is not a published encoder: it has no manifest.json")
def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@breaks("encoder", "encoder: encoder is not a published encoder: it has no manifest.json")
def is_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


@breaks("encoder", "encoder: manifest.json cannot be read: it is not JSON")
def manifest_torn(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes()[:-1])


@breaks("encoder", "encoder: manifest.json is damaged or was edited: its own hash does not match")
def manifest_edited(folder: Path) -> None:
    change_json(folder / MANIFEST, with_value("other", "settings", "cohort"))


@breaks("encoder", 'encoder: manifest.json does not say its "format_version"')
def version_in_words(folder: Path) -> None:
    edit_manifest(folder, with_value("one", "format_version"))


@breaks("encoder", 'encoder: manifest.json does not say its "files"')
def files_as_a_list(folder: Path) -> None:
    edit_manifest(folder, with_value(["films.csv"], "files"))


@breaks("encoder", "encoder: encoder was written by a newer cxrssl")
def of_a_newer_format(folder: Path) -> None:
    edit_manifest(folder, with_value(FORMAT_VERSION + 1, "format_version"))


@breaks("encoder", 'encoder: encoder is of kind "checkpoint", not "encoder"')
def of_another_kind(folder: Path) -> None:
    edit_manifest(folder, with_value("checkpoint", "kind"))


@breaks("encoder", "encoder: films.csv is missing")
def films_missing(folder: Path) -> None:
    (folder / "films.csv").unlink()


@breaks("encoder", "encoder: encoder.safetensors has 3 bytes, its manifest says 7")
def weights_cut(folder: Path) -> None:
    (folder / "encoder.safetensors").write_bytes(b"wei")


@breaks("encoder", 'encoder: manifest.json lacks "cohort"')
def without_cohort(folder: Path) -> None:
    edit_manifest(folder, without("settings", "cohort"))


@breaks("encoder", 'encoder: manifest.json has no table in "recipe"')
def with_text_for_recipe(folder: Path) -> None:
    edit_manifest(folder, with_value("strict", "settings", "recipe"))


@breaks("encoder", "encoder: manifest.json does not list films.csv")
def without_a_list_of_films(folder: Path) -> None:
    publish_again(folder, films__csv=b"")


@breaks("encoder", "encoder: films.csv is damaged: its SHA-256 does not match the manifest", is_hashed=True)
def films_flipped(folder: Path) -> None:
    flip_middle(folder / "films.csv")


@breaks("encoder", "encoder: encoder.safetensors is damaged: its SHA-256 does not match", is_hashed=True)
def weights_flipped(folder: Path) -> None:
    flip_middle(folder / "encoder.safetensors")


@breaks("encoder", "encoder: films.csv cannot be read: its columns are not image_id", is_hashed=True)
def films_of_other_columns(folder: Path) -> None:
    publish_again(folder, films__csv=b"film\n1\n")


# ---- evaluations


@breaks("evaluation", "is not a published evaluation: it has no manifest.json", has_row=False)
def foreign(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")


@breaks("evaluation", "is not a published evaluation: it has no manifest.json", has_row=False)
def manifest_is_a_pipe(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)


@breaks("evaluation", "manifest.json cannot be read: it is not JSON", has_row=False)
def manifest_binary(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\x80\x81")


@breaks("evaluation", "manifest.json is damaged or was edited", has_row=False)
def manifest_a_list(folder: Path) -> None:
    (folder / MANIFEST).write_text("[]")


@breaks("evaluation", "was written by a newer cxrssl", has_row=False)
def of_newer_format(folder: Path) -> None:
    edit_manifest(folder, with_value(FORMAT_VERSION + 1, "format_version"))


@breaks("evaluation", 'is of kind "report", not "evaluation"', has_row=False)
def of_other_kind(folder: Path) -> None:
    edit_manifest(folder, with_value("report", "kind"))


@breaks("evaluation", 'manifest.json lacks "settings.cohort"', has_row=False)
def settings_without_cohort(folder: Path) -> None:
    edit_manifest(folder, without("settings", "cohort"))


@breaks("evaluation", 'manifest.json has no text in "settings.label"', has_row=False)
def settings_with_number_for_label(folder: Path) -> None:
    edit_manifest(folder, with_value(4, "settings", "label"))


@breaks("evaluation", 'manifest.json has no table in "settings.candidate"', has_row=False)
def settings_with_text_for_candidate(folder: Path) -> None:
    edit_manifest(folder, with_value("run", "settings", "candidate"))


@breaks("evaluation", 'unknown key "temperature"', has_row=False)
def settings_of_a_newer_probe(folder: Path) -> None:
    edit_manifest(folder, with_value(2, "settings", "probe", "temperature"))


@breaks("evaluation", '"probe.num_resamples" is 1000000000', has_row=False)
def settings_out_of_range(folder: Path) -> None:
    edit_manifest(folder, with_value(10**9, "settings", "probe", "num_resamples"))


@breaks("evaluation", "scores.json is missing", has_row=False)
def scores_missing(folder: Path) -> None:
    (folder / "scores.json").unlink()


@breaks("evaluation", "scores.json is missing", has_row=False)
def scores_are_a_folder(folder: Path) -> None:
    (folder / "scores.json").unlink()
    (folder / "scores.json").mkdir()


@breaks("evaluation", "scores.json is damaged: its SHA-256 does not match the manifest", has_row=False)
def scores_flipped(folder: Path) -> None:
    flip_middle(folder / "scores.json")


@breaks("evaluation", "scores.json is not JSON", has_row=False)
def scores_not_json(folder: Path) -> None:
    publish_again(folder, scores__json=b"macro 0.7")


@breaks("evaluation", 'scores.json lacks "findings"', has_row=False)
def scores_without_findings(folder: Path) -> None:
    _change_scores(folder, without("findings"))


@breaks("evaluation", 'scores.json has no number in "findings.Edema.auroc.value"', has_row=False)
def scores_in_words(folder: Path) -> None:
    _change_scores(folder, with_value("good", "findings", "Edema", "auroc", "value"))


@breaks("evaluation", "manifest.json does not list scores.json", has_row=False)
def scores_not_listed(folder: Path) -> None:
    publish_again(folder, scores__json=b"")


@breaks("evaluation")
def scores_with_nan(folder: Path) -> None:
    _change_scores(folder, with_value(float("nan"), "macro_auroc", "value"))


@breaks("evaluation", "predictions.npz has", has_row=False)
def predictions_torn(folder: Path) -> None:
    path = folder / "predictions.npz"
    path.write_bytes(path.read_bytes()[:-20])


@breaks("evaluation", "predictions.npz cannot be read: File is not a zip file", has_row=False)
def predictions_not_npz(folder: Path) -> None:
    publish_again(folder, predictions__npz=b"not an archive")


@breaks("evaluation", 'predictions.npz has no array "labels"', has_row=False)
def predictions_without_labels(folder: Path) -> None:
    _change_predictions(folder, lambda arrays: {name: arrays[name] for name in arrays if name != "labels"})


@breaks("evaluation", 'predictions.npz has no array "labels" of the right kind and length', has_row=False)
def predictions_of_other_lengths(folder: Path) -> None:
    _change_predictions(folder, lambda arrays: arrays | {"labels": arrays["labels"][:-1]})


@breaks("evaluation", 'predictions.npz has no array "image_id" of the right kind and length', has_row=False)
def predictions_pickled(folder: Path) -> None:
    _change_predictions(folder, lambda arrays: arrays | {"image_id": arrays["image_id"].astype(object)})


@breaks("evaluation")
def of_a_newer_kind_of_candidate(folder: Path) -> None:
    edit_manifest(folder, with_value("external", "settings", "kind"))


@breaks("evaluation")
def on_a_split_that_is_no_more(folder: Path) -> None:
    edit_manifest(folder, with_value("icu", "settings", "split"))


@breaks("evaluation")
def of_other_findings(folder: Path) -> None:
    _change_scores(folder, lambda scores: scores | {"findings": {"\ud800\x1b": scores["findings"]["Edema"]}})


def _change_scores(folder: Path, change: Callable[[Any], Any]) -> None:
    scores = json.dumps(change(json.loads((folder / "scores.json").read_text())))
    publish_again(folder, scores__json=scores.encode())


def _change_predictions(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    with np.load(folder / "predictions.npz") as kept:
        arrays = change(dict(kept))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    publish_again(folder, predictions__npz=buffer.getvalue())
