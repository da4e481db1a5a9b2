"""What is remembered of an annotator's work."""
