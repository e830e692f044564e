"""A cluster that Kubernetes' API describes: what is read from it, and what is written to it."""
