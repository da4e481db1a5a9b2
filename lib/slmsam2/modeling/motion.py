"""Motion between neighbouring slices, and masks moved along with it.

The flow is the iterative Lucas-Kanade method of B. D. Lucas and T. Kanade (1981) on an image pyramid, with a Gaussian
window and a pull towards the smoothed flow where the images say nothing. It runs in batches on any device, on
thumbnails as small as the network's masks, and takes a small part of the network's time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from slmsam2.modeling.logits import in_symmetric_scale

LEVELS = 3  # halvings of the thumbnail: motion of up to a quarter of its side is found
ITERATIONS = 4  # per level
WINDOW = 1.2  # standard deviation of the window, in pixels of the thumbnail
PULL = 0.1  # weight of the smoothed flow, relative to the mean squared gradient of the image
TRUST_SPREAD = (
    4.0  # standard deviation of a difference that is believed, in medians of all differences of the slice
)
TRUST_FLOOR = 0.2  # and in the network's normalised intensities: added to it


@dataclass(frozen=True)
class Motion:
    """How one slice's image becomes the next one's, for B pairs of slices.

    Attributes:
        flow: float32 (B, 2, n, n), see :func:`flow_between`.
        trust: float32 (B, 1, n, n), see :func:`trust`.
    """

    flow: Tensor
    trust: Tensor

    @classmethod
    def between(cls, here: Tensor, there: Tensor) -> Motion:
        """From the slices of thumbnails ``there`` to those of ``here``, both float32 (B, 1, n, n)."""
        with torch.autocast(here.device.type, enabled=False):  # bfloat16 would be coarse for these equations
            flow = flow_between(here, there)
            return cls(flow, trust(here, there, flow))

    def carry(self, logits: Tensor) -> Tensor:
        """Mask logits (B, 1, n, n) moved along, and less sure where the slices do not look alike.

        They are moved in the symmetric scale: else their outline would move inwards with every part of a pixel.
        """
        return in_symmetric_scale(logits, lambda scaled: moved(scaled, self.flow, "bicubic")) * self.trust


def thumbnails(frames: Tensor, size: int) -> Tensor:
    """Small grey images of slices, (B, 3, N, N) to float32 (B, 1, size, size)."""
    grey = frames[:, :1].float()
    return F.interpolate(grey, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def flow_between(here: Tensor, there: Tensor) -> Tensor:
    """Where each pixel of ``here`` is found in ``there``.

    Args:
        here, there: thumbnails, float32 (B, 1, n, n).

    Returns:
        float32 (B, 2, n, n): displacements in x and y, in pixels, such that ``there(p + flow(p)) = here(p)``.
    """
    energy = _gradient(there).square().sum(dim=1).mean(dim=(1, 2)).clamp_min(1e-8).view(-1, 1, 1, 1)
    pyramid = [(here, there)]
    for _ in range(LEVELS - 1):
        pyramid.append(tuple(F.avg_pool2d(image, 2) for image in pyramid[-1]))  # type: ignore[arg-type]
    flow = torch.zeros_like(pyramid[-1][0]).expand(-1, 2, -1, -1)
    for one, other in reversed(pyramid):
        scale = one.shape[-1] / flow.shape[-1]
        flow = scale * F.interpolate(flow, size=one.shape[-2:], mode="bilinear", align_corners=False)
        slope, blur = _gradient(one), _blur(one)
        for _ in range(ITERATIONS):
            flow = _refine(flow, one, slope, other, blur, PULL * energy[:, 0])
    return flow


def moved(image: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """``image`` (B, C, n, n) sampled at each pixel's place displaced by ``flow`` (B, 2, n, n).

    A mask moved many times keeps its size with "bicubic"; linear interpolation wears small ones down.
    """
    size = flow.shape[-1]
    line = torch.arange(size, device=flow.device, dtype=flow.dtype)
    y, x = torch.meshgrid(line, line, indexing="ij")
    places = torch.stack([x, y]) + flow
    grid = (2 * places / (size - 1) - 1).permute(0, 2, 3, 1)
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)


def trust(here: Tensor, there: Tensor, flow: Tensor) -> Tensor:
    """How much each pixel of ``here`` looks like the one of ``there`` that the flow says it is.

    What has no counterpart (an end, gas beside the liver, a vessel that comes in) differs by far more than noise and
    the slices' usual change do.

    Returns:
        float32 (B, 1, n, n): 1 for the same intensity, towards 0 for others.
    """
    difference = (here - moved(there, flow)).abs()
    usual = difference.flatten(1).median(dim=1).values.view(-1, 1, 1, 1)
    return torch.exp(-0.5 * (difference / (TRUST_SPREAD * usual + TRUST_FLOOR)).square())


def _refine(flow: Tensor, here: Tensor, slope: Tensor, there: Tensor, blur: Tensor, pull: Tensor) -> Tensor:
    """One Gauss-Newton step of the flow, solved in each pixel's window.

    Args:
        slope: gradient of ``here``, (B, 2, n, n).
        blur: see :func:`_blur`.
        pull: (B, 1, 1).
    """
    found = moved(there, flow)
    slope = 0.5 * (_gradient(found) + slope)
    missing = here - found + (slope * flow).sum(dim=1, keepdim=True)
    x, y = slope[:, :1], slope[:, 1:]
    terms = torch.cat([x * x, x * y, y * y, x * missing, y * missing, flow], dim=1)
    xx, xy, yy, bx, by, calm_x, calm_y = (blur @ terms @ blur.t()).unbind(dim=1)
    xx, yy = xx + pull, yy + pull
    bx, by = bx + pull * calm_x, by + pull * calm_y
    determinant = xx * yy - xy * xy
    return torch.stack([yy * bx - xy * by, xx * by - xy * bx], dim=1) / determinant[:, None]


def _gradient(image: Tensor) -> Tensor:
    """Central differences in x and y: (B, 1, n, n) to (B, 2, n, n)."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    x = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    y = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return torch.cat([x, y], dim=1) / 2


def _blur(image: Tensor) -> Tensor:
    """The Gaussian window as a matrix (n, n): ``blur @ image @ blur.t()`` blurs the rows and columns of (..., n, n).

    What is past the edge counts as the pixel at the edge. As a product of matrices it is faster than a convolution on
    images this small.
    """
    size, reach = image.shape[-1], round(3 * WINDOW)
    offsets = torch.arange(-reach, reach + 1, device=image.device)
    weights = offsets.to(image.dtype).div(WINDOW).square().mul(-0.5).exp()
    places = (torch.arange(size, device=image.device)[:, None] + offsets).clamp(0, size - 1)
    blur = image.new_zeros(size, size)
    return blur.scatter_add_(1, places, (weights / weights.sum()).expand(size, -1))
