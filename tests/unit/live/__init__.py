"""Tests of what the live tests are made of, where no engine is needed."""
