"""Demo: the whole way from labelled images to masks, on scenes that it draws itself."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from topseg.core.config import build, override, read_yaml, to_tree
from topseg.core.errors import InputError
from topseg.core.files import write_json, write_text
from topseg.core.terminal import say
from topseg.inference.bulk import Threads, predict_files
from topseg.inference.hub import load
from topseg.recipe import Recipe, read_data
from topseg.report.run import report_run
from topseg.synthetic.scenes import write_scenes
from topseg.training.trainer import train

RECIPE = Path(__file__).with_name("demo_recipe.yaml")

_MARK = "Made by 'topseg demo', which makes what is listed here anew each time:\n"
_MADE = {
    "report.html": "what came out of it, with curves and pictures; open it in a browser",
    "scores.json": "the scores on the held-out scenes",
    "recipe.yaml": "the training recipe, to start your own from",
    "data": "the scenes: images, masks and dataset.yaml, in train and val",
    "run": "the training run: log, checkpoints, best weights",
    "predictions": "masks of the held-out scenes, and the masks laid over them",
}


def run_demo(
    out: Path,
    *,
    device: str = "auto",
    scenes: tuple[int, int] = (400, 60),
    overrides: Sequence[str] = (),
) -> int:
    """Draw a data set, train on it, evaluate, predict and write a report.

    Args:
        out: Folder for everything; what an earlier demo made in it is replaced.
        device: Where to train.
        scenes: How many to train on, and how many to hold out.
        overrides: Changes to the recipe, such as ``train.steps=100``.

    Returns:
        0, or the trainer's exit code where a signal stopped it.

    Raises:
        InputError: The folder holds something that no demo made, or cannot be written to.
    """
    _clear(out)
    say(f"Drawing {scenes[0]} scenes to train on and {scenes[1]} to hold out ...")
    write_scenes(out / "data", train=scenes[0], val=scenes[1])
    write_text(out / "recipe.yaml", RECIPE.read_text(encoding="utf-8"))
    tree = override(read_yaml(RECIPE), overrides)
    tree["data"] = to_tree(read_data(out / "data"))
    code = train(build(Recipe, tree, RECIPE.name), out / "run", device=device)
    if code:
        return code
    predict_files(
        Threads([load(out / "run", device=device)]),
        [out / "data" / "images" / "val"],
        out / "predictions",
        overlay=True,
    )
    scores = report_run(
        out / "run",
        out / "report.html",
        title="Nine things in a toy landscape",
        commands=_next(out),
        device=device,
    )
    write_json(out / "scores.json", scores.to_dict())
    say(f"\n{scores.summary()}\n\n{out / 'report.html'} shows all of it.\n")
    say("\n".join(_next(out)))
    return 0


def _next(out: Path) -> list[str]:
    """Return how to do the same with other images."""
    return [
        "# The same with your own images: photos/images/{train,val} and photos/masks/{train,val},",
        "# paired by name (masks: a class index a pixel, 255 = no class), and photos/classes.txt.",
        "topseg check photos",
        f"topseg train {shlex.quote(str(out / 'recipe.yaml'))} --out runs/mine data.root=photos",
        "topseg predict runs/mine photos/images/val --out masks --overlay",
    ]


def _clear(out: Path) -> None:
    """Make the folder, without what an earlier demo left in it."""
    mark = out / "README.txt"
    ours = mark.is_file() and mark.read_text(errors="replace").startswith(_MARK)
    if not ours and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out}: holds something that no demo made; give an empty or a new folder (--out)"
        )
    for name in _MADE:
        path = out / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    lines = (f"{name:12} {meaning}\n" for name, meaning in _MADE.items())
    write_text(mark, f"{_MARK}\n{''.join(lines)}")
