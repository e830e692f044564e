"""The rules, one a file, under Kubernetes' plugin names. `herz.app` lists them."""
