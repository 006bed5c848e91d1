"""The transformer over the pooled tokens: four blocks of attention and MLP.

Shapes: B batch, C channels, h w rows and columns of tokens, N tokens (one per 64x64 pixels of the
image), M heads, D key width, V value width
"""
# ruff: noqa: D102 - what forward takes and returns is the Shape of its class

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from topseg.models.topformer.pyramid import ConvBN

KEY_WIDTH = 16
VALUE_WIDTH = 32
DEPTH = 4  # transformer blocks


class Attention(nn.Module):
    """Global self-attention over the token grid.

    Keys are narrow and values wide; every projection is a 1x1 convolution, so the block exports to
    mobile runtimes as convolutions and two matrix products. Scores are not scaled by sqrt(D): both
    reference codes leave it out, and trained weights rely on that.

    Shape:
        (B, C, h, w) -> (B, C, h, w)
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.fused = False  # by torch's own function, which never holds (N, N); for many tokens
        self.to_q = ConvBN(width, heads * KEY_WIDTH)
        self.to_k = ConvBN(width, heads * KEY_WIDTH)
        self.to_v = ConvBN(width, heads * VALUE_WIDTH)
        self.proj = nn.Sequential(nn.ReLU6(), ConvBN(heads * VALUE_WIDTH, width))

    def forward(self, x: Tensor) -> Tensor:
        B, _, h, w = x.shape
        q = self.to_q(x).reshape(B, self.heads, KEY_WIDTH, h * w)  # (B, M, D, N)
        k = self.to_k(x).reshape(B, self.heads, KEY_WIDTH, h * w)  # (B, M, D, N)
        v = self.to_v(x).reshape(B, self.heads, VALUE_WIDTH, h * w)  # (B, M, V, N)
        if self.fused:  # its kernels want one width: zeros add nothing to a product
            q, k = (F.pad(x.mT, (0, VALUE_WIDTH - KEY_WIDTH)) for x in (q, k))  # (B, M, N, V)
            v = v.mT.contiguous()  # (B, M, N, V)
            out = F.scaled_dot_product_attention(q, k, v, scale=1.0).mT  # (B, M, V, N)
        else:
            out = v @ (q.mT @ k).softmax(dim=-1).mT  # (B, M, V, N)
        projected: Tensor = self.proj(out.reshape(B, self.heads * VALUE_WIDTH, h, w))
        return projected  # (B, C, h, w)


class MLP(nn.Module):
    """Per-token layers with a 3x3 depthwise filter between them, which tells tokens where they are.

    Shape:
        (B, C, h, w) -> (B, C, h, w)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 2 * width
        self.fc1 = ConvBN(width, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = ConvBN(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.relu6(self.dwconv(self.fc1(x))))
        return out


class Block(nn.Module):
    """Transformer block: attention and MLP, each added to what came in.

    Shape:
        (B, C, h, w) -> (B, C, h, w)
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.mlp = MLP(width)
        self.drop_path = 0.0  # rate of stochastic depth, in training

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._drop(self.attn(x))
        return x + self._drop(self.mlp(x))

    def _drop(self, branch: Tensor) -> Tensor:
        """Stochastic depth, https://arxiv.org/abs/1603.09382: leave a sample's branch out."""
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        kept = torch.rand(len(branch), 1, 1, 1, device=branch.device) < keep
        return branch * kept / keep


class Transformer(nn.Module):
    """Four blocks.

    Shape:
        (B, C, h, w) -> (B, C, h, w)
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.transformer_blocks = nn.Sequential(*(Block(width, heads) for _ in range(DEPTH)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.transformer_blocks(x)
        return out
