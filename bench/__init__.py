"""The figures of the README, each as a ratio taken in one run: ``nox -s bench`` (or ``-- startup checks …``)."""
