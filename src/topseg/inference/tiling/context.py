"""Context: tiles of an image that attend over all of it.

TopFormer's transformer sees an image as one token for 64x64 pixels, made by convolutions and
pooling, which look at a neighbourhood only. So an image too large for the network passes it in two
rounds: the tokens of all tiles go through the transformer together, then each tile is gated by
those that lie in it. What still differs from the whole image at once is the border of convolutions.

Shapes: H W pixels of a tile, C channels of a token, N tokens of the image, K classes
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from topseg.core.errors import InputError
from topseg.inference.tiling.tiles import Network, Tiles
from topseg.inference.tiling.work import Work
from topseg.inference.tta import Logits
from topseg.media.images import Image
from topseg.models.pooling import TOKEN_STRIDE, pool_tokens
from topseg.models.topformer import Attention, TopFormer
from topseg.runtimes.base import Runtime
from topseg.runtimes.torch import TorchRuntime

_FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
"""The attention whose memory does not grow with the square; no other may stand in for it."""


class WholeImage:
    """Torch runtimes whose tiles attend over the whole image.

    Args:
        runtimes: The model, once for every tile that is worked on at a time.
        threads: CPU threads of all of them together.

    Raises:
        InputError: They run a graph, whose transformer is inside.
    """

    def __init__(self, runtimes: Sequence[Runtime], threads: int) -> None:
        self._halves, self._threads = [_Halves(runtime) for runtime in runtimes], threads

    def networks(self, tiles: Tiles, work: Work) -> list[Network]:
        """Give what makes logits of a tile, on each runtime, after a round over all tiles.

        Args:
            tiles: Of the image, to gather its tokens from.
            work: Keeps what the transformer made of the image's tokens, or has it.
        """
        scene = work.scene()
        if scene is None:
            scene = self._halves[0].attend(self._gather(tiles), self._threads)
            work.save_scene(scene)
        return [half.gated_by(scene) for half in self._halves]

    def _gather(self, tiles: Tiles) -> Logits:
        """Give the image's tokens, (C, rows, columns), each of the tile that it lies deepest in."""
        down_parts, right_parts = _parts(tiles.downs), _parts(tiles.rights)
        channels = sum(self._halves[0].backbone.channels)
        gathered = np.empty((channels, down_parts[-1].stop, right_parts[-1].stop), np.float32)
        networks = [half.tokens for half in self._halves]
        for (down, rows), y in zip(tiles.rows(0, 0), down_parts, strict=True):
            found = tiles.run(rows, down, networks)
            for right, x, tokens in zip(tiles.rights, right_parts, found, strict=True):
                top, left = down.start // TOKEN_STRIDE, right.start // TOKEN_STRIDE
                own = tokens[:, y.start - top : y.stop - top, x.start - left : x.stop - left]
                gathered[:, y, x] = own
        return gathered


class _Halves:
    """A network before and after its transformer."""

    def __init__(self, runtime: Runtime) -> None:
        if not isinstance(runtime, TorchRuntime) or not isinstance(runtime.model, TopFormer):
            raise InputError(
                "context: the tiles of an exported graph attend to themselves; take the runtime "
                "torch for the context of the whole image"
            )
        self._runtime = runtime
        self.backbone, self._head = runtime.model.backbone, runtime.model.decode_head

    def tokens(self, tile: Image, down: slice, right: slice) -> Logits:
        """Pool a tile's pyramid: (H, W, channels) -> (C, H/64, W/64)."""
        backbone = self.backbone
        tokens: Logits = self._runtime.run(
            lambda pixels: pool_tokens(backbone.tpm(pixels), backbone.pool), tile[None]
        )[0]
        return tokens

    def attend(self, tokens: Logits, threads: int) -> Logits:
        """Pass all tokens of an image through the transformer: (C, rows, columns) -> the same.

        Time grows with the square of their number, memory does not.
        """
        transformer = copy.deepcopy(self.backbone.trans)
        for module in transformer.modules():
            if isinstance(module, Attention):
                module.fused = True
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode(), sdpa_kernel(_FUSED):
                scene: Logits = transformer(self._tensor(tokens))[0].cpu().numpy()
        finally:
            torch.set_num_threads(before)
        return scene

    def gated_by(self, scene: Logits) -> Network:
        """Give what gates a tile by its part of the scene: (H, W, channels) -> (K, H/8, W/8)."""
        backbone, head = self.backbone, self._head

        def network(tile: Image, down: slice, right: slice) -> Logits:
            sides = (slice(s.start // TOKEN_STRIDE, s.stop // TOKEN_STRIDE) for s in (down, right))
            part = self._tensor(scene[:, *sides])
            logits: Logits = self._runtime.run(
                lambda pixels: head(backbone.gate(backbone.tpm(pixels), part)), tile[None]
            )[0]
            return logits

        return network

    def _tensor(self, values: Logits) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values[None])).to(self._runtime.device)


def _parts(spans: Sequence[slice]) -> list[slice]:
    """Cut an axis in the middle of the overlaps, and give each tile's part in tokens."""
    middles = [(a.stop + b.start) // 2 // TOKEN_STRIDE for a, b in itertools.pairwise(spans)]
    ends = [0, *middles, spans[-1].stop // TOKEN_STRIDE]
    return [slice(*part) for part in itertools.pairwise(ends)]
