"""The figures of docs/performance.md, ratios taken in one run: ``nox -s bench`` (or ``-- startup checks …``)."""
