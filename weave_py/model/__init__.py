"""Values and words that every layer shares; imports nothing of ours."""
