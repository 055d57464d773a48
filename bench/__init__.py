"""The figures of docs/performance.md: ``nox -s bench -- all`` measures them, ``-- NAME…`` some of them.

A benchmark is a module with a function ``figures``, which yields each `bench.figure.Figure` and is listed in BENCHMARKS
of `bench.__main__`. If it takes a `Stack`, it gets one of its own, with the module's SETTINGS, if any.
"""
