"""Details of results: sentences that are stored and shown, parts of which may come from outside."""

MAX_DETAIL = 300


def printable(text: str) -> str:
    """One short line without control characters."""
    return "".join(each if each.isprintable() else "�" for each in text[:MAX_DETAIL])


def slowness(duration_ms: float, slow_ms: float | None) -> str | None:
    """The sentence about a success that took longer than `slow_ms`; None if it did not, or if that is None."""
    if not slow_ms or duration_ms <= slow_ms:
        return None
    return f"it took {duration_ms:.0f} ms, more than {slow_ms:g} ms"
