"""A checkout that is set up, beside a docker that can do next to nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.toolkit.conftest import INFO, copy_checkout
from tests.unit.toolkit.tasks.checkouts import ENGINE, Checkout, Usual

GATUS = "endpoints: [{name: shop, url: 'https://shop.example', interval: 60s, conditions: ['[STATUS] == 200']}]\n"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The checkout that the tests copy."""
    folder = tmp_path_factory.mktemp("conditions")
    root = copy_checkout(folder / "checkout")
    (root / "gatus.yml").write_text(GATUS)
    programs = folder / "bin"
    programs.mkdir()
    configuration = folder / "configuration.json"
    env = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ},
        "REGISTRY": "127.0.0.1:9", "REGISTRY_QUAY": "127.0.0.1:9", "CONFIGURATION": str(configuration),
        "INFORMATION": str(folder / "information.json"),
    }  # fmt: skip
    checkout = Checkout(root, env)
    assert checkout.run("setup").code == 0
    compose = ("docker", "compose", "--profile", "*", "config", "--format", "json")
    configuration.write_bytes(subprocess.run(compose, cwd=root, env=env, capture_output=True, check=True).stdout)
    (folder / "information.json").write_text(json.dumps(INFO))
    (programs / "docker").write_text(ENGINE)
    (programs / "docker").chmod(0o755)
    checkout = Checkout(root, {**env, "PATH": f"{programs}:{env['PATH']}"})
    assert checkout.run("setup").code == 0, "with the folder of the engine"
    with checkout.serving():
        yield checkout


@pytest.fixture(scope="module")
def usual(original: Checkout) -> Usual:
    """The outcome of each task without a special condition."""
    return Usual(original)


@pytest.fixture
def checkout(original: Checkout, tmp_path: Path) -> Checkout:
    """A copy that a test may damage."""
    root = tmp_path / "checkout"
    shutil.copytree(original.root, root, symlinks=True)
    configuration = tmp_path / "configuration.json"
    text = Path(original.env["CONFIGURATION"]).read_text(encoding="utf-8")
    configuration.write_text(text.replace(str(original.root), str(root)), encoding="utf-8")
    return Checkout(root, {**original.env, "CONFIGURATION": str(configuration)})
