"""A Prometheus server as the source of what was measured: nodes' signals, and promises kept."""
