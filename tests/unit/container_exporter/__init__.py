"""Tests of the exporter of container metrics."""
