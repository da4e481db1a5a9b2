"""SAM 2's image trunk and position encodings, with the same results and less work in inference.

* A window that reaches past the map is filled up. The ``sam2`` package fills up the input of the attention and projects
  the filler as well; here the map is projected and the projection filled up, with what the filler's would be: the bias.
  Of the tokens of windows of 14, two fifths are filler at 512, two thirds at 256.
* What depends on the size of the input only is made once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sam2.modeling.backbones.hieradet import Hiera, MultiScaleAttention, MultiScaleBlock, do_pool
from sam2.modeling.backbones.utils import window_partition, window_unpartition
from sam2.modeling.position_encoding import PositionEmbeddingSine
from torch import Tensor


class LeanHiera(Hiera):
    """``Hiera`` with the same arguments, parameters and results."""

    _kept: tuple[tuple, Tensor] | None = None

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of images (B, 3, N, N), one map (B, C, h, w) per stage, the finest first."""
        x = self.patch_embed(x)
        x = x + self._position_embedding((x.shape[1], x.shape[2]))
        outputs = []
        for index, block in enumerate(self.blocks):
            x = _through(block, x)
            if index in self.stage_ends and (self.return_interm_layers or index == self.stage_ends[-1]):
                outputs.append(x.permute(0, 3, 1, 2))
        return outputs

    def _position_embedding(self, size: tuple[int, int]) -> Tensor:
        """(1, h, w, C); kept while the weights stay the same, unless gradients are wanted."""
        if torch.is_grad_enabled():
            return self._get_pos_embed(size)
        parts = (self.pos_embed, self.pos_embed_window)
        state = (size, *((part.data_ptr(), part._version) for part in parts))
        if self._kept is None or self._kept[0] != state:
            self._kept = state, self._get_pos_embed(size)
        return self._kept[1]


class KeptPositions(PositionEmbeddingSine):
    """``PositionEmbeddingSine`` that gives one encoding for all of a batch, not a copy for each."""

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Encodings (B, C, h, w) for maps (B, ..., h, w), not to be written to."""
        size = (x.shape[-2], x.shape[-1])
        if size not in self.cache or self.cache[size].device != x.device:
            self.cache[size] = self._pe(1, x.device, *size)[0]
        return self.cache[size].expand(x.shape[0], -1, -1, -1)


def _through(block: MultiScaleBlock, x: Tensor) -> Tensor:
    """A block's output for its input (B, h, w, C)."""
    window, (height, width) = block.window_size, x.shape[1:3]
    if not window or (height % window == 0 and width % window == 0):
        return block(x)
    normed = block.norm1(x)
    if block.dim != block.dim_out:
        x = do_pool(block.proj(normed), block.pool)
    x = x + block.drop_path(_attend_in_windows(block.attn, normed, window))
    return x + block.drop_path(block.mlp(block.norm2(x)))


def _attend_in_windows(attention: MultiScaleAttention, x: Tensor, window: int) -> Tensor:
    """Attention of a map (B, h, w, C) within windows, some of which reach past it.

    Returns:
        (B, h', w', C'): smaller than the map by the stride of the queries' pooling.
    """
    projected = F.linear(x, attention.qkv.weight)
    windows, padded = window_partition(projected, window)
    windows = windows + attention.qkv.bias.to(windows.dtype)
    q, k, v = windows.flatten(1, 2).unflatten(-1, (3, attention.num_heads, -1)).unbind(2)
    side, stride = window, 1
    if attention.q_pool:
        pooled = do_pool(q.flatten(2).unflatten(1, (window, window)), attention.q_pool)
        side = pooled.shape[1]
        stride = window // side
        q = pooled.flatten(1, 2).unflatten(-1, (attention.num_heads, -1))
    found = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    found = found.transpose(1, 2).flatten(2).unflatten(1, (side, side))
    rows, columns = (length // window * side for length in padded)
    size = (x.shape[1] // stride, x.shape[2] // stride)
    return attention.proj(window_unpartition(found, side, (rows, columns), size))
