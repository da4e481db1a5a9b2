"""The paper's own workflow: its data layout, its fine-tuning recipe, its inference (arXiv 2505.01854)."""
