"""What the packing rules share: kinds of nodes, tables of expected loss, choices of devices."""
