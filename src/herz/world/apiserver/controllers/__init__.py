"""What makes the objects live: reconcile functions over the store, and the loop that calls them.

A controller reads and answers with actions; it never waits and never writes. The loop carries the
actions out through the registry, by the same rules as any client.
"""
