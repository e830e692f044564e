"""What moves: the Kubernetes objects that scheduling reads, and the values computed from them.

Pure values and pure functions. Nothing here knows a clock, a socket or a plugin.
"""
