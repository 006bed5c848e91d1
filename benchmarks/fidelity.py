"""How far topseg is from its reference, item by item: the measured column of docs/fidelity.md.

    python benchmarks/fidelity.py [--data ADE20K_SAMPLE] [--weights FOLDER]

The golden numbers in tests/golden were computed by PaddleSeg and need nothing else. Two items need
files that are not in this repository: images with ADE20K's labels (images/ and annotations/), and
.pdparams files that PaddlePaddle itself wrote; without them they are left out, and that is said.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))


from train.test_train_parity import GOLDEN, OPTIM, SAMPLES, golden, three_steps  # noqa: E402

from data import test_reference_transforms as transforms  # noqa: E402
from golden.fill import INPUTS, fill, golden_model, make_input, paddle_name  # noqa: E402
from topseg.bundle.bundle import read_bundle  # noqa: E402
from topseg.core.geometry import ResizeRule  # noqa: E402
from topseg.data import colors  # noqa: E402
from topseg.data.config import DataConfig  # noqa: E402
from topseg.data.dataset import open_dataset  # noqa: E402
from topseg.evaluation.confusion import ConfusionMatrix  # noqa: E402
from topseg.evaluation.reference import reference_mask  # noqa: E402
from topseg.evaluation.scores import Scores  # noqa: E402
from topseg.inference.tta import Views  # noqa: E402
from topseg.interop import convert_weights, read_weights, write_weights  # noqa: E402
from topseg.models.cost import count_cost  # noqa: E402
from topseg.recipe import ScheduleConfig  # noqa: E402
from topseg.runtimes.registry import open_runtime  # noqa: E402
from topseg.training.optim import make_optimizer, set_lr  # noqa: E402
from topseg.training.schedule import learning_rate  # noqa: E402

Row = tuple[str, str, str, str]
"""Item, the reference's figure, ours, the difference."""
RULE = ResizeRule(short_side=512, max_long_side=2048, multiple=32, round="up")


def logits() -> Iterator[Row]:
    """Three golden inputs. PaddleSeg's and the official code differ from each other as well."""
    for size, spread in (("tiny", "3.8e-06"), ("base", "3.6e-06")):
        found = dict(np.load(TESTS / "golden" / f"topformer_{size}.npz"))
        far, masks, unequal = 0.0, 0, 0
        for name, shape in INPUTS.items():
            coarse = golden_model(f"topformer_{size}")(make_input(shape))
            full = F.interpolate(coarse, shape[2:], mode="bilinear")
            for kind, tensor in (("lowres", coarse), ("logits", full)):
                ours = _sampled(tensor, found[f"{name}/{kind}_strides"])
                far = max(far, float(np.abs(ours - found[f"{name}/{kind}_sample"]).max()))
            mask = _sampled(full.argmax(dim=1), found[f"{name}/argmax_strides"])
            clear = found[f"{name}/argmax_margin_sample"] >= 1e-4
            masks += int(clear.sum())
            unequal += int((mask != found[f"{name}/argmax_sample"])[clear].sum())
        yield f"logits, {size}", f"its two codes: {spread} apart", "", f"{far:.1e}"
        yield f"masks, {size}", f"{masks} clear pixels", f"{masks - unequal} equal", str(unequal)


def pooling() -> Iterator[Row]:
    """Largest difference of a logit between the two rules."""
    cases = [((512, 512), None, None), ((96, 160), 1.1, 1.2), ((288, 480), 0.45, 0.54)]
    cases += [((512, 544), 0.32, 0.36), ((512, 672), 0.42, 0.36)]
    for shape, *expected in cases:
        for size, theirs in zip(("tiny", "base"), expected, strict=True):
            x = make_input((1, 3, *shape))
            fixed, adaptive = (
                golden_model(f"topformer_{size}", p)(x) for p in ("fixed", "adaptive")
            )
            apart = F.interpolate(fixed - adaptive, shape, mode="bilinear").abs().max()
            item = f"pooling rules apart, {size} {shape[0]}x{shape[1]}"
            if theirs is None:
                yield item, "equal", f"{apart:.1e}", f"{apart:.1e}"
            else:
                yield item, f"{theirs}", f"{apart:.3f}", f"{abs(apart - theirs):.3f}"


def training() -> Iterator[Row]:
    run = three_steps()
    sample = run.logits[:, ::10, ::25, ::27].numpy()
    yield "step 1, logits in training", "", "", f"{_far(sample, GOLDEN['logits_train_sample']):.1e}"
    for step, (ours, theirs) in enumerate(zip(run.losses, GOLDEN["losses"], strict=True), 1):
        yield f"step {step}, loss", f"{theirs:.6f}", f"{ours:.6f}", f"{abs(ours - theirs):.1e}"
    rates = [head for _, head in run.rates]
    far = max(abs(a / b - 1) for a, b in zip(rates, GOLDEN["lrs"], strict=True))
    yield "steps 1 to 3, learning rate", _list(GOLDEN["lrs"]), _list(rates), f"{far:.0e} of it"
    far = max(
        _far(run.gradients[n].numpy(), g) / np.abs(g).max() for n, g in golden("grad").items()
    )
    yield "step 1, gradients", f"{len(golden('grad'))} tensors", "", f"{far:.1e} of the largest"
    far = max(_far(run.parameters[n].numpy(), p) for n, p in golden("param3").items())
    yield "step 3, parameters", f"{len(golden('param3'))} tensors", "", f"{far:.1e}"
    means, variances = 0.0, 0.0
    for name, theirs in golden("bnstat1").items():
        ours = run.statistics[name].numpy()
        if name.endswith("_mean"):
            means = max(means, _far(ours, theirs))
            continue
        kept = 0.9 * fill(name, theirs.shape)
        count = next(count for part, count in SAMPLES.items() if f".{part}." in name)
        biased = kept + (ours - kept) * (count - 1) / count  # PaddlePaddle's estimate, ours is not
        variances = max(variances, float(np.abs(biased / theirs - 1).max()))
    yield "step 1, running means", f"{len(golden('bnstat1')) // 2} tensors", "", f"{means:.1e}"
    yield "step 1, running variances (biased)", "", "", f"{variances:.1e} of them"


def schedule() -> Iterator[Row]:
    config = ScheduleConfig(warmup_steps=1500, warmup_lr=1e-6)
    theirs = {0: "1e-06", 1: "1.79933e-06", 749: "0.0005997007", 1499: "0.0011992007"}
    theirs |= {1500: "0.0012", 1501: "0.001199992429", 80_000: "0.000605678", 159_999: "7.571e-09"}
    theirs |= {160_000: "0"}
    for step, text in theirs.items():
        ours = learning_rate(step, 160_000, 1.2e-3, config)
        digits = len(text.split("e")[0].replace(".", "").lstrip("0")) or 1
        equal = float(f"{ours:.{digits}g}") == float(text)
        yield f"learning rate, step {step}", text, f"{ours:.10g}", "0" if equal else "DIFFERENT"


def decay() -> Iterator[Row]:
    model = golden_model("topformer_tiny")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, OPTIM)
    set_lr(optimizer, 0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for part, theirs in (("backbone", 0.9999), ("decode_head", 0.999)):
        ratios = torch.cat(
            [(p.detach() / before[n]).flatten() for n, p in model.named_parameters() if part in n]
        )
        far = float((ratios - theirs).abs().max())
        yield f"decay without gradient, {part}", f"{theirs}", f"{ratios.mean():.7g}", f"{far:.0e}"


def metrics() -> Iterator[Row]:
    found = np.load(TESTS / "golden" / "transforms_metrics.npz")
    confusion = ConfusionMatrix(7, 255)
    confusion.update(found["metric_label"], found["metric_pred"])
    scores = Scores(tuple("abcdefg"), confusion, images=1, absent_as_right=True)
    ours = {"miou": scores.miou, "acc": scores.accuracy, "kappa": scores.kappa, "dice": scores.dice}
    for name, value in ours.items():
        theirs = float(found[f"metric_{name}"])
        yield f"metric {name}", f"{theirs:.12f}", f"{value:.12f}", f"{abs(theirs - value):.0e}"
    classes = {"class_iou": scores.iou, "prec": scores.precision, "rec": scores.recall}
    for name, values in classes.items():
        yield f"metric {name}", "7 classes", "", f"{_far(values, found[f'metric_{name}']):.0e}"


def augmentation() -> Iterator[Row]:
    for seed in (0, 1, 2):
        sample, changes = transforms.replay(seed)
        wrong = int((sample.mask[::8, ::8] != transforms.GOLDEN[f"seed{seed}_label"]).sum())
        expected = transforms.GOLDEN[f"seed{seed}_img"].transpose(1, 2, 0)
        expected = (expected * transforms.STD + transforms.MEAN) * 255
        apart = np.abs(sample.image[::16, ::16] - expected)
        kinds = ", ".join(kind for kind, _ in changes) or "no colours"
        item = f"augmented sample {seed} ({kinds})"
        yield item, "", f"{wrong} labels differ", _spread(apart)
    image = transforms.original().image
    for turn in (7.5, -17.3):  # none of the three drew a turn of hue
        hue, saturation, value = PIL.Image.fromarray(image).convert("HSV").split()
        turned = (np.trunc(np.float64(hue) + turn).astype(int) % 256).astype(np.uint8)
        merged = PIL.Image.merge("HSV", (PIL.Image.fromarray(turned), saturation, value))
        apart = np.abs(colors.hue(image, turn).astype(int) - np.asarray(merged.convert("RGB")))
        yield f"hue turned by {turn} / 256", "Pillow's HSV", "OpenCV's HSV", _spread(apart)


def sizes() -> Iterator[Row]:
    table = json.loads((TESTS / "golden" / "resize_vectors.json").read_text())["network_sizes"]
    cases = [case for case in table if case["rule"]["round"] == "up"]
    wrong = sum(
        ResizeRule(**case["rule"]).network_size(tuple(case["size"])) != tuple(case["network"])
        for case in cases
    )
    yield "resize rule", f"{len(cases)} sizes", f"{len(cases) - wrong} equal", str(wrong)


def costs() -> Iterator[Row]:
    for size, parameters, macs in (
        ("base", 5_062_646, 1.7522),
        ("small", 3_034_662, 1.1123),
        ("tiny", 1_389_654, 0.5341),
    ):
        ours, counted = count_cost(f"topformer_{size}")
        apart = f"{ours - parameters}; {abs(counted / 1e9 - macs):.4f} G"
        theirs = f"{parameters} parameters; {macs} GMAC"
        yield f"cost, {size}", theirs, f"{ours} parameters; {counted / 1e9:.4f} GMAC", apart


def weights(folder: Path | None) -> Iterator[Row]:
    keys = json.loads((TESTS / "golden" / "state_dict_keys.json").read_text())
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        for size in ("tiny", "small", "base"):
            state = golden_model(f"topformer_{size}").state_dict()
            ours = {key: tensor.numpy() for key, tensor in state.items()}
            shapes = {
                paddle_name(key): list(array.shape)
                for key, array in ours.items()
                if not key.endswith("num_batches_tracked")
            }
            write_weights(ours, out / f"{size}.pdparams")
            convert_weights(out / f"{size}.pdparams", out / f"{size}.pth")
            theirs = keys[size]["entries"]
            wrong = len(theirs.keys() ^ shapes.keys())
            wrong += sum(shapes.get(key) != shape for key, shape in theirs.items())
            yield f"keys and shapes, {size}", f"{len(theirs)}", f"{len(shapes)}", str(wrong)
            for end in ("pdparams", "pth"):
                found = read_weights(out / f"{size}.{end}")
                lost = sum(not np.array_equal(found[key], ours[key]) for key in found)
                yield (
                    f".{end} written and read back, {size}",
                    "",
                    f"{len(found)} tensors",
                    f"{lost}",
                )
        if folder is None:
            return
        original = read_weights(folder / "topformer_tiny_random.pdparams")
        for file in sorted(folder.glob("*.pdparams")):
            found = read_weights(file)
            lost = sum(not np.array_equal(original[key], array) for key, array in found.items())
            yield f"PaddlePaddle's own {file.name}", "", f"{len(found)} tensors", f"{lost}"


def protocol(data: Path | None) -> Iterator[Row]:
    """Masks of --protocol reference against its steps, carried out one by one in PyTorch."""
    if data is None:
        return
    dataset = open_dataset(DataConfig(layout="ade20k", root=str(data), val="."), "val")
    with tempfile.TemporaryDirectory() as name:
        state = golden_model("topformer_tiny").state_dict()
        arrays = {key: tensor.numpy() for key, tensor in state.items()}
        write_weights(arrays, Path(name) / "model.pdparams")
        folder = convert_weights(Path(name) / "model.pdparams", Path(name) / "bundle")
        runtime = open_runtime(read_bundle(folder), "torch")
        for views in (Views(), Views(flip=True), Views(flip=True, scales=(0.5, 1.0, 1.5))):
            pixels, unequal = 0, 0
            for index in range(len(dataset)):
                image = dataset[index].image
                ours, _ = reference_mask(runtime, image, RULE, views)
                unequal += int((ours != _steps(runtime, image, views)).sum())
                pixels += ours.size
            words = f"scales {views.scales}, flip {views.flip}"
            yield (
                f"protocol, {words}",
                f"{pixels} pixels",
                f"{pixels - unequal} equal",
                str(unequal),
            )


def _steps(runtime: Any, image: NDArray[np.uint8], views: Views) -> NDArray[np.int64]:
    """PaddleSeg's core/infer.py, on whole (K, H, W) tensors."""

    def resized(x: torch.Tensor, size: Any) -> torch.Tensor:
        return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)

    base = RULE.network_size(image.shape[:2])  # type: ignore[arg-type]
    pixels = resized(torch.from_numpy(image).permute(2, 0, 1)[None].float(), base)
    total = torch.zeros(1)
    for scale in views.scales:
        view = resized(pixels, [round(side * scale / 32) * 32 for side in base])
        for flip in (False, True)[: 1 + views.flip]:
            turned = view.flip(3) if flip else view
            found = torch.from_numpy(runtime(turned.permute(0, 2, 3, 1).contiguous().numpy()))
            found = resized(found, view.shape[2:])
            total = total + resized(found.flip(3) if flip else found, base)
    return resized(total, image.shape[:2]).argmax(dim=1)[0].numpy()


def _sampled(tensor: torch.Tensor, strides: NDArray[np.int64]) -> NDArray[Any]:
    return tensor.numpy()[tuple(slice(None, None, int(stride)) for stride in strides)]


def _far(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    return float(np.abs(ours - theirs).max())


def _spread(apart: NDArray[Any]) -> str:
    return f"99 % within {np.quantile(apart, 0.99):.2f}, largest {apart.max():.2f} of 255"


def _list(values: Any) -> str:
    return ", ".join(f"{value:.7g}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with images/ and annotations/ of ADE20K")
    parser.add_argument("--weights", type=Path, help="folder of .pdparams written by PaddlePaddle")
    arguments = parser.parse_args()
    print("| item | reference | topseg | difference |\n|---|---|---|---|")
    parts: list[Callable[[], Iterator[Row]]] = [logits, pooling, training, schedule, decay, metrics]
    parts += [augmentation, sizes, costs, lambda: weights(arguments.weights)]
    for part in [*parts, lambda: protocol(arguments.data)]:
        with torch.set_grad_enabled(part is training):
            for row in part():
                print(f"| {' | '.join(row)} |", flush=True)
    for option, value in vars(arguments).items():
        if value is None:
            print(f"Left out: what needs --{option}.")


if __name__ == "__main__":
    main()
