"""Broken run.json, journals and events."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.records.breaking import breaks, change_json, put, with_value, without
from tests.records.folders import metric, write_lines

# ---- run.json


@breaks("run", "run.json is missing", has_row=False)
def json_missing(folder: Path) -> None:
    (folder / "run.json").unlink()


@breaks("run", "run.json is not JSON", has_row=False)
def json_empty(folder: Path) -> None:
    (folder / "run.json").write_bytes(b"")


@breaks("run", "run.json is not JSON", has_row=False)
def json_torn(folder: Path) -> None:
    path = folder / "run.json"
    path.write_bytes(path.read_bytes()[:-40])


@breaks("run", "run.json is not JSON", has_row=False)
def json_binary(folder: Path) -> None:
    (folder / "run.json").write_bytes(bytes(range(256)))


@breaks("run", "run.json is not JSON", has_row=False)
def json_nested(folder: Path) -> None:
    (folder / "run.json").write_text("[" * 100_000)


@breaks("run", "run.json holds no table", has_row=False)
def json_list(folder: Path) -> None:
    (folder / "run.json").write_text("[1, 2]")


@breaks("run", "run.json is larger than any that cxrssl writes", has_row=False)
def json_huge(folder: Path) -> None:
    with open(folder / "run.json", "r+b") as file:
        file.truncate(1 << 30)


@breaks("run", "run.json is not a plain file", has_row=False)
def json_is_a_folder(folder: Path) -> None:
    (folder / "run.json").unlink()
    (folder / "run.json").mkdir()


@breaks("run", "run.json is not a plain file", has_row=False)
def json_is_a_link(folder: Path) -> None:
    (folder / "run.json").rename(folder / "elsewhere.json")
    (folder / "run.json").symlink_to("elsewhere.json")


@breaks("run", "run.json is not a plain file", has_row=False)
def json_is_a_pipe(folder: Path) -> None:
    (folder / "run.json").unlink()
    os.mkfifo(folder / "run.json")


@breaks("run", "run.json cannot be read: permission denied", has_row=False, needs_user=True)
def json_forbidden(folder: Path) -> None:
    (folder / "run.json").chmod(0)


@breaks("run", "run.json is that of another run")
def json_of_another_run(folder: Path) -> None:
    change_json(folder / "run.json", with_value("nih-other", "run_id"))


@breaks("run", 'run.json lacks "recipe"')
def json_without_recipe(folder: Path) -> None:
    change_json(folder / "run.json", without("recipe"))


@breaks("run", 'run.json has no table in "recipe"')
def json_with_text_for_recipe(folder: Path) -> None:
    change_json(folder / "run.json", with_value("strict", "recipe"))


@breaks("run", 'run.json has no table in "recipe.model"')
def json_with_number_for_section(folder: Path) -> None:
    change_json(folder / "run.json", with_value(7, "recipe", "model"))


@breaks("run", 'run.json lacks "recipe.train.seed"')
def json_without_seed(folder: Path) -> None:
    change_json(folder / "run.json", without("recipe", "train", "seed"))


@breaks("run", 'run.json has no list of words in "recipe.ehr.features"')
def json_with_numbers_for_features(folder: Path) -> None:
    change_json(folder / "run.json", with_value([1, None], "recipe", "ehr", "features"))


@breaks("run", 'run.json has no count in "num_steps"')
def json_with_text_for_steps(folder: Path) -> None:
    change_json(folder / "run.json", with_value("many", "num_steps"))


@breaks("run", 'run.json has no count in "num_films"')
def json_with_negative_films(folder: Path) -> None:
    change_json(folder / "run.json", with_value(-3, "num_films"))


@breaks("run", 'run.json has no count in "num_steps"')
def json_with_nan_steps(folder: Path) -> None:
    change_json(folder / "run.json", with_value(float("nan"), "num_steps"))


@breaks("run", 'run.json has no text in "cohort"')
def json_with_number_for_cohort(folder: Path) -> None:
    change_json(folder / "run.json", with_value(5, "cohort"))


@breaks("run", 'run.json lacks "recipe", lacks "cohort", lacks "dataset" and 3 more faults')
def json_with_its_name_alone(folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps({"run_id": folder.name}))


@breaks("run")
def json_of_a_newer_version(folder: Path) -> None:
    newer = {"ehr": {"features": [], "fusion": "film"}, "objective": {"name": "x", "parts": [{"a": None}]}}
    change_json(folder / "run.json", lambda values: values | {"recipe": values["recipe"] | newer, "new": {"deep": [1]}})


@breaks("run")
def json_with_half_characters(folder: Path) -> None:
    change_json(folder / "run.json", with_value("\ud800 \x1b[31m", "split"))


# ---- journals and events


@breaks("run")
def first_record_without_step(folder: Path) -> None:
    put(folder, b'{"ts":1.0,"note":"x"}\n' + (folder / "metrics-0001.jsonl").read_bytes())


@breaks("run")
def journal_torn(folder: Path) -> None:
    with open(folder / "metrics-0001.jsonl", "ab") as file:
        file.write(b'{"ts":1,"step":11,"lo')


@breaks("run")
def journal_with_binary_lines(folder: Path) -> None:
    put(folder, b"\x00\xff\n\r\n" + (folder / "metrics-0001.jsonl").read_bytes() + b"\xfe\n")


@breaks("run")
def journal_with_an_endless_line(folder: Path) -> None:
    put(folder, b'{"x":"' + b"x" * 6_000_000 + b'"}\n' + (folder / "metrics-0001.jsonl").read_bytes())


@breaks("run")
def journal_with_numbers_that_are_none(folder: Path) -> None:
    odd: dict[str, Any] = {
        "loss": "nan",
        "lr": float("inf"),
        "huge": 10**400,
        "yes": True,
        "list": [1],
        "none": None,
        "epoch": "x",
    }
    write_lines(folder / "metrics-0001.jsonl", [metric(10, **odd), metric(11)])


@breaks("run", "metrics-0001.jsonl holds no record")
def journal_binary(folder: Path) -> None:
    put(folder, bytes(range(256)) * 50)


@breaks("run", "metrics-0001.jsonl holds no record")
def journal_of_something_else(folder: Path) -> None:
    put(folder, b'{"epoch":1}\n[3]\n"text"\n{"step":"7","ts":1}\n{"step":-1,"ts":1}\n')


@breaks("run", "metrics-0001.jsonl is not a plain file")
def journal_is_a_folder(folder: Path) -> None:
    (folder / "metrics-0001.jsonl").unlink()
    (folder / "metrics-0001.jsonl").mkdir()


@breaks("run", "metrics-0002.jsonl is not a plain file")
def journal_is_a_link_to_nothing(folder: Path) -> None:
    (folder / "metrics-0002.jsonl").symlink_to("nowhere")


@breaks("run")
def events_missing(folder: Path) -> None:
    (folder / "events.jsonl").unlink()


@breaks("run", "events.jsonl holds no record")
def events_binary(folder: Path) -> None:
    (folder / "events.jsonl").write_bytes(b"\xff\xfe\n" * 30)


@breaks("run", "events.jsonl is not a plain file")
def events_are_a_pipe(folder: Path) -> None:
    (folder / "events.jsonl").unlink()
    os.mkfifo(folder / "events.jsonl")


@breaks("run")
def events_of_odd_kinds(folder: Path) -> None:
    odd: list[Any] = [{"event": []}, {"event": 5, "ts": "x"}, {"event": "start", "pid": "x", "host": 3, "ts": None}]
    odd += [
        {"event": "alarm", "step": [], "what": {}},
        {"event": "stop", "ts": 10**400, "step": -1},
        {"event": "\ud800"},
    ]
    write_lines(folder / "events.jsonl", odd)


@breaks("run")
def foreign_files_beside(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "metrics-0001.jsonl.bak").write_bytes(b"\xff")
    (folder / "old").mkdir()


@breaks("run", has_row=False)
def not_begun(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "run.lock").touch()
