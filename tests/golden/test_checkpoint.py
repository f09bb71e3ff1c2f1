"""Checkpoints of every released format still go on as they would have gone on then."""

import json
import shutil
from pathlib import Path

import pytest

from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import FormatError
from cxrssl.core.manifest import FORMAT_VERSION, MANIFEST
from cxrssl.train.checkpoint import Checkpoints
from tests.golden.checkpoint import FOLDER, NUM_NEXT, STEP, resume, take_steps
from tests.small_runs import fail_on_damage

TOLERANCE = 1e-5
"""Two steps on processors of two makers, both with AVX-512, were 2e-6 apart."""


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_a_checkpoint_of_each_format_gives_the_losses_that_it_gave_then(version: int) -> None:
    """Weights show in the first loss, moments and schedule in the second."""
    recipe, state = resume(FOLDER / f"checkpoint-{version}", fail_on_damage)
    assert state.step == STEP
    losses = take_steps(recipe, state, NUM_NEXT)
    wanted = json.loads((FOLDER / f"checkpoint-{version}/next.json").read_text())["losses"]
    assert losses == pytest.approx(wanted, rel=TOLERANCE)


def test_a_checkpoint_of_a_newer_format_is_refused_with_one_sentence_though_an_older_one_is_there(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(FOLDER / f"checkpoint-{FORMAT_VERSION}", folder)
    newest = folder / f"step-{STEP + 1:08d}"
    shutil.copytree(folder / f"step-{STEP:08d}", newest)
    manifest = json.loads((newest / MANIFEST).read_text()) | {"format_version": FORMAT_VERSION + 1}
    del manifest["manifest_sha256"]
    (newest / MANIFEST).write_text(json.dumps(manifest | {"manifest_sha256": hash_settings(manifest)}))
    with pytest.raises(FormatError) as caught:
        Checkpoints(folder, {}, 2).load_newest(fail_on_damage)
    assert str(caught.value) == f"{newest.name} was written by a newer cxrssl ({newest})"
    assert caught.value.hint == "upgrade cxrssl"
