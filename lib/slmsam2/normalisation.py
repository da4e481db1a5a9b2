"""How images are normalised: by the mean and standard deviation of ImageNet's channels, as SAM 2 was trained."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
