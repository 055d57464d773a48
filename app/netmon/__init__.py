"""The Network Monitor: the API with the status page, and the worker that executes probes."""
