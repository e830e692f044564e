"""The record of every decision, in canonical form, chained."""
