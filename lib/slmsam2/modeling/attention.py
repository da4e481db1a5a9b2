"""Memory attention that computes what the ``sam2`` package's does, with less work on a CPU.

Two identities are used where many tokens are attended to:

* An output token is a weighted mean of projected values, and weights sum to one. So the mean can be taken of the
  memory itself, which has a quarter of the channels, and be projected afterwards:
  ``sum_j p_j (W m_j + b) = W (sum_j p_j m_j) + b``.
* Rotary encodings repeat from slice to slice, so all memories are rotated in place by those of one.

The softmax is taken block by block (M. Milakov and N. Gimelshein, arXiv 1805.02867), so that scores stay in the
processor's cache.
"""

from __future__ import annotations

import math

import torch
from sam2.modeling.sam.transformer import RoPEAttention
from torch import Tensor

PAYS_FROM = 128  # query tokens; below, the time goes into calls and not into arithmetic
QUERIES, KEYS = 512, 1024  # tokens in a block: scores of 2 MiB


class MemoryReadingAttention(RoPEAttention):
    """``RoPEAttention`` of one head from a slice's tokens to those of memories; same parameters, same result.

    On a CPU, in inference, and with tokens enough, it goes the shorter way; else it is ``RoPEAttention``.
    """

    freqs_cis: Tensor

    def forward(self, q: Tensor, k: Tensor, v: Tensor, num_k_exclude_rope: int = 0) -> Tensor:
        """Attend.

        Args:
            q: (B, Q, C).
            k, v: (B, K, kv_in_dim); K without the last ``num_k_exclude_rope`` is a multiple of Q.

        Returns:
            (B, Q, C).
        """
        if not self._pays(q, k):
            return super().forward(q, k, v, num_k_exclude_rope)
        queries = self.q_proj(q).mul_(1 / math.sqrt(self.internal_dim))
        keys = self.k_proj(k)
        cis = self._rotations(q.shape[1])
        rotate(queries, cis)
        rotate(keys[:, : keys.shape[1] - num_k_exclude_rope], cis)
        means = torch.stack([weighted_means(*one) for one in zip(queries, keys, v, strict=True)])
        return self.out_proj(self.v_proj(means))

    def _pays(self, q: Tensor, k: Tensor) -> bool:
        plain = q.dtype == k.dtype == torch.float32 and not torch.is_autocast_enabled(q.device.type)
        inference = not (self.training or torch.is_grad_enabled())
        return (
            plain and inference and q.device.type == "cpu" and self.num_heads == 1 and q.shape[1] >= PAYS_FROM
        )

    def _rotations(self, tokens: int) -> Tensor:
        """Rotary encodings of a square map's tokens, complex (tokens, C / 2)."""
        if self.freqs_cis.shape[0] != tokens:
            side = math.sqrt(tokens)
            self.freqs_cis = self.compute_cis(end_x=side, end_y=side)
        self.freqs_cis = self.freqs_cis.to("cpu")  # the sam2 package makes them on a GPU where there is one
        return self.freqs_cis


def rotate(tokens: Tensor, cis: Tensor) -> None:
    """Apply rotary encodings in place.

    Args:
        tokens: (B, n * T, C), one after the other those of n maps of T tokens.
        cis: complex (T, C / 2).
    """
    maps = tokens.unflatten(1, (-1, cis.shape[0]))
    torch.view_as_complex(maps.unflatten(-1, (-1, 2))).mul_(cis)


def weighted_means(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """``softmax(queries @ keys.T) @ values``, block by block where there is more than one.

    Args:
        queries: (Q, C), already scaled.
        keys: (K, C).
        values: (K, D).

    Returns:
        (Q, D).
    """
    if queries.shape[0] * keys.shape[0] <= QUERIES * KEYS:
        return torch.softmax(queries @ keys.t(), dim=1) @ values
    means = values.new_empty(queries.shape[0], values.shape[1])
    blocks = list(zip(keys.split(KEYS), values.split(KEYS), strict=True))
    room = queries.new_empty(QUERIES * KEYS)
    for some, out in zip(queries.split(QUERIES), means.split(QUERIES), strict=True):
        top = some.new_full((some.shape[0], 1), -math.inf)
        total, summed = torch.zeros_like(top), torch.zeros_like(out)
        for key, value in blocks:
            scores = room[: some.shape[0] * key.shape[0]].view(some.shape[0], key.shape[0])
            torch.mm(some, key.t(), out=scores)
            higher = torch.maximum(top, scores.amax(dim=1, keepdim=True))
            shrunk = (top - higher).exp_()
            scores.sub_(higher).exp_()
            total.mul_(shrunk).add_(scores.sum(dim=1, keepdim=True))
            summed.mul_(shrunk).addmm_(scores, value)
            top = higher
        torch.div(summed, total, out=out)
    return means
