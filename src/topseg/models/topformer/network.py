"""TopFormer: token pyramid transformer for mobile semantic segmentation.

A light convolutional pyramid makes maps at strides 4 to 32; pooled to one stride-64 grid of tokens
they pass a small transformer, and what it learned about the whole scene gates the pyramid again.

Decision: parameters carry the names published with the paper (``backbone.tpm.stem.0.c.weight``), so
a state_dict moves between topseg, hustvl/TopFormer and PaddleSeg without a table; PaddleSeg alone
says ``_mean`` and ``_variance`` for ``running_mean`` and ``running_var``. The oddities of the names
below (``c`` here and ``conv`` there, ``SIM``) are theirs.

Paper: https://arxiv.org/abs/2204.05525 (code: https://github.com/hustvl/TopFormer)

Shapes: B batch, C channels, H W pixels of the input, h w cells of a map, E width of the head,
K classes
"""
# ruff: noqa: D102 - what forward takes and returns is the Shape of its class

from __future__ import annotations

import copy
import math

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from topseg.core.errors import InputError
from topseg.models.topformer.config import TOKEN_STRIDE, Dimensions, Pool
from topseg.models.topformer.pooling import pool_tokens
from topseg.models.topformer.pyramid import STRIDES, ConvBN, TokenPyramid
from topseg.models.topformer.transformer import DEPTH, Attention, Block, Transformer

_LINEAR = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
"""The attention whose memory does not grow with the square; no other may stand in for it."""


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

    def __init__(self, in_channels: int, dimensions: Dimensions, pool: Pool) -> None:
        super().__init__()
        self.pool: Pool = pool
        self.widths = dimensions.widths
        self.tpm = TokenPyramid(in_channels, dimensions.channels)
        self.trans = Transformer(sum(self.widths), dimensions.heads)
        # Nothing is injected at stride 4; the published names count it all the same.
        injections = (Injection(width, dimensions.embed) for width in self.widths[1:])
        self.SIM = nn.ModuleList([nn.Identity(), *injections])

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.inject(self.tpm(x))

    def inject(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Pool the pyramid, pass the tokens through the transformer and gate the pyramid."""
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
        parts = scene.split_with_sizes(self.widths, dim=1)
        return [self.SIM[level](pyramid[level], parts[level]) for level in (1, 2, 3)]


class Head(nn.Module):
    """Sum of the injected maps at stride 8, one mixing layer, one score per class.

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
        dimensions: BASE, SMALL or TINY.
        num_classes: K.
        in_channels: C of the input.
        pool: Rule of ``pool_tokens``.

    Shape:
        (B, C, H, W) normalised float -> (B, K, H/8, W/8) logits
    """

    token_stride = TOKEN_STRIDE

    def __init__(
        self, dimensions: Dimensions, num_classes: int, in_channels: int, pool: Pool
    ) -> None:
        super().__init__()
        self.backbone = Backbone(in_channels, dimensions, pool)
        self.decode_head = Head(dimensions.embed, num_classes, dimensions.depthwise_head)
        self.init_weights()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits at stride 8.

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

    # In two parts, so that the pyramid's maps can have heads of their own while training.

    def features(self, images: Tensor) -> dict[int, Tensor]:
        """Return the pyramid's maps by stride."""
        return dict(zip(STRIDES, self.backbone.tpm(images), strict=True))

    def decode(self, features: dict[int, Tensor]) -> Tensor:
        """Return the logits of the pyramid's maps."""
        logits: Tensor = self.decode_head(self.backbone.inject(list(features.values())))
        return logits

    def auxiliary_head(self, stride: int, num_classes: int) -> nn.Module:
        """Build a head on one map of the pyramid: one mixing layer, one score per class."""
        width = self.backbone.widths[STRIDES.index(stride)]
        return nn.Sequential(ConvBN(width, width, 3), nn.ReLU(), nn.Conv2d(width, num_classes, 1))

    # In two rounds, so that the tiles of an image attend over all of it.

    def tokens(self, images: Tensor) -> Tensor:
        """Pool the pyramid: (B, C, H, W) -> (B, C1 + C2 + C3 + C4, H/64, W/64)."""
        return pool_tokens(self.backbone.tpm(images), self.backbone.pool)

    def attend(self, tokens: Tensor) -> Tensor:
        """Pass all tokens of an image through the transformer, whose shape they keep.

        Time grows with the square of their number, memory does not.
        """
        transformer = copy.deepcopy(self.backbone.trans)
        for module in transformer.modules():
            if isinstance(module, Attention):
                module.fused = True
        with sdpa_kernel(_LINEAR):
            scene: Tensor = transformer(tokens)
        return scene

    def decode_with(self, images: Tensor, context: Tensor) -> Tensor:
        """Return logits of images, gated by what the transformer made of their tokens."""
        backbone = self.backbone
        logits: Tensor = self.decode_head(backbone.gate(backbone.tpm(images), context))
        return logits

    def set_drop_path(self, rate: float) -> None:
        """Let stochastic depth rise linearly from 0 in the first block to ``rate`` in the last."""
        for number, block in enumerate(self.backbone.trans.transformer_blocks):
            assert isinstance(block, Block)
            block.drop_path = rate * number / (DEPTH - 1)

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
