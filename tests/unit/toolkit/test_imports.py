"""The folders of the toolkit are layers, called floors: a module imports only from its own floor and lower ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.unit.toolkit.conftest import CHECKOUT

FLOORS = ("core", "checkout", "engine", "images", "policy", "validate", "observe", "checks", "operate", "tasks")
"""From lowest to highest, as in docs/architecture.md."""

MODULES = {
    ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"): path.read_text("utf-8")
    for path in (CHECKOUT / "toolkit").rglob("*.py")
}


def imported(source: str) -> Iterator[str]:
    """The names that a module imports from the toolkit, at any level; each may be a module or an object in one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in found if name.startswith("toolkit."))


def upwards(module: str, source: str) -> list[str]:
    """The imports from a higher floor than the module's own."""
    own = FLOORS.index(module.split(".")[1])
    return [name for name in imported(source) if FLOORS.index(name.split(".")[1]) > own]


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"toolkit"}))
def test_a_module_imports_only_from_its_own_floor_and_lower_ones(module: str) -> None:
    assert upwards(module, MODULES[module]) == []


def test_modules_have_no_circular_imports() -> None:
    graph = {
        module: {name if name in MODULES else name.rpartition(".")[0] for name in imported(source)}
        for module, source in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def folder(module: str) -> str:
    """The folder of a module below its floor, or the module itself."""
    return ".".join(module.split(".")[:3])


def knots(modules: Mapping[str, str]) -> list[str]:
    """A cycle of folders that import each other, although their modules do not; empty if there is none."""
    graph: dict[str, set[str]] = {}
    for module, source in modules.items():
        names = {name if name in modules else name.rpartition(".")[0] for name in imported(source)}
        graph.setdefault(folder(module), set()).update({folder(name) for name in names} - {folder(module)})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_folders_have_no_circular_imports() -> None:
    assert knots(MODULES) == []


def test_a_circle_of_folders_is_detected() -> None:
    source = "from toolkit.operate.upgrade.plan import Plan"
    back = "from toolkit.operate.rotation.rotate import rotate"
    modules = MODULES | {"toolkit.operate.rotation.servers": source, "toolkit.operate.upgrade.plan": back}
    assert {"toolkit.operate.upgrade", "toolkit.operate.rotation"} <= set(knots(modules))


@pytest.mark.parametrize(
    "statement",
    [
        "from toolkit.operate.deploy import release",
        "from toolkit import operate",
        "import toolkit.operate.demo",
        "def late() -> None:\n    from toolkit.operate.demo import demo",
        "if TYPE_CHECKING:\n    from toolkit.operate import demo",
    ],
)
def test_an_upward_import_is_detected(statement: str) -> None:
    assert len(upwards("toolkit.checks.smoke", statement)) == 1
    assert upwards("toolkit.tasks.lifecycle", statement) == []


def test_every_folder_of_the_toolkit_is_a_floor() -> None:
    folders = {
        path.name for path in Path(CHECKOUT, "toolkit").iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    assert folders == set(FLOORS)
    assert {path.name for path in Path(CHECKOUT, "toolkit").glob("*.py")} == {"__init__.py"}
