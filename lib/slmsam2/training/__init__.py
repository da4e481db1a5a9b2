"""Training: clips, losses, and the loops that use them."""
