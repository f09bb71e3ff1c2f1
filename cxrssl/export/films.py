"""Films that a fitted probe is applied to: those of a folder, packed as its own were, or those of a cohort.

In: a folder or a cohort, how the films of the probe were packed. Out: Films, a row for each that cannot be scored too.
Never: films that were packed in another way.

Suffix letter: N films.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.again import name_ingest
from cxrssl.cohort.walk import Place, scan
from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.export.ids import Ids, name_all
from cxrssl.images.decode import Choices
from cxrssl.images.index import read_rejects
from cxrssl.images.pack import pack_images
from cxrssl.images.store import ImageStore, open_images
from cxrssl.records.packing import Pack, explain_unlike_packs, pack_options, read_pack
from cxrssl.train.pooled import open_films


@dataclass(frozen=True, eq=False)
class Films:
    """Films that are scored, with a row for each that cannot be."""

    ids: dict[str, NDArray[np.str_]]
    images: ImageStore
    faults: dict[int, str]
    """Row -> why it has no scores."""


def open_cohort_films(workspace: Workspace, name: str, pack: Pack, ids: Ids) -> Films:
    """Return the films of a cohort. Raises: DataError when they are packed in another way."""
    cohort, images = open_films(workspace, name)
    unlike = explain_unlike_packs(read_pack(images.path), pack, cohort.path.tolist())
    if unlike:
        again = name_ingest(cohort.source, cohort.name, pack_options(pack))
        what = f"the films of cohort {cohort.name} are packed {unlike}"
        raise DataError(what, images.path, f"pack them as those of the probe: {again}")
    rules = {reject.image_id: reject.rule for reject in read_rejects(images.path)}
    absent = np.flatnonzero(~images.is_packed_N).tolist()
    faults = {row: rules.get(str(cohort.image_id[row]), "not packed") for row in absent}
    own = cohort.image_id, cohort.subject_id
    named = own if ids == "dataset" else name_all(cohort, *own)
    return Films(dict(zip(("image_id", "subject_id"), named, strict=True)), images, faults)


def pack_folder(folder: Path, pack: Pack, scratch: Path, num_workers: int) -> Films:
    """Return the films of a folder, packed as those of the probe were. Raises: DataError when there is none."""
    paths = list(_list_files(Place(str(folder)), ""))
    if not paths:
        raise DataError("the folder holds no file", folder, "name a folder of PNG, JPEG or DICOM films")
    how = Choices(pack.by_shape, pack.png_bits)
    packed = pack_images(
        scratch / "images",
        folder,
        paths,
        paths,
        size_px=pack.size_px,
        cohort_sha256="",
        num_workers=num_workers,
        choices=how,
    )
    row_of = {path: row for row, path in enumerate(paths)}
    faults = {row_of[reject.image_id]: reject.rule for reject in packed.rejects}
    return Films({"film": np.array(paths, np.str_)}, open_images(scratch / "images", verify=False), faults)


def _list_files(place: Place, prefix: str) -> Iterator[str]:
    """Yield the paths of all files under a folder, relative to it, without hidden ones, in order of their names."""
    found = scan(place)
    for name in sorted((*found.files, *found.folders, *found.lost)):
        if name.startswith("."):
            continue
        if name in found.folders:
            yield from _list_files(found.folders[name], f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}"
