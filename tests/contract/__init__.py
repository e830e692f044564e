"""What a scheduler relies on in an API server; numbers are those of docs/reference/apiserver.md."""
