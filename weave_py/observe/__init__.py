"""What is going on? Frozen snapshots to text and JSON; log set-up."""
