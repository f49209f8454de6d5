"""Pure: which devices are wanted, and which operations lead there from what is."""
