"""8 observe, 9 adjust: what became of decisions, and what follows from it."""
