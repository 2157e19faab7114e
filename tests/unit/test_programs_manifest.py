"""Manifests, and the catalogue that is loaded from folders."""

from __future__ import annotations

import copy
import hashlib
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ambient_vcp.adapters.catalogue import loader
from ambient_vcp.domain.errors import InvalidInputError, NotFoundError
from ambient_vcp.domain.programs.parse_manifest import parse_manifest

TABLE: dict[str, Any] = {
    "name": "double",
    "title": "Double",
    "summary": "Doubles a number.",
    "version": "1.0.0",
    "interface": "bytes",
    "sha256": "0" * 64,
    "limits": {"fuel_max": 1000, "memory_bytes_max": 65536, "output_bytes_max": 100},
    "input": [{"name": "n", "kind": "integer", "meaning": "A number.", "min": -5, "max": 5}],
    "result": [{"name": "twice", "kind": "integer", "meaning": "Its double."}],
    "error": [{"code": "odd", "meaning": "It is odd."}],
    "example": [{"input": {"n": 2}, "result": {"twice": 4}}],
}

Change = Callable[[dict[str, Any]], object]


def test_a_manifest_is_read_whole() -> None:
    manifest = parse_manifest(TABLE)
    assert (manifest.name, manifest.limits.fuel_max, manifest.notes) == ("double", 1000, "")
    assert (manifest.inputs[0].minimum, manifest.inputs[0].maximum) == (-5, 5)
    assert manifest.inputs[0].is_required
    assert [error.code for error in manifest.errors] == ["odd", "bad_input"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda t: t.pop("title"), "title"),
        (lambda t: t.update(name="Double"), "name"),
        (lambda t: t.update(interface="wasi"), "interface"),
        (lambda t: t.update(sha256="abc"), "sha256"),
        (lambda t: t.update(colour="red"), "colour"),
        (lambda t: t.update(limits=[]), "limits"),
        (lambda t: t["limits"].update(fuel_max=0), "limits.fuel_max"),
        (lambda t: t["limits"].update(fuel_max=True), "limits.fuel_max"),
        (lambda t: t["input"][0].update(kind="float"), "input[0].kind"),
        (lambda t: t["input"][0].pop("max"), "input[0]"),
        (lambda t: t["input"][0].update(maximum=4), "input[0].maximum"),
        (lambda t: t["input"][0].update(choices=["a"]), "input[0].choices"),
        (lambda t: t["input"].append(t["input"][0]), "input"),
        (lambda t: t.update(result=[]), "input and result"),
        (lambda t: t["error"].append({"code": "bad_input", "meaning": "?"}), "error"),
        (lambda t: t["example"][0].update(error={"code": "odd"}), "example[0]"),
        (lambda t: t.update(input=[{}] * 17), "input"),
    ],
)
def test_a_slip_in_a_manifest_is_refused_by_name(change: Change, where: str) -> None:
    table = copy.deepcopy(TABLE)
    change(table)
    with pytest.raises(InvalidInputError) as caught:
        parse_manifest(table)
    assert caught.value.where == f"manifest: {where}"


def test_the_shipped_catalogue_loads_and_knows_no_other_names() -> None:
    catalogue = loader.load_catalogue()
    shipped = {"expression", "matrix_multiply", "monte_carlo_pi", "sort", "text_statistics"}
    assert shipped <= set(catalogue.names())
    for program in catalogue.programs:
        digest = hashlib.sha256(program.module).hexdigest()
        assert program.manifest.module_digest == digest
        assert digest in program.page
    with pytest.raises(NotFoundError):
        catalogue.get("quine")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shipped = Path(loader.__file__).parent / "programs/sort"
    shutil.copytree(shipped, tmp_path / "sort")
    return tmp_path


def test_a_folder_with_a_manifest_is_a_program(folder: Path) -> None:
    (folder / "notes").mkdir()
    assert loader.load_catalogue(folder).names() == ("sort",)


@pytest.mark.parametrize("name", ["program.wasm", "page.md"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / "sort" / name).unlink()
    with pytest.raises(InvalidInputError) as caught:
        loader.load_catalogue(folder)
    assert caught.value.where == f"sort/{name}"


def test_a_module_that_is_not_the_stated_one_is_refused(folder: Path) -> None:
    module = folder / "sort/program.wasm"
    module.write_bytes(module.read_bytes() + b"\0")
    with pytest.raises(InvalidInputError, match="has the digest"):
        loader.load_catalogue(folder)


def test_a_manifest_in_a_folder_of_another_name_is_refused(folder: Path) -> None:
    (folder / "sort").rename(folder / "order")
    with pytest.raises(InvalidInputError, match="the name of its folder"):
        loader.load_catalogue(folder)


@pytest.mark.parametrize("content", [b"\xff", b"name = ", b"#" * (64 * 1024 + 1)])
def test_a_manifest_that_is_no_small_toml_file_is_refused(folder: Path, content: bytes) -> None:
    (folder / "sort/manifest.toml").write_bytes(content)
    with pytest.raises(InvalidInputError) as caught:
        loader.load_catalogue(folder)
    assert caught.value.where == "sort/manifest.toml"


def test_every_shipped_manifest_has_only_examples_that_fit_its_fields() -> None:
    for path in (Path(loader.__file__).parent / "programs").glob("*/manifest.toml"):
        manifest = parse_manifest(tomllib.loads(path.read_text()))
        names = {field.name for field in manifest.inputs}
        results = {field.name for field in manifest.results}
        for example in manifest.examples:
            assert set(example.input) <= names
            assert example.result is None or set(example.result) == results
