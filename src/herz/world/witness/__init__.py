"""A witness' memory, its HTTP server, and the client that asks one."""
