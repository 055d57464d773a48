"""The archive of a bundle: what is written is read, and every damage is found and named."""

from __future__ import annotations

import platform
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.core.errors import ToolkitError
from toolkit.operate.bundle import content
from toolkit.operate.bundle.content import Bundle, Manifest

MANIFEST = Manifest(1, "v1.0.0", "1" * 40, platform.machine(), "local", "prod", {"postgres:18": "sha256:1"},
                    {"REGISTRY": "mirror.example"})  # fmt: skip
FILES = {
    "packages/rich.whl": b"package" * 100,
    "network-monitor/docker-compose.yml": b"services: {}\n",
    "network-monitor/app/main.py": b"print()\n",
    "network-monitor/.git/HEAD": b"ref: refs/heads/main\n",
    content.IMAGES: b"images" * 5000,
}


def made(folder: Path, manifest: Manifest = MANIFEST) -> Path:
    """A bundle with these files."""
    source = folder / "source"
    for name, data in {**FILES, content.MANIFEST: manifest.text().encode()}.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    content.write(source, folder / "netmon.bundle")
    return folder / "netmon.bundle"


def checkout(folder: Path) -> Path:
    """The checkout of the bundle, as tar extracts it."""
    prefix = f"{content.CHECKOUT}/"
    for name, data in FILES.items():
        if name.startswith(prefix):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return folder / content.CHECKOUT


def test_written_content_is_read(tmp_path: Path) -> None:
    with Bundle.opened(made(tmp_path)) as bundle:
        assert bundle.manifest == MANIFEST
        for name, data in FILES.items():
            bundle.extract(name, tmp_path / "extracted")
            assert (tmp_path / "extracted").read_bytes() == data
        assert bundle.differing(checkout(tmp_path / "host")) == []
    assert sorted(each.name for each in tmp_path.iterdir()) == ["extracted", "host", "netmon.bundle", "source"]


def test_the_members_have_no_owner_and_the_images_come_last(tmp_path: Path) -> None:
    with tarfile.open(made(tmp_path)) as archive:
        members = archive.getmembers()
    assert {(each.uid, each.gid, each.uname) for each in members} == {(0, 0, "")}
    assert members[0].name == content.SUMS
    assert members[-1].name == content.IMAGES


def read_all(path: Path, target: Path) -> None:
    """Extract every file of a bundle, one after the other."""
    with Bundle.opened(path) as bundle:
        for name in FILES:
            bundle.extract(name, target)


def position(path: Path, name: str) -> int:
    """The position of the content of a member in the archive."""
    with tarfile.open(path) as archive:
        return archive.getmember(name).offset_data


@pytest.mark.parametrize("name", [*FILES, content.MANIFEST, content.SUMS])
def test_one_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    path = made(tmp_path)
    data = bytearray(path.read_bytes())
    data[position(path, name) + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ToolkitError) as error:
        read_all(path, tmp_path / "extracted")
    assert str(path) in error.value.what
    assert error.value.fix == content.COPY_AGAIN
    assert not (tmp_path / "extracted").exists() or name not in FILES


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.95])
def test_an_incomplete_copy_is_found(tmp_path: Path, share: float) -> None:
    path = made(tmp_path)
    data = path.read_bytes()
    end = position(path, content.IMAGES) + len(FILES[content.IMAGES])
    path.write_bytes(data[: int(end * share)])
    with pytest.raises(ToolkitError) as error:
        read_all(path, tmp_path / "extracted")
    assert error.value.fix == content.COPY_AGAIN


def test_another_file_is_no_bundle(tmp_path: Path) -> None:
    for text in ("", "x" * 4096):
        (tmp_path / "other").write_text(text)
        with pytest.raises(ToolkitError, match="cannot read") as error:
            read_all(tmp_path / "other", tmp_path)
        assert "not a bundle" in error.value.why
    with pytest.raises(ToolkitError, match="No such file"):
        read_all(tmp_path / "missing", tmp_path)


def test_a_bundle_for_another_machine_or_of_another_format_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, replace(MANIFEST, machine="riscv64"))
    with pytest.raises(ToolkitError, match="it is for riscv64, this host is") as error:
        read_all(path, tmp_path)
    assert "this architecture" in error.value.fix
    path = made(tmp_path, replace(MANIFEST, format=2))
    with pytest.raises(ToolkitError, match="its format is 2") as error:
        read_all(path, tmp_path)
    assert error.value.fix.startswith(f"tar -xf {path} network-monitor")


def test_files_of_another_checkout_are_named(tmp_path: Path) -> None:
    root = checkout(tmp_path / "host")
    with Bundle.opened(made(tmp_path)) as bundle:
        (root / ".git/HEAD").write_text("changed by git\n")
        (root / ".env").write_text("MINE=1\n")
        assert bundle.differing(root) == []
        (root / "docker-compose.yml").write_text("services: {x: {}}\n")
        (root / "app/main.py").unlink()
        assert bundle.differing(root) == ["app/main.py", "docker-compose.yml"]


def test_a_bundle_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "add", full)
    with pytest.raises(OSError, match="No space left"):
        made(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["source"]
