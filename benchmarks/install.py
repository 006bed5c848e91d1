"""What an installation takes: megabytes, seconds, and the time to the first mask.

    python benchmarks/install.py [EXTRA ...]

Builds the wheel of what is committed, makes a fresh environment for the core and for each EXTRA,
installs into it with pip and its cache (run it twice: the second time the packages are near),
predicts a drawn picture with the packaged model, and asks ``topseg doctor`` whether what is there
works. Megabytes are those of the environment less those of an empty one, byte code included.
"""

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from models import write_result
from topseg.evaluation.benchmark import draw_photo

ROOT = Path(__file__).parents[1]


def megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def run(*words: str | Path) -> float:
    """Run a command; return its seconds."""
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(wheel: Path, extra: str, work: Path, photo: Path) -> str:
    """Install, predict and ask the doctor; return a row of the table."""
    environment = work / (extra or "core")
    venv.create(environment, with_pip=True)
    empty, bin_ = megabytes(environment), environment / "bin"
    requirement = f"{wheel}[{extra}]" if extra else str(wheel)
    install = run(bin_ / "python", "-m", "pip", "install", "--quiet", requirement)
    size = megabytes(environment) - empty
    mask = run(bin_ / "topseg", "predict", "topformer-tiny-camvid", photo, "--out", work / extra)
    run(bin_ / "topseg", "doctor")
    return f"| {extra or 'core'} | {size:.0f} | {install:.0f} | {mask:.1f} | {install + mask:.0f} |"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        python, photo = sys.executable, draw_photo(work / "photo.jpg")
        source = work / "topseg.tar.gz"  # without what earlier builds left in the folder
        run("git", "-C", ROOT, "archive", "--prefix=topseg/", f"--output={source}", "HEAD")
        run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", work, source)
        wheel = next(work.glob("*.whl"))
        rows = [measure(wheel, extra, work, photo) for extra in ("", *sys.argv[1:])]
    head = "| extra | MB installed | s to install | s to the first mask | s in all |"
    write_result("install", "Installing", "\n".join([head, "|---|---:|---:|---:|---:|", *rows]))


if __name__ == "__main__":
    main()
