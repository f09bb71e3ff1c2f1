"""A word that cannot be is refused at once: before torch is loaded, which takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cxrssl.cohort.ingest import IngestOptions
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import open_images
from cxrssl.ingest import ingest_dataset
from tests.export.encoders import publish_run
from tests.records.folders import make_run
from tests.world import make_workspace

WITHOUT_TORCH = """
import json, sys
sys.modules["torch"] = None  # whoever imports it ends with a bug, exit code 1
from cxrssl.cli.app import run
print(json.dumps([run(words) for words in json.loads(sys.argv[1])]))
"""
NIH = "--cohort", "nih"
REFUSED = [
    (("probe", "none"), 2, 'no run "none"'),
    (("probe", "begun"), 3, "run begun is not finished"),
    (("probe", "own", "--cohort", "other"), 2, 'no cohort "other"'),
    (("probe", "own", "--cohort", "bare"), 3, "the films of cohort bare are not packed"),
    (("probe", "own", *NIH, "--split", "icu"), 2, 'cohort "nih" has no split "icu"'),
    (("probe", "own", *NIH, "--folds", "5", "--split", "hash"), 2, "--split has no effect"),
    (("probe", "own", *NIH, "--findings", "Effusio"), 2, 'no finding "Effusio"'),
    (("probe", "own", *NIH, "--uncertain", "Effusio=ones"), 2, 'no finding "Effusio"'),
    (("probe", "own", *NIH, "--where", "vieww = 1"), 2, "--where"),
    (("probe", "own", *NIH, "--where", "age_y > 500"), 3, "no film of cohort nih meets --where 'age_y > …'"),
    (("probe", "own", *NIH, "--head"), 3, "run own has no head of its own"),
    (("probe", "own", *NIH, "--head", "--folds", "5"), 2, "--folds fits a probe for each fold"),
    (("probe", "own", *NIH, "--with", "mortality"), 2, "is known only after the film"),
    (("probe", "own", *NIH, "--test-on", "nih"), 2, "the cohort that the probe is fitted on"),
    (("probe", "own", *NIH, "--test-on", "bare"), 3, "the films of cohort bare are not packed"),
    (("probe", "--external", "nowhere", *NIH), 3, "there is no such file or folder"),
    (("probe", "--external", ".", "--seen-films", "nowhere", *NIH), 3, "no such list of training films"),
    (("predict", "own", "."), 3, "run own has not been probed"),
    (("predict", "none", "."), 2, 'no run "none"'),
    (("embed", "own", "--ids", "mine"), 2, '--ids is "mine"'),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a run that is finished, one that is not, and a cohort whose films are not packed."""
    folder = tmp_path_factory.mktemp("quick")
    made = make_workspace(folder, num_patients=12)
    packed = open_images(made.images / "nih")
    publish_run(made, "own", dataset="nih", cohort="nih", images_sha256=packed.content_sha256)
    make_run(made, "begun", range(2))
    ingest_dataset(made, IngestOptions("nih", folder / "nih", name="bare", may_pack=False))
    return made


def test_what_cannot_be_is_refused_before_torch_is_loaded(workspace: Workspace, tmp_path: Path) -> None:
    commands = [[*words, "--workspace", str(workspace.root)] for words, _, _ in REFUSED]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, json.dumps(commands)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = done.stderr.split("cxrssl: error: ")[1:]
    for (words, code, what), text, found in zip(REFUSED, said, json.loads(done.stdout), strict=True):
        assert (found, what in text) == (code, True), (words, text)
    assert "load torch" not in done.stderr
    assert list(tmp_path.iterdir()) == []
