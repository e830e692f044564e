"""The journal on disk: append-only segments, blobs by digest, and an index."""
