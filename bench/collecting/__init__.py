"""What Python's garbage collector does to decisions: left alone, between steps, and off."""
