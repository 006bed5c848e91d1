"""TopFormer's tensors in the files of other projects.

The names published with the paper are the names everywhere; a backbone on its own leaves out the
``backbone.`` in front. Shapes tell the size, the classes and the channels.
"""

from __future__ import annotations

from typing import Final

from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule
from topseg.models.family import Origin, Shapes, WeightFiles
from topseg.models.topformer.config import BASE, SMALL, TINY

QUERY: Final = "backbone.trans.transformer_blocks.0.attn.to_q.c.weight"
STEM: Final = "backbone.tpm.stem.0.c.weight"
CLASSES: Final = "decode_head.conv_seg.weight"

WIDTHS: Final = {
    sum(dimensions.widths): name
    for name, dimensions in (
        ("topformer_base", BASE),
        ("topformer_small", SMALL),
        ("topformer_tiny", TINY),
    )
}
"""The transformer's width tells the three sizes apart."""


def _rename(name: str) -> str:
    return f"backbone.{name}" if name.startswith(("tpm.", "trans.", "SIM.")) else name


def _identify(shapes: Shapes) -> tuple[str, int, int]:
    """Return the variant, classes and channels of a whole model."""
    if CLASSES not in shapes:
        raise InputError(
            "holds a backbone without its head, so it cannot predict; train from it with "
            "model.backbone_weights in a recipe"
        )
    query, stem, classes = (shapes.get(name, ()) for name in (QUERY, STEM, CLASSES))
    width = query[1] if len(query) == 4 else None
    if width not in WIDTHS or len(stem) != 4 or len(classes) != 4:
        raise InputError(f"not a TopFormer Base, Small or Tiny (transformer width {width})")
    return WIDTHS[width], classes[0], stem[1]


# fmt: off
_ORDER = (
    "backbone", "tpm", "stem", "layer", "trans", "transformer_blocks", "attn", "to_q", "to_k",
    "to_v", "proj", "mlp", "fc1", "dwconv", "fc2", "SIM", "local_embedding", "global_embedding",
    "global_act", "decode_head", "linear_fuse", "conv_seg", "c", "conv", "bn", "weight", "bias",
    "running_mean", "running_var", "num_batches_tracked",
)
# fmt: on


def _place(name: str) -> list[tuple[int, int]]:
    """Return a sort key that puts tensors in the order in which the network is built."""
    place = []
    for part in name.split("."):
        word = part if part in _ORDER else part.rstrip("0123456789")
        number = part.removeprefix(word)
        place.append((_ORDER.index(word) if word in _ORDER else len(_ORDER), int(number or 0)))
    return place


_PADDLESEG = Origin(project="PaddleSeg", options={"pool": "fixed"})
_OFFICIAL = Origin(project="hustvl/TopFormer", options={"pool": "adaptive"})
_OWN = Origin(project="topseg", options={"pool": "adaptive"})

FILES: Final = WeightFiles(
    prefixes=("backbone.", "decode_head."),
    marker="backbone.tpm.",
    rename=_rename,
    identify=_identify,
    place=_place,
    origins={
        ".pdparams": _PADDLESEG,
        ".zip": _PADDLESEG,
        ".pth": _OFFICIAL,
        ".pt": _OFFICIAL,
        ".safetensors": _OWN,
    },
    resize=ResizeRule(short_side=512, max_long_side=2048, multiple=32, round="up"),
)
"""Both projects resize to a multiple of 32, rounded up."""
