"""Tests of running stacks, in Compose projects of their own."""
