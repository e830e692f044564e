"""Service levels: classes of promises, profiles of services, the state of nodes, and a model."""
