"""Image features before the first request: the slices of a volume that somebody has opened."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from slmsam2.engine.features import FeatureCache
from slmsam2.engine.workspace import Workspace, tensor_bytes
from slmsam2.modeling import SLMSAM2
from slmsam2.volume import Frames, SliceView, Volume, Window, choose_window, default_axis

SHARE = 0.5  # of the workspace's features that one volume may take before anybody has asked for it


def sees_whole_slices(network: SLMSAM2) -> bool:
    """Whether a network's features can be known before something is painted: they can when it looks at whole slices,
    and not at a region around what was painted."""
    return network.inference.crop_margin is None


def encode_ahead(
    network: SLMSAM2, volume: Volume, workspace: Workspace, window: Window | None = None
) -> Iterator[int]:
    """Encode the slices of a volume, one with each step of the iterator, from the middle outwards.

    A request finds them if it goes along the default axis, in the given window or else the one that suits the volume;
    for another one (lung and bone, in a CT) they are of no use.

    Args:
        network: one that :func:`sees_whole_slices`.
        workspace: keeps the features, of as many slices as fit into half of it.

    Yields:
        The slice of the stack that was encoded.

    Raises:
        VolumeError: there is nothing to see in the volume.
    """
    view = SliceView(volume.shape, volume.affine, default_axis(volume))
    frames = Frames(view.to_stack(volume.array), window or choose_window(volume), network.image_size)
    features = FeatureCache(network, frames, workspace=workspace)
    middle = len(frames) // 2
    left = SHARE * workspace.features.max_bytes
    for index in sorted(range(len(frames)), key=lambda index: abs(index - middle)):
        with torch.no_grad():
            left -= tensor_bytes(features[index].feats)
        if left < 0:
            return
        yield index
