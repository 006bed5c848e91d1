"""TopFormer as a family: what the rest of topseg may know of it. Needs no torch until it is built.

The costs are those of 150 classes, three channels and a 512x512 image; ``models.cost`` counts them
for any other case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.models.family import Family, PaddleName, Variant
from topseg.models.topformer.config import BASE, SMALL, TINY, TOKEN_STRIDE, Dimensions, Options
from topseg.models.topformer.weights import FILES

if TYPE_CHECKING:
    from torch import nn

    from topseg.models.topformer.network import TopFormer


def _build(
    dimensions: Dimensions, num_classes: int, in_channels: int, options: Options
) -> TopFormer:
    from topseg.models.topformer.network import TopFormer

    return TopFormer(dimensions, num_classes, in_channels, options.pool)


def _set_drop_path(network: nn.Module, rate: float) -> None:
    cast("TopFormer", network).set_drop_path(rate)


def _check_training(options: Options, crop: Size, images: int) -> None:
    """Check that the transformer's batch norms get more than one token to train on."""
    rows, columns = (max(1, side // TOKEN_STRIDE) for side in crop)
    if options.pool == "adaptive":
        rows, columns = (-(-side // TOKEN_STRIDE) for side in crop)
    if images * rows * columns < 2:
        raise InputError(
            f"train.batch_size: one image of {list(crop)} at a time gives the batch norms of the "
            "transformer, at stride 64, a single value, and they need two; raise train.crop above "
            "64, or raise train.batch_size, or lower train.accumulate"
        )


FAMILY: Final = Family(
    name="TopFormer",
    paper="https://arxiv.org/abs/2204.05525",
    build=_build,
    options=Options,
    multiple=32,
    aux_strides=(4, 8, 16, 32),
    set_drop_path=_set_drop_path,
    check_training=_check_training,
    attention="backbone.trans",
    files=FILES,
)


def _in_paddleseg(size: str, *, depthwise: bool) -> PaddleName:
    switches = {"head_use_dw": depthwise, "align_corners": False}
    return PaddleName(model="TopFormer", backbone=f"TopTransformer_{size}", switches=switches)


VARIANTS: Final = (
    Variant(
        name="topformer_base",
        family=FAMILY,
        config=BASE,
        parameters=5_062_646,
        macs=1_752_203_264,
        paddleseg=_in_paddleseg("Base", depthwise=False),
    ),
    Variant(
        name="topformer_small",
        family=FAMILY,
        config=SMALL,
        parameters=3_034_662,
        macs=1_112_297_472,
        paddleseg=_in_paddleseg("Small", depthwise=False),
    ),
    Variant(
        name="topformer_tiny",
        family=FAMILY,
        config=TINY,
        parameters=1_389_654,
        macs=534_110_208,
        paddleseg=_in_paddleseg("Tiny", depthwise=True),
    ),
)
