"""Tail: stride-8 logits become a mask of any size, exactly as full bilinear interpolation would.

One class at a time is interpolated and compared with the best so far, so the (K, H, W) tensor is
never built.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.errors import InputError
from topseg.geometry import Size
from topseg.labels import Mask


def upsample_argmax(logits: NDArray[np.float32], size: Size, threads: int = 1) -> Mask:
    """Interpolate logits bilinearly (``align_corners=False``) and give the best class a pixel.

    Args:
        logits: (K, h, w) or (B, K, h, w) float32.
        size: (height, width) of the mask, larger or smaller than the logits.
        threads: CPU threads that may be used.

    Returns:
        (H, W) or (B, H, W) class indices, the lower one where two are equal; uint8, or uint16
        above 255 classes.

    Raises:
        InputError: Another shape or type, or an empty size.
    """
    if logits.ndim not in (3, 4) or logits.dtype != np.float32 or 0 in logits.shape:
        raise InputError(
            f"logits: got {logits.dtype} {logits.shape}, expected float32 (K, h, w) or (B, K, h, w)"
        )
    if min(size) < 1:
        raise InputError(f"size: got {size}, expected (height, width) of at least one pixel")
    if logits.ndim == 4:
        return np.stack([upsample_argmax(one, size, threads) for one in logits])
    height, width = size
    mask = np.zeros(size, np.uint8 if len(logits) <= 255 else np.uint16)
    best = cv2.resize(logits[0], (width, height), interpolation=cv2.INTER_LINEAR)
    for index, plane in enumerate(logits[1:], start=1):
        value = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        better = value > best
        mask[better] = index
        np.copyto(best, value, where=better)
    return mask
