"""What place reads and feedback writes: pure, no I/O."""
