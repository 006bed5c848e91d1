"""TopFormer: token pyramid transformer for mobile semantic segmentation.

A light convolutional pyramid makes maps at strides 4 to 32; pooled to one stride-64 grid of tokens
they pass a small transformer, and what it learned about the whole scene gates the pyramid again.

Decision: parameters carry the names published with the paper (``backbone.tpm.stem.0.c.weight``), so
a state_dict moves between topseg, hustvl/TopFormer and PaddleSeg without a table; PaddleSeg alone
says ``_mean`` and ``_variance`` for ``running_mean`` and ``running_var``. The oddities of the names
below (``c`` here and ``conv`` there, ``SIM``) are theirs.

Paper: https://arxiv.org/abs/2204.05525 (code: https://github.com/hustvl/TopFormer)

Shapes: B batch, C channels, H W pixels of the input, h w cells of a map, N tokens (one a patch of
64x64 pixels), M heads, D key width, V value width, E width of the head, K classes
"""
# ruff: noqa: D102 - what forward takes and gives is the Shape of its class

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from topseg.core.errors import InputError
from topseg.models.pooling import Pool, pool_tokens

KEY_WIDTH = 16
VALUE_WIDTH = 32
DEPTH = 4  # transformer blocks


class Stage(NamedTuple):
    """One inverted residual of the token pyramid."""

    kernel: int
    expand: int
    stride: int


STAGES = (
    Stage(3, 1, 1),
    Stage(3, 4, 2),  # stride 4
    Stage(3, 3, 1),
    Stage(5, 3, 2),  # stride 8
    Stage(5, 3, 1),
    Stage(3, 3, 2),  # stride 16
    Stage(3, 3, 1),
    Stage(5, 6, 2),  # stride 32
    Stage(5, 6, 1),
    Stage(3, 6, 1),
)


@dataclass(frozen=True)
class Variant:
    """What tells the three sizes apart."""

    channels: tuple[int, ...]
    """Width of each stage, of as many STAGES as there are widths."""
    heads: int
    embed: int
    """E, the width of the injected maps and of the head."""
    depthwise_head: bool = False


BASE = Variant((16, 32, 32, 64, 64, 128, 128, 160, 160, 160), heads=8, embed=256)
SMALL = Variant((16, 24, 24, 48, 48, 96, 96, 128, 128, 128), heads=6, embed=192)
TINY = Variant((16, 16, 16, 32, 32, 64, 64, 96, 96), heads=4, embed=128, depthwise_head=True)
VARIANTS = {"topformer_base": BASE, "topformer_small": SMALL, "topformer_tiny": TINY}


class ConvBN(nn.Sequential):
    """Convolution without bias, then batch norm; the pair that inference folds into one.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the filter; the padding keeps h and w at stride 1.
        stride: Step of the filter.
        groups: Groups of channels; ``inputs`` for a depthwise filter.
        name: Published name of the convolution: "c" in the pyramid and the transformer, "conv" in
            the injection and the head.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        name: str = "c",
    ) -> None:
        conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        super().__init__(OrderedDict({name: conv, "bn": nn.BatchNorm2d(outputs)}))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen, filter each channel alone, narrow.

    Shape:
        (B, inputs, h, w) -> (B, outputs, h / stride, w / stride)
    """

    def __init__(self, inputs: int, outputs: int, stage: Stage) -> None:
        super().__init__()
        hidden = inputs * stage.expand
        widen = [] if stage.expand == 1 else [ConvBN(inputs, hidden), nn.ReLU()]
        self.conv = nn.Sequential(
            *widen,
            ConvBN(hidden, hidden, stage.kernel, stage.stride, groups=hidden),
            nn.ReLU(),
            ConvBN(hidden, outputs),
        )
        self.residual = stage.stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


class TokenPyramid(nn.ModuleDict):
    """Stem and stages; keeps the last map at each stride from 4 to 32.

    Shape:
        (B, C, H, W) -> (B, C1, H/4, W/4), (B, C2, H/8, W/8), (B, C3, H/16, W/16),
        (B, C4, H/32, W/32)
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...]) -> None:
        stem = nn.Sequential(ConvBN(in_channels, channels[0], kernel=3, stride=2), nn.ReLU())
        super().__init__({"stem": stem})
        for number, outputs in enumerate(channels, start=1):
            inputs = channels[max(0, number - 2)]
            self[f"layer{number}"] = InvertedResidual(inputs, outputs, STAGES[number - 1])
        self.last = ("layer3", "layer5", "layer7", f"layer{len(channels)}")

    def forward(self, x: Tensor) -> list[Tensor]:
        pyramid = []
        for name, layer in self.items():
            x = layer(x)
            if name in self.last:
                pyramid.append(x)
        return pyramid


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

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.mlp = MLP(width)
        self.drop_path = drop_path

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
    """Four blocks; stochastic depth rises linearly from 0 to ``drop_path``."""

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        rates = [drop_path * number / (DEPTH - 1) for number in range(DEPTH)]
        self.transformer_blocks = nn.Sequential(*(Block(width, heads, rate) for rate in rates))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.transformer_blocks(x)
        return out


class Injection(nn.Module):
    """Semantic injection: the tokens gate one map of the pyramid and are added to it.

    Shape:
        (B, C, h, w), (B, C, N rows, N columns) -> (B, E, h, w)
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.local_embedding = ConvBN(inputs, outputs, name="conv")
        self.global_embedding = ConvBN(inputs, outputs, name="conv")
        self.global_act = ConvBN(inputs, outputs, name="conv")

    def forward(self, local: Tensor, tokens: Tensor) -> Tensor:
        out: Tensor = self.local_embedding(local)  # (B, E, h, w)
        # Hard sigmoid on the token grid; only then is the gate resized, as it was trained.
        gate = F.relu6(self.global_act(tokens) + 3) / 6
        return out * _resize(gate, out) + _resize(self.global_embedding(tokens), out)


def _resize(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear interpolation, half-pixel centres, to the height and width of another map."""
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


class Backbone(nn.Module):
    """Pyramid, transformer and injection.

    Shape:
        (B, C, H, W) -> (B, E, H/8, W/8), (B, E, H/16, W/16), (B, E, H/32, W/32)
    """

    def __init__(self, in_channels: int, variant: Variant, pool: Pool, drop_path: float) -> None:
        super().__init__()
        self.pool: Pool = pool
        self.channels = [variant.channels[number] for number in (2, 4, 6, -1)]
        self.tpm = TokenPyramid(in_channels, variant.channels)
        self.trans = Transformer(sum(self.channels), variant.heads, drop_path)
        # Nothing is injected at stride 4; the published names count it all the same.
        injections = (Injection(channels, variant.embed) for channels in self.channels[1:])
        self.SIM = nn.ModuleList([nn.Identity(), *injections])

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.inject(self.tpm(x))

    def inject(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Do all that follows the pyramid."""
        tokens = pool_tokens(pyramid, self.pool)  # (B, C1 + C2 + C3 + C4, H/64, W/64)
        if self.training and tokens[:, 0].numel() == 1:
            H, W = (4 * side for side in pyramid[0].shape[2:])
            raise InputError(
                f"model: a batch of 1 at {H}x{W} has one token, and batch norm "
                "needs two values a channel to train; take a larger batch_size or crop"
            )
        return self.gate(pyramid, self.trans(tokens))

    def gate(self, pyramid: list[Tensor], scene: Tensor) -> list[Tensor]:
        """Inject what the transformer made of the tokens."""
        parts = scene.split_with_sizes(self.channels, dim=1)
        return [self.SIM[level](pyramid[level], parts[level]) for level in (1, 2, 3)]


class Head(nn.Module):
    """Sum of the injected maps at stride 8, one mixing layer, one score a class.

    Shape:
        (B, E, h, w), (B, E, h/2, w/2), (B, E, h/4, w/4) -> (B, K, h, w)
    """

    def __init__(self, embed: int, num_classes: int, depthwise: bool) -> None:
        super().__init__()
        self.linear_fuse = ConvBN(embed, embed, groups=embed if depthwise else 1, name="conv")
        self.dropout = nn.Dropout2d(0.1)
        self.conv_seg = nn.Conv2d(embed, num_classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        fine, middle, coarse = maps
        x = fine + _resize(middle, fine) + _resize(coarse, fine)
        x = self.dropout(F.relu(self.linear_fuse(x)))
        logits: Tensor = self.conv_seg(x)  # (B, E, h, w) -> (B, K, h, w)
        return logits


class TopFormer(nn.Module):
    """Token pyramid transformer with its segmentation head.

    Args:
        variant: BASE, SMALL or TINY.
        num_classes: K.
        in_channels: C of the input.
        pool: Rule of ``pool_tokens``.
        drop_path: Stochastic depth of the last block, in training.

    Shape:
        (B, C, H, W) normalised float -> (B, K, H/8, W/8) logits
    """

    def __init__(
        self,
        variant: Variant,
        num_classes: int,
        *,
        in_channels: int = 3,
        pool: Pool = "adaptive",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(in_channels, variant, pool, drop_path)
        self.decode_head = Head(variant.embed, num_classes, variant.depthwise_head)
        self.init_weights()

    def forward(self, x: Tensor) -> Tensor:
        """Give logits at stride 8.

        Raises:
            InputError: H or W is no multiple of 32.
        """
        H, W = x.shape[2:]
        if H % 32 or W % 32:
            next_size = "x".join(str(max(32, -(-side // 32) * 32)) for side in (H, W))
            raise InputError(
                f"model: got an input of {H}x{W} (height x width), expected multiples of 32; "
                f"resize it to {next_size}"
            )
        logits: Tensor = self.decode_head(self.backbone(x))
        return logits

    def init_weights(self) -> None:
        """Draw fresh weights as the official code does, from torch's global generator.

        ========================  ======================================================
        convolutions (backbone)   normal, std sqrt(2 / (k k out / groups))
        linear_fuse               normal, std sqrt(2 / (k k out)), depthwise or not
        conv_seg                  normal, std 0.01
        biases                    0
        batch norms               weight 1, bias 0
        attention's last norm     weight 0: every block starts without its attention
        ========================  ======================================================

        PaddleSeg's default divides by the inputs instead and not by the groups, which starts
        depthwise filters near zero; the official rule trains better from scratch.
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * math.prod(module.kernel_size)
                if name.startswith("backbone."):
                    fan_out //= module.groups
                std = 0.01 if name == "decode_head.conv_seg" else math.sqrt(2 / fan_out)
                nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 0.0 if ".attn.proj." in name else 1.0)
                nn.init.zeros_(module.bias)
