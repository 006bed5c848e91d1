"""The documents whose commands and snippets are tested."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "README_zh.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

NAMED = {
    "train.early_stop": "reference/recipe.html",
    "upsample_argmax": "reference/python.html",
    "topseg_mask8": "reference/c.html",
    "topseg average": "reference/commands.html",
    "torchrun": "scaling.html",
    "Slurm": "scaling.html",
    "NCNN": "devices.html",
    "GeoTIFF": "huge.html",
    "Label Studio": "convert.html",
    "boundary IoU": "compare.html",
}
"""Ten things that people look for -> a page where the site's search has to find it."""
