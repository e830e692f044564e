"""Steps 3 to 5: filter, score, reserve. Pure: a snapshot and a pod in, a placement out."""
