"""Step 9, adjust: what is proposed from outcomes; whoever wires applies it."""
