"""A dataset found in a folder by its own file names, and a list of the films that are on the disk.

In: a folder. Out: paths, and a map from film path to size. Never: a write, or a guess between two candidates.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cxrssl.cohort.walk import Place, scan
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.filmfile import FilmFolder
from cxrssl.core.progress import track
from cxrssl.core.text import plain

MAX_SEARCH_DEPTH = 5
MAX_FILM_DEPTH = 12
FILM_SUFFIXES = (".jpg", ".jpeg", ".png")
# Folders of films hold up to 112,120 names and never a table: MIMIC-CXR's files/p10 to p19, NIH's images, CheXpert's
# patients. The search enters "files": a wget mirror of PhysioNet is physionet.org/files/<project>/<version>.
FILM_FOLDER = re.compile(r"p[0-9]{2}|images(_[0-9]+)?|patient[0-9]+|\..*")


@dataclass(frozen=True)
class SourceFile:
    """A file of the dataset, and its name in reports."""

    path: Path
    shown: str


@dataclass(frozen=True)
class Layout:
    """The places of the parts of one dataset."""

    dataset: str
    root: Path
    """Film paths are relative to it."""
    files: dict[str, SourceFile]
    film_folders: tuple[str, ...]
    """Relative to the root; "" is the root itself."""
    remarks: list[str] = field(default_factory=list)
    film_suffixes: tuple[str, ...] = FILM_SUFFIXES
    """How the name of a film ends; "" is every file."""
    versions: dict[str, str] = field(default_factory=dict)
    """Part -> its version, as far as the folder shows it."""
    film_tables: tuple[str, ...] = ()
    """Those of `files` whose rows are films."""
    missing: list[DataError] = field(default_factory=list)
    """What is needed and absent: ingest raises the first, doctor reports all."""
    links: Path | None = None
    """The folder elsewhere that links among the films may lead into."""
    has_headers: bool = False
    """Whether the cohort is made of the headers of its films too."""
    unread: list[str] = field(default_factory=list)
    """Films whose header could not be read for the moment; filled while they are read."""
    modules: dict[str, Path] = field(default_factory=dict)
    """Name of a folder of hospital tables, as "hosp" -> where it is."""

    @property
    def film_folder(self) -> FilmFolder:
        return FilmFolder(self.root, self.links)


@dataclass(frozen=True)
class Folder:
    """One folder of a search."""

    path: Path
    files: frozenset[str]
    folders: frozenset[str]


def check_folder(path: Path, what: str) -> Path:
    """Return the absolute path of an existing folder.

    Raises: UsageError when it does not exist.
    """
    if not path.exists():
        raise UsageError(f"there is no such folder for {what}", path, "check the path")
    if not path.is_dir():
        raise UsageError(f"{what} must be a folder, not a file", path)
    return path.absolute()


def check_apart(workspace: Path, folders: Iterable[Path]) -> None:
    """Raise UsageError if the workspace lies in one of these folders of a dataset, which are never written to."""
    for folder in folders:
        if workspace.resolve().is_relative_to(folder.resolve()):
            hint = "name another folder with --workspace"
            raise UsageError("the workspace lies inside the dataset folder", workspace, hint)


def iter_folders(root: Path, depth: int = MAX_SEARCH_DEPTH) -> Iterator[Folder]:
    """Yield `root` and the folders under it in the order of their names, without entering folders of films."""
    return _iter_folders(Place(str(root)), depth)


def _iter_folders(place: Place, depth: int) -> Iterator[Folder]:
    found = scan(place)
    yield Folder(Path(place.path), frozenset(found.files), frozenset(found.folders))
    if depth > 0:
        for name in sorted(found.folders):
            if not FILM_FOLDER.fullmatch(name):
                yield from _iter_folders(found.folders[name], depth - 1)


def find_one_folder(root: Path, what: str, is_wanted: Callable[[Folder], bool], looked_for: str) -> Path:
    """Return the only folder under `root` that `is_wanted`.

    Raises: DataError when there is none, UsageError when there are several.
    """
    found = find_folder(root, what, is_wanted)
    if found is None:
        raise DataError(f"no {what} found", root, f"looked for {looked_for}, {MAX_SEARCH_DEPTH} folders deep")
    return found


def find_folder(root: Path, what: str, is_wanted: Callable[[Folder], bool]) -> Path | None:
    """Return the only folder under `root` that `is_wanted`, or None.

    Raises: UsageError when there are several.
    """
    found = {folder.path.resolve(): folder.path for folder in iter_folders(root) if is_wanted(folder)}
    if len(found) > 1:
        places = ", ".join(plain(path) for path in sorted(found.values()))
        raise UsageError(f"{len(found)} folders look like {what}: {places}", root, "name one of them")
    return next(iter(found.values()), None)


def has_table(folder: Folder, stem: str) -> bool:
    """Return whether the folder has `<stem>.csv` or `<stem>.csv.gz`."""
    return f"{stem}.csv" in folder.files or f"{stem}.csv.gz" in folder.files


def has_file(folder: Path, stem: str) -> bool:
    """Return whether `<stem>.csv` or `<stem>.csv.gz` lies in the folder."""
    return (folder / f"{stem}.csv").is_file() or (folder / f"{stem}.csv.gz").is_file()


def pick_file(folder: Path, name: str, remarks: list[str], prefix: str = "") -> SourceFile:
    """Return `<name>.gz`, the form that publishers ship and hash, else `<name>`, its unpacked form.

    Raises: DataError when neither exists.
    """
    packed, unpacked = folder / f"{name}.gz", folder / name
    if packed.is_file():
        if unpacked.is_file():
            remarks.append(f"{prefix}{name} and {prefix}{name}.gz are both there: {prefix}{name}.gz was read")
        return SourceFile(packed, f"{prefix}{name}.gz")
    if unpacked.is_file():
        return SourceFile(unpacked, f"{prefix}{name}")
    raise DataError(f"{prefix}{name}.gz is missing", packed, f"the unpacked {prefix}{name} works as well")


def list_films(
    root: Path, folders: Sequence[str], suffixes: tuple[str, ...] = FILM_SUFFIXES, remarks: list[str] | None = None
) -> dict[str, int]:
    """Return path relative to `root` -> size in bytes for every film in `folders`, by one walk and one stat a film.

    `remarks` gets the number of links that lead to no film.
    """
    films: dict[str, int] = {}
    lost: list[str] = []
    tops: list[_Waiting] = []
    for name in folders:
        if (root / name).is_dir():
            start = _Waiting(f"{name}/" if name else "", Place(os.path.join(root, name)), MAX_FILM_DEPTH + 1)
            tops += _take_films(start, suffixes, films, lost)
    with track("list films", len(tops), "folders") as progress:
        for top in tops:
            waiting = [top]
            while waiting:
                waiting += _take_films(waiting.pop(), suffixes, films, lost)
            progress.advance()
    if lost and remarks is not None:
        remarks.append(f"links that lead nowhere, or round in a circle: {len(lost):,}")
    return films


class _Waiting(NamedTuple):
    prefix: str
    place: Place
    depth: int


def _take_films(
    here: _Waiting, suffixes: tuple[str, ...], films: dict[str, int], lost: list[str]
) -> Iterator[_Waiting]:
    """Add the films of a folder to `films`, and yield the folders in it."""
    found = scan(here.place)
    films.update((here.prefix + name, size) for name, size in found.files.items() if name.lower().endswith(suffixes))
    lost += found.lost
    if here.depth > 0:
        for name, folder in found.folders.items():
            yield _Waiting(f"{here.prefix}{name}/", folder, here.depth - 1)


def leave_unwritable(films: dict[str, int]) -> list[str]:
    """Remove the films whose path is not UTF-8, which no table can hold, and return a remark on their number."""
    unwritable = [path for path in films if not path.isascii() and any("\ud800" <= char <= "\udfff" for char in path)]
    for path in unwritable:
        del films[path]
    return [f"films ignored because their names are not UTF-8: {len(unwritable):,}"] if unwritable else []


def hash_listing(films: Mapping[str, int]) -> str:
    """Return a hash of the names and sizes of the films."""
    digest = hashlib.sha256()
    for path in sorted(films):
        digest.update(f"{path}\0{films[path]}\n".encode())
    return digest.hexdigest()
