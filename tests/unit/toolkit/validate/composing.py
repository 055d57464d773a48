"""Cached and lazy Compose configurations: `docker compose config` takes most of the time of these tests."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from toolkit.engine import compose
from toolkit.engine.compose import Result
from toolkit.validate.checkout import EVERY_GROUP, Checkout, Configuration, Layers
from toolkit.validate.source import Source


class CachedCompose:
    """Replacement of `toolkit.engine.compose.run` with a cache of `docker compose config`, keyed by its input."""

    def __init__(self) -> None:
        self._run = compose.run
        self._answers: dict[object, Result] = {}

    def __call__(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str | None] | None = None, **options: Any
    ) -> Result:
        if "config" not in argv:
            return self._run(argv, cwd=cwd, env=env, **options)
        files = [cwd / file for option, file in pairwise(argv) if option == "--file"]
        texts = [path.read_bytes() if path.exists() else b"" for path in (*files, cwd / ".env")]
        variables = {**os.environ, **(env or {}), "PYTEST_CURRENT_TEST": None}
        key = (cwd, *argv, *variables.items(), *texts)
        if key not in self._answers:
            # Garbage collection is a third of the work of this short-lived process.
            self._answers[key] = self._run(argv, cwd=cwd, env={**(env or {}), "GOGC": "off"}, **options)
        return self._answers[key]


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
