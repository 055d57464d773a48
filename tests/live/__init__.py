"""Tests against real services, in a project of their own."""
