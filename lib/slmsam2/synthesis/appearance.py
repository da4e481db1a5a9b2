"""From labels to images: contrast, texture, and what scanners add."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slmsam2.synthesis.noise import chance, log_uniform, smooth_field, uniform

RESOLUTIONS = 12  # groups of volumes in a batch, each imaged at a resolution of its own
LEAST_RESOLUTION = 0.08  # of the slice's pixels: a small structure in a crop, strongly enlarged
# of real images:
CUT_OFF = (0.002, 0.08)  # share of the pixels that the window cuts off, at either end
LEAST_WINDOW = 0.2  # of the whole range
MORE_NOISE = 0.05  # standard deviation at most, of the window
INVERTED = 0.2


def render(labels: Tensor, num_labels: int, generator: Generator) -> Tensor:
    """Images of label volumes.

    Args:
        labels: int64 (B, T, N, N), below ``num_labels``; 0 is air.

    Returns:
        float32 (B, T, N, N) in 0..1.
    """
    batch = len(labels)
    image = _contrast(labels, num_labels, generator)
    image = image * _bias_field(labels.shape, generator)
    image = image + _slice_jitter(labels.shape, generator)
    image = _thick_slices(image, generator)
    groups = image.chunk(RESOLUTIONS)
    image = torch.cat([_acquire(group, generator) for group in groups])
    image = _stretch(image)
    gamma = log_uniform((batch, 1, 1, 1), 0.6, 1.6, generator)
    return _narrow(image.clamp(1e-4, 1).pow(gamma), generator)


def shown(images: Tensor, generator: Generator) -> Tensor:
    """Real images as another scanner and another window might have shown them.

    Args:
        images: float32 (B, T, N, N), in any scale.

    Returns:
        float32 (B, T, N, N) in 0..1.
    """
    batch = len(images)
    image = images * _bias_field(images.shape, generator)
    image = _thick_slices(image, generator)
    cut = log_uniform((2, batch), *CUT_OFF, generator)
    thinned = image[..., ::4, ::4].flatten(1)
    low = torch.stack([one.quantile(q) for one, q in zip(thinned, cut[0], strict=True)])
    high = torch.stack([one.quantile(1 - q) for one, q in zip(thinned, cut[1], strict=True)])
    least = LEAST_WINDOW * (thinned.amax(dim=1) - thinned.amin(dim=1))
    width = torch.maximum(high - low, least).clamp_min(1e-6)
    image = (image - low.view(-1, 1, 1, 1)) / width.view(-1, 1, 1, 1)
    noise = torch.randn(image.shape, generator=generator, device=image.device)
    image = (image + uniform((batch, 1, 1, 1), 0.0, MORE_NOISE, generator) * noise).clamp(1e-4, 1)
    image = torch.where(chance((batch, 1, 1, 1), INVERTED, generator), 1 - image, image)
    gamma = log_uniform((batch, 1, 1, 1), 0.6, 1.6, generator)
    return _narrow(image.clamp_min(1e-4).pow(gamma), generator)


def _contrast(labels: Tensor, num_labels: int, generator: Generator) -> Tensor:
    """A mean and a texture for each label; a fifth of the labels look like another one."""
    batch = len(labels)
    mean = uniform((batch, num_labels), 0.0, 1.0, generator)
    twin = torch.randint(0, num_labels, (batch, num_labels), generator=generator, device=labels.device)
    mean = torch.where(chance((batch, num_labels), 0.2, generator), mean.gather(1, twin), mean)
    spread = uniform((batch, 1), 0.1, 1.0, generator)  # volumes of much and of little contrast
    mean = 0.5 + (mean - 0.5) * spread
    mean[:, 0] = torch.where(chance((batch,), 0.8, generator), mean.amin(dim=1) - 0.2, mean[:, 0])
    strength = log_uniform((batch, num_labels), 0.002, 0.12, generator)
    flat = labels.flatten(1)
    texture = _texture(labels.shape, generator).flatten(1)
    return (mean.gather(1, flat) + strength.gather(1, flat) * texture).view_as(labels)


def _texture(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Noise of three grain sizes, mixed differently per volume; (B, T, N, N), about unit variance.

    The grains run through the slices to a degree that differs from volume to volume.
    """
    batch, slices, size, _ = shape
    total = torch.zeros(shape, device=generator.device)
    through = uniform((batch, 1, 1, 1), 0.0, 1.0, generator)
    for grain in (2, 5, 12):
        side = max(size // grain, 2)
        noise = torch.randn((batch, slices, side, side), generator=generator, device=generator.device)
        noise = (1 - through) * noise + through * (
            noise + noise.roll(1, dims=1) + noise.roll(2, dims=1)
        ) / 1.7
        weight = uniform((batch, 1, 1, 1), 0.0, 1.0, generator)
        total += weight * F.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False)
    return total


def _bias_field(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """A smooth multiplicative field around 1, (B, T, N, N)."""
    batch, slices, size, _ = shape
    side = 16
    line = torch.linspace(-1, 1, side, device=generator.device)
    z, y, x = torch.meshgrid(
        torch.linspace(0, 0.3, slices, device=generator.device), line, line, indexing="ij"
    )
    points = torch.stack([x, y, z], dim=-1)[None].expand(batch, -1, -1, -1, -1)
    field = smooth_field(points, 1, 3, generator)[:, 0]
    strength = uniform((batch, 1, 1, 1), 0.0, 0.25, generator)
    field = F.interpolate(field, size=(size, size), mode="bilinear", align_corners=False)
    return (strength * field).exp()


def _slice_jitter(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Brightness that changes from slice to slice, (B, T, 1, 1)."""
    batch, slices = shape[:2]
    jitter = torch.randn((batch, slices, 1, 1), generator=generator, device=generator.device)
    return jitter * uniform((batch, 1, 1, 1), 0.0, 0.02, generator)


def _thick_slices(image: Tensor, generator: Generator) -> Tensor:
    """Mix neighbouring slices into each other in half of the volumes: partial volume between slices."""
    padded = torch.cat([image[:, :1], image, image[:, -1:]], dim=1)
    share = uniform((len(image), 1, 1, 1), 0.0, 0.3, generator) * chance(
        (len(image), 1, 1, 1), 0.5, generator
    )
    return (1 - 2 * share) * image + share * (padded[:, :-2] + padded[:, 2:])


def _acquire(image: Tensor, generator: Generator) -> Tensor:
    """Image at a random resolution, with that resolution's partial volume and noise, and enlarge."""
    size = image.shape[-1]
    full = bool(chance((1,), 0.2, generator))
    coarse = size if full else int(size * float(log_uniform((1,), LEAST_RESOLUTION, 1.0, generator)))
    small = F.interpolate(image, size=(coarse, coarse), mode="bilinear", align_corners=False, antialias=True)
    noisy = _add_noise(small, generator)
    return F.interpolate(noisy, size=(size, size), mode="bilinear", align_corners=False)


def _add_noise(image: Tensor, generator: Generator) -> Tensor:
    """Gaussian (CT), Rician (MR) or grained multiplicative noise (the speckle of ultrasound), one kind per volume."""
    batch, device = len(image), image.device
    first, second = (torch.randn(image.shape, generator=generator, device=device) for _ in range(2))
    sigma = log_uniform((batch, 1, 1, 1), 0.003, 0.1, generator)
    speckle = 2.5 * F.avg_pool2d(F.pad(first, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    kinds = torch.stack(
        [
            image + sigma * first,
            ((image + sigma * first) ** 2 + (sigma * second) ** 2).sqrt(),
            image * (1 + 3 * sigma * speckle),
        ]
    )
    kind = torch.randint(0, 3, (batch,), generator=generator, device=device)
    return kinds[kind, torch.arange(batch, device=device)]


def _stretch(image: Tensor) -> Tensor:
    """Stretch each volume's 0.5 to 99.5 percentiles to 0..1, as is done with real volumes."""
    thinned = image[..., ::4, ::4].flatten(1)
    low, high = (thinned.quantile(q, dim=1).view(-1, 1, 1, 1) for q in (0.005, 0.995))
    return ((image - low) / (high - low).clamp_min(1e-3)).clamp(0, 1)


def _narrow(image: Tensor, generator: Generator) -> Tensor:
    """Show half of the volumes in a part of the range only, as a crop of a volume is."""
    batch = len(image)
    width = 1 - uniform((batch, 1, 1, 1), 0.0, 0.7, generator) * chance((batch, 1, 1, 1), 0.5, generator)
    low = (1 - width) * uniform((batch, 1, 1, 1), 0.0, 1.0, generator)
    return low + width * image
