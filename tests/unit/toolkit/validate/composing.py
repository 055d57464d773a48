"""Cached and lazy Compose configurations: `docker compose config` takes most of the time of these tests."""

from __future__ import annotations

import json
import os
import pickle
import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache, cached_property, partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from toolkit.engine import compose
from toolkit.engine.compose import Result
from toolkit.validate.checkout import EVERY_GROUP, Checkout, Configuration, Layers
from toolkit.validate.source import Source

KEPT_SECONDS = 3 * 86400
ROOT = "/of-the-checkout"
"""Stands for the folder of the checkout in stored configurations."""
SETTINGS = ("HOME", "COMPOSE_", "DOCKER_")
"""The beginnings of the variables that Compose reads whatever is in the files."""
READS_MORE = re.compile(rb"env_file|label_file|extends|^include", re.MULTILINE)
"""Keys with which Compose reads other files than those of the command line."""


@cache
def words(text: bytes) -> frozenset[str]:
    """Every word of a file, and so the name of every variable that it reads."""
    return frozenset(re.findall(r"\w+", text.decode(errors="replace")))


class CachedCompose:
    """Replacement of `toolkit.engine.compose.run` with a cache of `docker compose config`, keyed by its input.

    ``folder`` keeps it for other processes and later runs. An entry that was not used for `KEPT_SECONDS` is deleted.
    """

    def __init__(self, folder: Path) -> None:
        self._run, self._folder = compose.run, folder
        self._answers: dict[bytes, Result] = {}
        self._version = compose.run(("docker", "compose", "version"), cwd=folder).stdout
        for path in folder.iterdir():
            with suppress(FileNotFoundError):  # another process deletes them too
                if path.stat().st_mtime < time.time() - KEPT_SECONDS:
                    path.unlink()

    def __call__(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str | None] | None = None, **options: Any
    ) -> Result:
        if "config" not in argv:
            return self._run(argv, cwd=cwd, env=env, **options)
        files = [cwd / file for option, file in pairwise(argv) if option == "--file"]
        texts = [path.read_bytes() if path.exists() else b"" for path in (*files, cwd / ".env")]
        read = frozenset().union(*map(words, texts))
        outer = {name: each for name, each in os.environ.items() if name in read or name.startswith(SETTINGS)}
        variables = {**outer, **(env or {})}
        key = pickle.dumps((self._version, cwd.name, list(argv), sorted(variables.items()), texts))
        if key not in self._answers:
            # Garbage collection is a third of the work of this short-lived process.
            run = partial(self._run, argv, cwd=cwd, env={**(env or {}), "GOGC": "off"}, **options)
            complete = bool(files) and not any(map(READS_MORE.search, texts))
            self._answers[key] = self._stored(key, str(cwd), run) if complete else run()
        result = self._answers[key]
        return Result(result.code, result.stdout.replace(ROOT, str(cwd)), result.stderr.replace(ROOT, str(cwd)))

    def _stored(self, key: bytes, root: str, run: Callable[[], Result]) -> Result:
        """The result in the folder; if there is none, that of ``run`` is stored. ``root`` is replaced by `ROOT`."""
        path = self._folder / sha256(key).hexdigest()
        with suppress(FileNotFoundError):
            stored = Result(**json.loads(zlib.decompress(path.read_bytes())))
            path.touch()
            return stored
        found = run()
        result = Result(found.code, found.stdout.replace(root, ROOT), found.stderr.replace(root, ROOT))
        new = path.with_suffix(f".{os.getpid()}")
        new.write_bytes(zlib.compress(json.dumps(asdict(result)).encode(), 1))
        new.replace(path)
        return result


class LazyCheckout(Checkout):
    """Configurations are read when a check reaches them: most mutations show in the first.

    Files with the same text are parsed once for all checkouts.
    """

    _parsed: ClassVar[dict[tuple[str, bytes], Source]] = {}

    @cached_property
    def configurations(self) -> Sequence[Configuration]:
        return self._merge((), *((group,) for group in self.project.groups), EVERY_GROUP)

    def source(self, file: str) -> Source:
        path = self.root / file
        key = file, path.read_bytes() if path.is_file() else b""
        if key not in self._parsed:
            self._parsed[key] = super().source(file)
        return self._parsed[key]

    def merge(self, combinations: Sequence[Layers]) -> Sequence[Configuration]:
        return _LazyConfigurations(self, combinations)


class _LazyConfigurations(Sequence[Configuration]):
    def __init__(self, checkout: Checkout, combinations: Sequence[Layers]) -> None:
        self._combinations = combinations
        self._read = cache(checkout.configuration)

    def __len__(self) -> int:
        return len(self._combinations)

    def __getitem__(self, index: Any) -> Any:
        return self._read(*self._combinations[index])
