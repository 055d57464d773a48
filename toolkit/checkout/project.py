"""A checkout of the project: its data (invoke.yaml) and its state (.env)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from toolkit.checkout import bundled
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError, require_known

LOCAL, PULLED = "local", "pulled"


@dataclass(frozen=True)
class Group:
    """An optional part of the stack; its services have the Compose profile of its name.

    ``layer`` is a compose file that is merged while the group is on; empty if there is none.
    """

    name: str
    about: str
    default: bool
    layer: str = ""


@dataclass(frozen=True)
class Secret:
    """A file in secrets/: a password for ``service``, a token, or the current one of several ``users``.

    A password belongs to ``user``, or to the user named by the secret ``user_file``. A ``token`` belongs to no user:
    its file has one token per line, of which the service accepts all and clients use the first.
    """

    name: str
    service: str = ""
    user: str = ""
    user_file: str = ""
    users: tuple[str, ...] = ()
    token: bool = False

    @property
    def variable(self) -> str:
        """Its variable in .env, used where containers do not read the file."""
        return self.name.upper()

    @property
    def file(self) -> str:
        """Its path relative to the checkout."""
        return f"secrets/{self.name}.txt"


@dataclass(frozen=True)
class Project:
    """A checkout. ``data`` is the ``stack`` section of its invoke.yaml."""

    root: Path
    data: Mapping[str, Any]

    @classmethod
    def load(cls, root: Path | None = None) -> Project:
        """Read invoke.yaml of ``root`` (default: the checkout that contains this package).

        Raises:
            ToolkitError: the file is missing, is not YAML, or has no ``stack`` section.
        """
        root = root or Path(__file__).resolve().parents[2]
        path = root / "invoke.yaml"
        try:
            data = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
        except OSError as error:
            raise ToolkitError(
                f"cannot read {path}", error.strerror or str(error), f"git restore {path.name}"
            ) from error
        except yaml.YAMLError as error:
            raise ToolkitError(f"{path} is not valid YAML", str(error), "correct the reported line") from error
        if not isinstance(data, dict) or not isinstance(data.get("stack"), dict):
            raise ToolkitError(f"{path} has no 'stack' section", fix=f"git restore {path.name}")
        return cls(root, data["stack"])

    @property
    def env_file(self) -> Path:
        """The settings of this checkout."""
        return self.root / ".env"

    @property
    def secrets_dir(self) -> Path:
        """The folder of the credentials."""
        return self.root / "secrets"

    @property
    def lock_file(self) -> Path:
        """The lock of every operation that changes this checkout or its stack."""
        return self.root / ".netmon" / "lock"

    @property
    def env(self) -> dict[str, str]:
        """The current variables of .env."""
        return envfile.read(self.env_file)

    @cached_property
    def secrets(self) -> dict[str, Secret]:
        """The credentials of the stack, by name."""
        return {
            name: Secret(name, **{**spec, "users": tuple(spec.get("users", ()))})
            for name, spec in self.data["secrets"].items()
        }

    @cached_property
    def groups(self) -> dict[str, Group]:
        """The optional parts of the stack, by name."""
        return {
            name: Group(name, spec["about"], bool(spec.get("default")), spec.get("layer", ""))
            for name, spec in self.data["groups"].items()
        }

    @property
    def addresses(self) -> Mapping[str, str]:
        """The descriptions of the services that a profile may publish, in display order."""
        named: Mapping[str, str] = self.data["addresses"]
        return named

    def timeout(self, name: str) -> float:
        """A timeout of invoke.yaml, in seconds."""
        return float(self.data["timeouts"][name])

    def layers(self, profile: str) -> list[str]:
        """The compose files of a profile, in merge order.

        Raises:
            ToolkitError: the profile is unknown; the message lists the known ones.
        """
        profiles = self.data["profiles"]
        return list(profiles[require_known("profile", profile, profiles)])

    def compose_files(self, profile: str, images: str | None, groups: Iterable[str] = ()) -> list[str]:
        """The value of COMPOSE_FILE, as a list.

        In merge order: the layers of the profile, those of the groups that are on, the local images or the locks of the
        published ones (unless these came with a bundle), the user's override.
        """
        files = self.layers(profile)
        files += [group.layer for group in self.groups.values() if group.layer and group.name in groups]
        if images == LOCAL:
            files += self.data["local_images"][profile]
        elif images == PULLED and not bundled.path(self.root).exists():
            files += [lock for lock in map(self.lock_of, files) if (self.root / lock).exists()]
        if (self.root / self.data["override"]).exists():
            files.append(self.data["override"])
        return files

    @staticmethod
    def lock_of(layer: str) -> str:
        """The lock file of a layer, which has the digests of its images; see `toolkit.images.image_lock`."""
        return f"images{Path(layer).stem.removeprefix('docker-compose')}.lock"

    @property
    def shipped_files(self) -> list[str]:
        """Every compose file of the project: the layers of every profile and group, and the local images."""
        layers = [name for profile in self.data["profiles"] for name in self.layers(profile)]
        layers += [group.layer for group in self.groups.values() if group.layer]
        return list(dict.fromkeys([*layers, *self.local_image_files]))

    @property
    def local_image_files(self) -> list[str]:
        """The compose files that replace the published images by local ones, in any profile."""
        return list(dict.fromkeys(name for files in self.data["local_images"].values() for name in files))

    @property
    def profile(self) -> str | None:
        """The profile in .env; None before the setup."""
        return self.env.get("NETMON_PROFILE")

    @property
    def images(self) -> str | None:
        """The image set in use: ``local`` or ``pulled``; None before one is chosen."""
        return self.env.get("NETMON_IMAGES") or None

    def require_setup(self) -> str:
        """The profile in use.

        Raises:
            ToolkitError: `invoke setup` has not been run here.
        """
        if not self.profile:
            raise ToolkitError("this checkout is not set up", ".env has no profile", "run: invoke setup")
        return self.profile
