"""What Compose makes of the files, asked for no more often than a test needs: it takes most of their time."""

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


class Remembering:
    """In the place of `toolkit.engine.compose.run`: the same files, read in the same way, are given to Compose once."""

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
            # A process that ends in a moment need not collect garbage, which is a third of its work.
            self._answers[key] = self._run(argv, cwd=cwd, env={**(env or {}), "GOGC": "off"}, **options)
        return self._answers[key]


class Unhurried(Checkout):
    """Compose is asked for a configuration when a check comes to it: most mistakes show in the first.

    A text is parsed once, whatever file of whatever checkout it stands in.
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

    def merge(self, wanted: Sequence[Layers]) -> Sequence[Configuration]:
        return _OneByOne(self, wanted)


class _OneByOne(Sequence[Configuration]):
    def __init__(self, checkout: Checkout, wanted: Sequence[Layers]) -> None:
        self._wanted = wanted
        self._ask = cache(checkout.configuration)

    def __len__(self) -> int:
        return len(self._wanted)

    def __getitem__(self, index: Any) -> Any:
        return self._ask(*self._wanted[index])
