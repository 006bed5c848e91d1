"""Context: tiles of an image that attend over all of it.

A ``ContextNetwork`` sees an image as a whole only by a grid of tokens, made by convolutions and
pooling, which look at a neighbourhood only. So an image too large for the network passes it in two
rounds: the tokens of all tiles attend to each other together, then each tile is decoded with those
that lie in it. What still differs from the whole image at once is the border of convolutions.

Shapes: H W pixels of a tile, C width of a token, s pixels per token, K classes
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from topseg.core.errors import InputError
from topseg.inference.tiling.tiles import Network, Tiles
from topseg.inference.tiling.work import Work
from topseg.inference.tta import Logits
from topseg.media.images import Image
from topseg.models.family import ContextNetwork
from topseg.runtimes.base import Runtime
from topseg.runtimes.torch import TorchRuntime


class WholeImage:
    """Torch runtimes whose tiles attend over the whole image.

    Args:
        runtimes: The model, once for every tile that is worked on at a time.
        threads: CPU threads of all of them together.

    Raises:
        InputError: They run a graph, which cannot be taken apart, or another kind of network.
    """

    def __init__(self, runtimes: Sequence[Runtime], threads: int) -> None:
        self._halves, self._threads = [_Halves(runtime) for runtime in runtimes], threads
        self._stride = self._halves[0].stride

    def networks(self, tiles: Tiles, work: Work) -> list[Network]:
        """Return what makes logits of a tile, on each runtime, after a round over all tiles.

        Args:
            tiles: Of the image, to gather its tokens from.
            work: Keeps what the image's tokens made of each other, or has it.
        """
        scene = work.scene()
        if scene is None:
            scene = self._halves[0].attend(self._gather(tiles), self._threads)
            work.save_scene(scene)
        return [half.gated_by(scene) for half in self._halves]

    def _gather(self, tiles: Tiles) -> Logits:
        """Return the image's tokens, (C, rows, columns), each of the tile it lies deepest in."""
        down_parts, right_parts = (
            _parts(spans, self._stride) for spans in (tiles.downs, tiles.rights)
        )
        gathered: Logits | None = None
        networks = [half.tokens for half in self._halves]
        for (down, rows), y in zip(tiles.rows(0, 0), down_parts, strict=True):
            found = tiles.run(rows, down, networks)
            for right, x, tokens in zip(tiles.rights, right_parts, found, strict=True):
                if gathered is None:
                    sides = (down_parts[-1].stop, right_parts[-1].stop)
                    gathered = np.empty((len(tokens), *sides), np.float32)
                top, left = down.start // self._stride, right.start // self._stride
                own = tokens[:, y.start - top : y.stop - top, x.start - left : x.stop - left]
                gathered[:, y, x] = own
        assert gathered is not None  # an image has at least one tile
        return gathered


class _Halves:
    """A network before and after its tokens attend to each other."""

    def __init__(self, runtime: Runtime) -> None:
        if not isinstance(runtime, TorchRuntime):
            raise InputError(
                "context: the tiles of an exported graph attend to themselves; take the runtime "
                "torch for the context of the whole image"
            )
        if not isinstance(runtime.model, ContextNetwork):
            raise InputError(
                f"context: a {runtime.metadata.architecture.name} has no tokens that could attend "
                "over the whole image; leave --context out"
            )
        self._runtime, self._network = runtime, runtime.model
        self.stride = runtime.model.token_stride

    def tokens(self, tile: Image, down: slice, right: slice) -> Logits:
        """Return the tokens of a tile: (H, W, channels) -> (C, H/s, W/s)."""
        tokens: Logits = self._runtime.run(self._network.tokens, tile[None])[0]
        return tokens

    def attend(self, tokens: Logits, threads: int) -> Logits:
        """Let all tokens of an image attend to each other: (C, rows, columns) -> the same."""
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                scene: Logits = self._network.attend(self._tensor(tokens))[0].cpu().numpy()
        finally:
            torch.set_num_threads(before)
        return scene

    def gated_by(self, scene: Logits) -> Network:
        """Return what decodes a tile by its part of the scene: (H, W, channels) -> logits."""

        def network(tile: Image, down: slice, right: slice) -> Logits:
            rows, columns = (
                slice(s.start // self.stride, s.stop // self.stride) for s in (down, right)
            )
            part = self._tensor(scene[:, rows, columns])
            logits: Logits = self._runtime.run(
                lambda pixels: self._network.decode_with(pixels, part), tile[None]
            )[0]
            return logits

        return network

    def _tensor(self, values: Logits) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values[None])).to(self._runtime.device)


def _parts(spans: Sequence[slice], stride: int) -> list[slice]:
    """Cut an axis in the middle of the overlaps, and return each tile's part in tokens."""
    middles = [(a.stop + b.start) // 2 // stride for a, b in itertools.pairwise(spans)]
    ends = [0, *middles, spans[-1].stop // stride]
    return [slice(*part) for part in itertools.pairwise(ends)]
