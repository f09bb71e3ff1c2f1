"""What an encoder that is fine-tuned says of val and test films after some of the epochs.

In: a run, the state of its model after each step. Out: a file of log odds for each scored epoch, in the run's folder.
Never: a weight that changes.

Suffix letters: R films that are scored, L findings.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import IntegrityError
from cxrssl.evaluate.protocol import Protocol
from cxrssl.evaluate.shown import ShownFilms, encode_boxes
from cxrssl.model.encoder import Encoder
from cxrssl.model.supervised import Supervised
from cxrssl.records.arrays import UNREADABLE
from cxrssl.stats.metrics import Floats
from cxrssl.train.plan import RunPlan
from cxrssl.train.state import TrainState

BATCH_FILMS = 64
FOLDER = "scored"


def scored_epochs(num_epochs: int, every: int) -> list[int]:
    """Return after which epochs films are scored, counted from 1: the first, each so many later, and the last."""
    return sorted({*range(1, num_epochs + 1, every), num_epochs})


@dataclass(frozen=True, eq=False)
class ScoredEpochs:
    """The scored epochs of a run; a run that resumes scores an epoch again, or has done so before its checkpoint."""

    run: RunPlan
    encoder: Encoder
    """Before it is fine-tuned."""
    protocol: Protocol
    rows_R: NDArray[np.int64]
    """Of the cohort, in order."""
    epochs: Sequence[int]

    def score(self, state: TrainState) -> None:
        """Write what the model says of the films, if this step ends a scored epoch."""
        epoch, rest = divmod(state.step, self.run.steps_per_epoch)
        if rest or epoch not in self.epochs:
            return
        model, images = state.model, self.run.images
        assert isinstance(model, Supervised), "the recipe fine-tunes"
        tuned = replace(self.encoder, module=model.published, recipe=self.run.recipe)
        shown = ShownFilms(tuned, images, model.device, self.protocol, np.zeros((0, 0), np.float32))
        was_training = model.training
        model.eval()
        logits = []
        with torch.no_grad():
            for start in range(0, len(self.rows_R), BATCH_FILMS):
                features = encode_boxes(shown, self.rows_R[start : start + BATCH_FILMS], None, images.size_px)
                logits.append(model.head(torch.from_numpy(features).to(model.device)).float().cpu().numpy())
        model.train(was_training)
        buffer = io.BytesIO()
        np.savez(buffer, rows=self.rows_R, logits=np.concatenate(logits))
        self._path(epoch).parent.mkdir(exist_ok=True)
        write_bytes(self._path(epoch), buffer.getvalue())

    def read(self, epoch: int) -> Floats:
        """Return the log odds after an epoch, [R, L]. Raises: IntegrityError."""
        path = self._path(epoch)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                rows, logits = arrays["rows"], np.asarray(arrays["logits"], np.float64)
        except (KeyError, *UNREADABLE):
            rows, logits = np.zeros(0, np.int64), np.zeros((0, 0))
        if not np.array_equal(rows, self.rows_R) or logits.shape != (len(rows), len(self.run.finding_names)):
            what = f"what run {self.run.run_id} said of films after epoch {epoch} is gone or damaged"
            raise IntegrityError(what, path, "remove the folder of that run, and give the same command again")
        return logits

    def _path(self, epoch: int) -> Path:
        return self.run.folder / FOLDER / f"epoch-{epoch:04d}.npz"
