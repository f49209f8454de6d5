"""Pure: which ESP states and policies are wanted, and the steps of a rekey."""
