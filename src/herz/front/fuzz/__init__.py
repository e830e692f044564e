"""`herz fuzz`: runs what users plug in, in processes of their own, and tells what breaks it."""
