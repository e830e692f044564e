"""Kubernetes' protocol over HTTP: paths, forms of answers, lists, watches, discovery."""
