"""Archives that anybody may have made: each is refused in one sentence, and nothing of it is written."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import DataError, FormatError, IntegrityError
from cxrssl.core.workspace import Workspace
from cxrssl.export import archive as archives
from cxrssl.export.archive import pack_archive, read_archive
from cxrssl.export.intake import import_runs
from cxrssl.export.safe import export_runs
from tests.cli.command import run
from tests.export.results import make_results

Files = dict[str, bytes]
EVAL = "evals/record-s0-on-mimic-paper-0"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    return export_runs(make_results(folder / "w", seeds=(0,)), ["record-s0"], folder / "sound.zip").path


def read_zip(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_zip(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def with_manifest(files: Files, **changes: Any) -> Files:
    """Return the files with a manifest that is right again, but for `changes`."""
    manifest = json.loads(files["manifest.json"])
    manifest.pop("manifest_sha256")
    others = {name: data for name, data in files.items() if name != "manifest.json"}
    manifest["files"] = {name: {"sha256": archives._hash(data), "bytes": len(data)} for name, data in others.items()}
    manifest |= changes
    return {**others, "manifest.json": json.dumps({**manifest, "manifest_sha256": hash_settings(manifest)}).encode()}


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[Files], Files]:
    """Return what changes a JSON file of an archive and makes its manifest fit."""
    return lambda files: with_manifest({**files, name: json.dumps(change(json.loads(files[name]))).encode()})


def refuse(path: Path, tmp_path: Path) -> DataError:
    """Return the error of an import, which has left nothing behind."""
    workspace = Workspace(tmp_path / "w").create()
    with pytest.raises(DataError) as caught:
        import_runs(workspace, path)
    assert "\n" not in caught.value.what
    assert list(workspace.root.iterdir()) == []
    return caught.value


@pytest.mark.parametrize("cut", [0, 1, 30, 0.3, 0.9, 0.999])
def test_a_truncated_archive_is_refused(sound: Path, tmp_path: Path, cut: float) -> None:
    data = sound.read_bytes()
    (tmp_path / "a.zip").write_bytes(data[: cut if isinstance(cut, int) else int(cut * len(data))])
    assert "is no zip archive, or it is damaged" in refuse(tmp_path / "a.zip", tmp_path).what


def test_no_byte_can_be_another(sound: Path, tmp_path: Path) -> None:
    data = sound.read_bytes()
    for place in range(0, len(data), max(len(data) // 40, 1)):
        (tmp_path / "a.zip").write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            found = read_archive(tmp_path / "a.zip")
        except DataError:
            continue
        assert found.files == read_archive(sound).files  # a byte that says nothing, such as a date


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("../../evil.json", 'holds "../../evil.json"'),
        ("/etc/passwd", 'holds "/etc/passwd"'),
        ("evals/../../x/scores.json", "which no archive of cxrssl does"),
        ("evals/.hidden/scores.json", "which no archive of cxrssl does"),
        ("runs/a/encoder/encoder.safetensors", "which no archive of cxrssl does"),
        ("evals\\a\\scores.json", "which no archive of cxrssl does"),
        ("runs/a/", "which no archive of cxrssl does"),
        ("runs/ä/run.json", "which no archive of cxrssl does"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(sound: Path, tmp_path: Path, name: str, what: str) -> None:
    path = write_zip(tmp_path / "a.zip", {**with_manifest({**read_zip(sound), name: b"{}"})})
    assert what in refuse(path, tmp_path).what


def test_a_bomb_is_not_unpacked(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1 << 20)
    path = write_zip(tmp_path / "a.zip", {**read_zip(sound), "README.txt": b"0" * (1 << 21)})
    assert path.stat().st_size < 1 << 18
    assert "README.txt unpacks to more than any file" in refuse(path, tmp_path).what
    monkeypatch.setattr(archives, "MAX_BYTES", 1 << 20)
    assert "unpacks to more than any that cxrssl writes" in refuse(path, tmp_path).what
    monkeypatch.setattr(archives, "MAX_BYTES", 1 << 10)
    assert "is larger than any" in refuse(path, tmp_path).what


def test_more_is_never_read_than_a_file_says_that_it_has(sound: Path, tmp_path: Path) -> None:
    data = write_zip(tmp_path / "a.zip", {**read_zip(sound), "README.txt": b"0" * 5000}).read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert "is no zip archive, or it is damaged" in refuse(tmp_path / "a.zip", tmp_path).what


@pytest.mark.parametrize(
    ("change", "kind", "what"),
    [
        (lambda files: {**files, "README.txt": b"other"}, IntegrityError, "README.txt is not what its manifest says"),
        (lambda files: {**files, f"{EVAL}/scores.json": b"{}"}, IntegrityError, "scores.json is not what its manifest"),
        (lambda files: {k: v for k, v in files.items() if k != "README.txt"}, IntegrityError, "README.txt is missing"),
        (
            lambda files: {**files, "groups/x/numbers.json": b"{}"},
            IntegrityError,
            "groups/x/numbers.json is not in its manifest",
        ),
        (lambda files: {**files, "manifest.json": b"{}"}, DataError, "its manifest is another"),
        (lambda files: {**files, "manifest.json": b"["}, DataError, "its manifest is another"),
        (lambda files: {"a.txt": b"x"}, DataError, "no archive of cxrssl runs export: it has no manifest"),
        (lambda files: with_manifest(files, kind="encoder"), DataError, "its manifest is another"),
        (lambda files: with_manifest(files, format_version=2), FormatError, "was written by a newer cxrssl"),
        (lambda files: with_manifest(files, cuts={EVAL[6:]: "x"}), IntegrityError, "does not say what was left out"),
        (lambda files: with_manifest(files, cuts=[]), IntegrityError, "does not list its files"),
        (
            changed(f"{EVAL}/settings.json", lambda values: {**values, "where": "x"}),
            IntegrityError,
            'or a newer cxrssl wrote it: evals/record-s0-on-mimic-paper-0/settings.json has "where"',
        ),
        (changed(f"{EVAL}/scores.json", lambda values: []), IntegrityError, "scores.json holds no table"),
        (
            changed(f"{EVAL}/scores.json", lambda v: {**v, "num_films": -1}),
            IntegrityError,
            'has no count in "num_films"',
        ),
        (
            changed("runs/record-s0/run.json", lambda values: {**values, "run_id": "other"}),
            IntegrityError,
            "run.json is that of another run",
        ),
        (
            lambda files: with_manifest(
                {**files, "runs/record-s0/events.jsonl": b'{"ts":1,"event":"start","step":0}\n'}
            ),
            IntegrityError,
            "does not say that the run has ended",
        ),
        (
            lambda files: with_manifest({**files, "runs/record-s0/metrics-0001.jsonl": b'{"loss": 1}\n'}),
            IntegrityError,
            "holds records of no step",
        ),
        (
            lambda files: with_manifest({k: v for k, v in files.items() if not k.endswith("events.jsonl")}),
            IntegrityError,
            "runs/record-s0/events.jsonl is missing",
        ),
    ],
)
def test_an_archive_that_was_tampered_with_is_refused(
    sound: Path, tmp_path: Path, change: Callable[[Files], Files], kind: type[DataError], what: str
) -> None:
    error = refuse(write_zip(tmp_path / "a.zip", change(read_zip(sound))), tmp_path)
    assert type(error) is kind
    assert what in error.what


def test_one_name_twice_is_refused(sound: Path, tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", read_zip(sound))
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("README.txt", b"other")
    assert "holds README.txt twice" in refuse(tmp_path / "a.zip", tmp_path).what


def test_what_is_no_file_is_refused_without_a_wait(tmp_path: Path) -> None:
    (tmp_path / "link.zip").symlink_to(tmp_path / "nowhere")
    for path, what in (
        (tmp_path / "nowhere.zip", "the archive is missing"),
        (tmp_path, "the archive is not a plain file"),
        (tmp_path / "link.zip", "the archive is not a plain file"),
    ):
        assert what in refuse(path, tmp_path / "in").what
    shown = run("runs", "import", tmp_path / "nowhere.zip", workspace=tmp_path / "x")
    assert (shown.returncode, "cxrssl: error: the archive is missing" in shown.stderr) == (3, True)
    assert not (tmp_path / "x").exists()


def test_equal_content_gives_equal_bytes_in_any_order() -> None:
    files = {"README.txt": b"a", "evals/x/scores.json": b"{}"}
    data = pack_archive(files, {})
    assert data == pack_archive(dict(reversed(files.items())), {})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with pytest.raises(AssertionError):
        pack_archive({"weights.bin": b""}, {})
