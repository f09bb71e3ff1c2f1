"""What the package says of itself: licence, citation, tested versions."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cxrssl

ROOT = Path(__file__).parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]
CONSTRAINTS = (ROOT / "cxrssl/constraints.txt").read_text().splitlines()


def pins(lines: list[str]) -> dict[str, str]:
    """Return name -> version of lines such as "numpy==2.4.6"."""
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def needed_by(name: str) -> set[str]:
    """Return what an installed package needs here, its extras left out."""
    requirements = map(Requirement, distribution(name).requires or [])
    needed = (each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""}))
    return {canonicalize_name(each.name) for each in needed}


def test_the_licence_lies_in_the_package_and_is_the_one_that_is_declared() -> None:
    assert PROJECT["license"] == "MIT"
    assert PROJECT["license-files"] == ["cxrssl/LICENSE"]
    text = (ROOT / "cxrssl/LICENSE").read_text()
    assert text.startswith("MIT License\n")
    assert re.search(rf"Copyright \(c\) [0-9]{{4}} {PROJECT['authors'][0]['name']}\n", text)


def test_the_citation_has_what_cff_needs_and_is_of_this_version() -> None:
    citation: dict[str, Any] = importlib.import_module("yaml").safe_load((ROOT / "cxrssl/CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # the keys that CFF 1.2.0 requires
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["authors"] == PROJECT["authors"]
    assert citation["license"] == PROJECT["license"]
    assert citation["version"] == PROJECT["version"] == cxrssl.__version__
    for work in citation["references"]:
        assert {"type", "title", "authors"} <= set(work), work["title"]


def test_the_tested_versions_are_plain_pins_that_name_no_host() -> None:
    assert len(CONSTRAINTS) > 50
    for line in CONSTRAINTS:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line), line


def test_the_tested_versions_are_those_that_uv_installs() -> None:
    ours, uvs = pins(CONSTRAINTS), pins(PYPROJECT["tool"]["uv"]["constraint-dependencies"])
    shared = ours.keys() & uvs.keys()
    assert {name: ours[name] for name in shared} == {name: uvs[name] for name in shared}
    for line in itertools.chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        assert canonicalize_name(Requirement(line).name) in shared


def test_the_tested_versions_name_all_that_they_need_themselves() -> None:
    ours = pins(CONSTRAINTS)
    for name, version in ours.items():
        with contextlib.suppress(PackageNotFoundError):
            if distribution(name).version == version:  # another version may need other packages
                assert needed_by(name) <= set(ours), name
