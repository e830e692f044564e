"""A live cluster: what its API says goes in as events, what was decided goes out as writes."""
