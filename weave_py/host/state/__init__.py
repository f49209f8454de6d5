"""What is kept on disk: one directory, files in two generations."""
