"""Thin Invoke tasks over the functions of the toolkit."""
