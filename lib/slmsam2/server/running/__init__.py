"""Who computes when, with which network, and what is done when memory runs short."""
