"""Details of results: sentences that are stored and shown, parts of which may come from outside."""

MAX_DETAIL = 300


def printable(text: str) -> str:
    """One short line without control characters."""
    return "".join(each if each.isprintable() else "�" for each in text[:MAX_DETAIL])
