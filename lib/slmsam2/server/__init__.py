"""The only part that knows MONAI Label: the app, its infer tasks, its routes."""
