"""stdout and stderr that are full, closed, left by their reader, or of another encoding; and where tracebacks go."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from cxrssl.cli import app, options, streams
from cxrssl.core.errors import SetupError
from cxrssl.core.text import plain_lines
from cxrssl.core.workspace import Workspace
from tests.cli.command import run
from tests.golden.help import command_words
from tests.world import make_workspace


class Failing(io.RawIOBase):
    """A file whose every write fails."""

    def __init__(self, number: int) -> None:
        self.number = number

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise OSError(self.number, os.strerror(self.number))


def failing(number: int = errno.ENOSPC) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(Failing(number)), encoding="utf-8")


def run_with(out: io.TextIOWrapper, err: io.TextIOWrapper, *words: str) -> int:
    with redirect_stdout(out), redirect_stderr(err):
        return app.run(words)


def memory(encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def bytes_of(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=6)


PRINTING = [
    "--version", "help", "help films", "doctor", "doctor --json", "recipe list",
    "recipe show strict", "recipe diff strict paper", "recipe keys", "recipe keys --json", "cohort list WORKSPACE",
    "cohort show WORKSPACE", "cohort show --json WORKSPACE", "cohort audit WORKSPACE", "cohort flow WORKSPACE",
    "cohort export WORKSPACE", "dashboard --once WORKSPACE", "dashboard --json WORKSPACE", "sql --tables WORKSPACE",
    "ingest nih DATA --size 48 WORKSPACE",
    *(f"sql --{form} --limit=9 FROM_FILM WORKSPACE" for form in ("json", "csv")), "sql FROM_FILM WORKSPACE",
]  # fmt: skip


def split(line: str, workspace: Workspace) -> list[str]:
    named = {"WORKSPACE": f"--workspace={workspace.root}", "FROM_FILM": "FROM film"}
    named["DATA"] = str(workspace.root.parent / "nih")
    return [named.get(word, word) for word in line.split()]


@pytest.mark.parametrize("line", [*PRINTING, *(f"{words} --help".strip() for words in command_words())])
def test_a_full_stdout_is_exit_4_at_every_command_and_a_reader_that_leaves_is_none(
    line: str, workspace: Workspace
) -> None:
    words, err = split(line, workspace), memory()
    assert run_with(failing(), err, *words) == 4
    assert b"cxrssl: error: cannot write to stdout: no space left on device\n" in bytes_of(err)
    err = memory()
    assert run_with(failing(errno.EPIPE), err, *words) == 0
    assert b"error" not in bytes_of(err)


def test_a_reader_that_leaves_takes_no_exit_code_with_it(workspace: Workspace) -> None:
    code = run_with(failing(errno.EPIPE), memory(), "doctor", str(workspace.root), f"--workspace={workspace.root}")
    assert code == 3


def test_what_stderr_does_not_take_is_dropped(workspace: Workspace) -> None:
    assert run_with(memory(), failing(), "recipe", "show", "no-such") == 2
    out = memory()
    assert run_with(out, failing(), "ingest", "nih", *split("DATA --size 48 WORKSPACE", workspace)) == 0
    assert b"12 of 12 films" in bytes_of(out)


@pytest.mark.parametrize("redirect", [">/dev/full", ">&-"])
def test_a_process_without_a_stdout_that_works_says_so_once(redirect: str) -> None:
    for words in ("--version", "recipe keys"):
        shell = f"{sys.executable} -m cxrssl {words} {redirect}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
        assert (done.returncode, len(done.stderr.splitlines())) == (4, 2), done.stderr
        assert done.stderr.startswith("cxrssl: error: cannot write to stdout: ")
    shell = f"{sys.executable} -m cxrssl recipe show no-such 2>/dev/full"
    assert subprocess.run(["bash", "-c", shell]).returncode == 2


@pytest.mark.parametrize("redirect", ["<&-", "< <(printf '\\xff')"])
def test_a_query_on_a_stdin_that_cannot_be_read_is_one_sentence(redirect: str, workspace: Workspace) -> None:
    shell = f"{sys.executable} -m cxrssl sql - --workspace {workspace.root} {redirect}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("cxrssl: error: stdin ")


def test_a_query_on_stdin_is_read_as_utf_8_in_every_locale(workspace: Workspace) -> None:
    query = "SELECT 'ü▸' AS \"名\"".encode()
    command = [sys.executable, "-m", "cxrssl", "sql", "-", "--json", "--workspace", str(workspace.root)]
    done = subprocess.run(command, input=query, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, b'[{"\\u540d": "\\u00fc\\u25b8"}]\n'), done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("line", [line for line in PRINTING if "completion" not in line])
def test_what_an_encoding_lacks_is_replaced(line: str, encoding: str, workspace: Workspace) -> None:
    out, err = memory(encoding), memory(encoding)
    assert run_with(out, err, *split(line, workspace)) == 0, bytes_of(err)
    bytes_of(out).decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_error_in_another_encoding_keeps_its_exit_code(encoding: str, tmp_path: Path) -> None:
    err, place = memory(encoding), tmp_path / "Röntgen▸\udcff"
    assert run_with(memory(), err, "cohort", "list", "--workspace", str(place)) == 3
    assert b"R?ntgen?" in bytes_of(err).replace("ö".encode("latin-1"), b"?")


def test_the_hint_to_a_wrong_option_names_the_help_of_its_command() -> None:
    for words in command_words():
        result = run(*words.split(), "--no-such-option")
        assert result.returncode == 2
        assert result.stderr.endswith(f"\n  hint: {' '.join(['cxrssl', *words.split(), '--help'])}\n")


def test_the_traceback_of_a_bug_lies_in_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("an 8 in a name: \udc80 ▸")

    workspace = Workspace(tmp_path / "ws").create()
    for place, words in [(workspace.root, ["cohort", "list"]), (tmp_path / "absent", ["doctor"])]:
        monkeypatch.setattr(Workspace, "cohort_names", fail)
        monkeypatch.setattr("cxrssl.cli.doctor._examine_machine", fail)
        result = run(*words, workspace=place)
        assert result.returncode == 1
        (name,) = re.findall(r"\n  at (\S+)\n", result.stderr)
        path = Path(name)
        assert (path.parent == workspace.tracebacks) == (place == workspace.root)
        text = path.read_text(encoding="utf-8")
        assert "RuntimeError: an … in a name: …" in text
        assert text.count("raise RuntimeError(") == 1
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.unlink()
    assert stat.S_IMODE(workspace.tracebacks.stat().st_mode) == 0o700
    assert not (tmp_path / "absent").exists()


def test_a_bug_without_a_workspace_does_not_use_that_of_an_earlier_command(tmp_path: Path) -> None:
    run("cohort", "list", workspace=Workspace(tmp_path / "ws").create().root)
    with redirect_stdout(memory()):
        assert app.run(["recipe", "list"]) == 0
    assert options.tracebacks_folder() is None


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 4), (errno.EACCES, 4), (errno.EPIPE, 1), (errno.EBADF, 1)])
def test_a_refusal_of_the_machine_is_no_bug_and_a_broken_pipe_within_is_no_success(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Workspace, "cohort_names", fail)
    result = run("cohort", "list", workspace=Workspace(tmp_path / "ws").create().root)
    assert result.returncode == code
    assert ("a bug" in result.stderr) == (code == 1)


def test_no_memory_is_exit_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Workspace, "cohort_names", fail)
    assert run("cohort", "list", workspace=Workspace(tmp_path / "ws").create().root).returncode == 4


def test_the_streams_carry_no_control_characters() -> None:
    out, err = memory(), memory()
    with redirect_stdout(out), redirect_stderr(err), streams.guarded_streams():
        for stream in (sys.stdout, sys.stderr):
            stream.writelines(["a\x1b[31mb\x07\n", "\tc\r\x9b\u202e\u200b\ufffe\U000e0001 d\n"])
    assert bytes_of(out) == bytes_of(err) == plain_lines("a�[31mb�\n\tc������ d\n").encode()


def test_a_stdout_that_failed_stays_failed() -> None:
    with redirect_stdout(failing()), streams.guarded_streams():
        for _ in range(2):
            with pytest.raises(SetupError):
                sys.stdout.write("x" * 100_000)


def test_files_are_read_as_utf_8_in_every_locale(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("# Größe ▸\n[train]\nseed = 5\n", encoding="utf-8")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for words in (["recipe", "show", str(tmp_path / "mine.toml")], ["recipe", "list"], ["help", "method"]):
        command = [sys.executable, "-m", "cxrssl", *words]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **locale})
        assert done.returncode == 0, done.stderr
