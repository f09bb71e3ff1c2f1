"""What `pretrain` takes: few flags in groups, keys of the machine like keys of the recipe, refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrssl.core.workspace import Workspace
from tests.cli.command import run

GROUPS = {"What to train", "Where to train it", "Options"}


def test_the_help_is_grouped_and_at_most_40_lines_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("pretrain", "--help").stdout.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert {line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")} == GROUPS
    assert lines.index("What to train:") < lines.index("Where to train it:") < lines.index("Options:")


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        (["--machine", "micro_bach=4"], 'unknown key "micro_bach"', 'hint: nearest is "micro_batch"'),
        (["--machine", "on_alarm=stopp"], '"on_alarm" cannot be "stopp"', "hint: known: warn, stop"),
        (["--machine", "compile=yes"], '"compile" cannot be "yes"', "hint: known: auto, on, graphs, off"),
        (["--machine", "checkpoint_every=0"], '"checkpoint_every" is 0, but must be from 1', ""),
        (["--machine", "deterministic=true", "--device", "cpu"], '"deterministic" has no effect: "device" is cpu', ""),
        (["--machine", "batch_size=8"], 'unknown key "batch_size"', "--set train.batch_size=VALUE"),
        (["--set", "train.num_threads=8"], 'unknown key "num_threads" in [train]', "--machine num_threads=VALUE"),
        (["--device", "gpu"], '"device" cannot be "gpu"', "hint: known: auto, cpu, cuda"),
    ],
)
def test_a_wrong_key_of_the_machine_is_one_sentence_and_exit_2(
    tmp_path: Path, words: list[str], what: str, hint: str
) -> None:
    result = run("pretrain", *words, workspace=Workspace(tmp_path / "ws").create().root)
    assert (result.returncode, result.stdout) == (2, "")
    assert what in result.stderr
    assert hint in result.stderr
    assert len(result.stderr.splitlines()) <= 2
