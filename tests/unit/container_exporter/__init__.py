"""Unit tests of the container exporter."""
