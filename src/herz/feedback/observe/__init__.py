"""Step 8, observe: outcomes and samples become knowledge."""
