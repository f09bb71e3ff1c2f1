"""Checkpoints of every released format still go on as they would have gone on then."""

import json
import math
import shutil

import pytest
import torch

from cxrssl.core.artefact import FORMAT_VERSION, MANIFEST, hash_settings
from cxrssl.core.errors import FormatError
from cxrssl.train.checkpoint import Checkpoints
from tests.golden.checkpoint import FOLDER, NUM_NEXT, STEP, arithmetic, resume, take_steps


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_a_checkpoint_of_each_format_gives_the_losses_that_it_gave_then(version):
    """Weights show in the first loss, moments and schedule in the second.

    Bit for bit on the kernels of the same torch and the same kind of processor; others may add in another order.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        recipe, state = resume(FOLDER / f"checkpoint-{version}", pytest.fail)
        assert state.step == STEP
        losses = take_steps(recipe, state, NUM_NEXT)
    finally:
        torch.set_num_threads(threads)
    record = json.loads((FOLDER / f"checkpoint-{version}/next.json").read_text())
    wanted = [float.fromhex(loss) for loss in record["losses"]]
    if arithmetic() == {key: record[key] for key in arithmetic()}:
        assert losses == wanted
    assert all(math.isclose(loss, then, rel_tol=1e-6) for loss, then in zip(losses, wanted, strict=True))


def test_a_checkpoint_of_a_newer_format_is_refused_with_one_sentence_though_an_older_one_is_there(tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(FOLDER / f"checkpoint-{FORMAT_VERSION}", folder)
    newest = folder / f"step-{STEP + 1:08d}"
    shutil.copytree(folder / f"step-{STEP:08d}", newest)
    manifest = json.loads((newest / MANIFEST).read_text()) | {"format_version": FORMAT_VERSION + 1}
    del manifest["manifest_sha256"]
    (newest / MANIFEST).write_text(json.dumps(manifest | {"manifest_sha256": hash_settings(manifest)}))
    with pytest.raises(FormatError) as caught:
        Checkpoints(folder, {}, 2).load_newest(pytest.fail)
    assert str(caught.value) == f"{newest.name} was written by a newer cxrssl ({newest})"
    assert caught.value.hint == "upgrade cxrssl"
