"""Whole commands against whole clusters."""
