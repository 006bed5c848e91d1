"""Frequency: how often each class occurs in a data set, and class weights by published rules.

Counting reads every training mask, so the counts are kept in the cache folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.files import read_json, write_json
from topseg.data.cache import cache_file
from topseg.data.config import DataConfig
from topseg.data.dataset import open_dataset
from topseg.data.layouts.pairs import Pair

Rule = Literal["median_frequency", "sqrt_median_frequency", "inverse_log"]
RULES: tuple[str, ...] = get_args(Rule)


@dataclass(frozen=True)
class Frequency:
    """How often the classes of a split occur.

    Attributes:
        pixels: Pixels of each class.
        around: Labelled pixels of the images that have the class.
    """

    pixels: tuple[int, ...]
    around: tuple[int, ...]


def count_pixels(config: DataConfig) -> Frequency:
    """Count the classes' pixels in the training masks, or remember an earlier count.

    Raises:
        InputError: A mask cannot be used.
    """
    dataset = open_dataset(config, "train")
    labels = dataset.labels
    path = cache_file("frequencies", config, labels, (pair.mask for pair in dataset.pairs))
    with contextlib.suppress(InputError, KeyError, TypeError):  # no count yet, or none to be read
        kept = read_json(path)
        return Frequency(tuple(kept["pixels"]), tuple(kept["around"]))
    pixels, around = np.zeros((2, labels.num_classes), np.int64)

    def count(pair: Pair) -> NDArray[np.int64]:
        return np.bincount(dataset.read_mask(pair.mask).ravel(), minlength=labels.ignore_index + 1)

    with ThreadPoolExecutor() as pool:
        for found in pool.map(count, dataset.pairs):
            own = found[: labels.num_classes]
            pixels += own
            around += np.where(own > 0, own.sum(), 0)
    frequency = Frequency(tuple(pixels.tolist()), tuple(around.tolist()))
    with contextlib.suppress(InputError):  # without a cache it is counted again
        write_json(path, asdict(frequency))
    return frequency


def class_weights(frequency: Frequency, rule: Rule) -> tuple[float, ...]:
    """Return a weight for each class, the larger the rarer it is.

    * "median_frequency": median of all f / f, with f a class's share of the labelled pixels of
      the images that have it (Eigen and Fergus, https://arxiv.org/abs/1411.4734).
    * "sqrt_median_frequency": the square root of that, for data with very rare classes.
    * "inverse_log": 1 / ln(1.02 + p), with p a class's share of all labelled pixels (ENet, Paszke
      et al., https://arxiv.org/abs/1606.02147).

    Args:
        frequency: From the training masks.
        rule: Which rule.

    Returns:
        One weight per class; 1 for a class that has no pixel.
    """
    pixels, around = np.array(frequency.pixels), np.array(frequency.around)
    there = pixels > 0
    weights = np.ones(len(pixels))
    if rule == "inverse_log":
        weights[there] = 1 / np.log(1.02 + pixels[there] / pixels.sum())
    elif there.any():
        share = pixels[there] / around[there]
        weights[there] = np.median(share) / share
        if rule == "sqrt_median_frequency":
            weights = np.sqrt(weights)
    return tuple(weights.tolist())


def describe_weights(config: DataConfig) -> str:
    """Write a table of the classes' shares and their weights by every rule, for people.

    Raises:
        InputError: A mask cannot be used.
    """
    names = open_dataset(config, "train").labels.names
    frequency = count_pixels(config)
    total = max(1, sum(frequency.pixels))
    width = max(5, *(len(name) for name in names))
    columns = [class_weights(frequency, rule) for rule in get_args(Rule)]
    lines = [f"{'class':{width}}  {'share':>8}  " + "  ".join(RULES)]
    for name, pixels, *row in zip(names, frequency.pixels, *columns, strict=True):
        cells = [f"{w:{len(rule)}.3f}" for w, rule in zip(row, RULES, strict=True)]
        lines.append(f"{name:{width}}  {pixels / total:8.2%}  " + "  ".join(cells))
    lines += ["", "in a recipe, by rule or as numbers:", f"loss: {_term(RULES[0])}"]
    for rule, weights in zip(RULES, columns, strict=True):
        lines.append(f"loss: {_term(_numbers(weights))}  # {rule}")
    return "\n".join(lines)


def _term(weights: str) -> str:
    return f"[{{name: cross_entropy, class_weights: {weights}}}]"


def _numbers(weights: Sequence[float]) -> str:
    return f"[{', '.join(f'{weight:.3g}' for weight in weights)}]"
