"""Models by name: those in the package, and those that others have published.

A published file is downloaded from its authors the first time its name is used. Scores are the
authors' own, in percent (PaddleSeg's TopFormer page).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_HOST = "https://paddleseg.bj.bcebos.com/dygraph"


@dataclass(frozen=True)
class Published:
    """One published file of weights."""

    name: str
    network: str
    url: str
    classes: str | None
    """Label set of a whole model; None: a backbone to train from."""
    miou: float | None = None
    """On ADE20K val, one scale."""
    miou_flip: float | None = None
    """The same with the mirror image averaged in."""
    license: str = "Apache-2.0 (PaddleSeg)"


def _ade20k(size: str, miou: float, miou_flip: float) -> Published:
    return Published(
        name=f"topformer-{size}-ade20k",
        network=f"topformer_{size}",
        url=f"{_HOST}/ade20k/topformer_{size}_ade20k_512x512_160k/model.pdparams",
        classes="ade20k",
        miou=miou,
        miou_flip=miou_flip,
    )


def _imagenet(size: str) -> Published:
    return Published(
        name=f"topformer-{size}-imagenet",
        network=f"topformer_{size}",
        url=f"{_HOST}/backbone/topformer_{size}_imagenet_pretrained.zip",
        classes=None,
    )


PUBLISHED = {
    one.name: one
    for one in (
        _ade20k("base", 38.28, 38.59),
        _ade20k("small", 35.60, 35.83),
        _ade20k("tiny", 32.49, 32.75),
        _imagenet("base"),
        _imagenet("small"),
        _imagenet("tiny"),
    )
}
"""Every published file by its name."""

SHIPPED = {
    name: Path(__file__).parents[1] / "shipped" / name for name in ("topformer-tiny-camvid",)
}
"""Bundles inside the package, by name: no network and no training needed."""

NAMES = (*SHIPPED, *PUBLISHED)
"""Every name that can stand for a model."""
