"""The tests: `unit` needs nothing, `live` needs a Docker Engine."""
