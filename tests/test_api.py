"""The verbs for Python: what people pass them, and what comes back."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import topseg
from topseg.core.errors import InputError

MODEL = "topformer-tiny-camvid"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from topseg.synthetic.scenes import write_scenes

    folder = tmp_path_factory.mktemp("api") / "scenes"
    write_scenes(folder, train=4, val=2)
    return folder


@pytest.fixture(scope="module")
def photo(data: Path) -> Path:
    return next((data / "images" / "val").iterdir())


def test_train_evaluate_predict_export(data: Path, tmp_path: Path, photo: Path) -> None:
    pytest.importorskip("torch")
    logged: dict[int, dict[str, float]] = {}
    settings = {
        "data.root": data,
        "train.steps": 2,
        "train.batch_size": 2,
        "train.crop": [64, 64],
        "train.workers": 0,
        "train.log_every": 1,
        "train.eval_every": 2,
        "train.save_every": 2,
        "optim.lr": 1e-5,
        "resize.short_side": 64,
    }
    run = topseg.train(
        "quick",
        tmp_path / "run",
        settings,
        device="cpu",
        on_log=lambda step, values: logged.setdefault(step, {}).update(values),
    )
    assert {"train/loss", "train/lr"} <= logged[1].keys()
    assert "val/miou" in logged[2]

    scores = topseg.evaluate(run)
    assert scores.images == 2
    assert (
        scores.miou
        == topseg.evaluate(
            topseg.load(run),
            topseg.open_dataset(topseg.read_recipe(run / "recipe.yaml").data, "val"),
        ).miou
    )
    assert topseg.evaluate(str(run), data, {"val": "train"}).images == 4
    (tmp_path / "more").mkdir()  # without a file that names the classes
    for name in ("images", "masks"):
        (tmp_path / "more" / name).symlink_to(data / name)
    assert topseg.evaluate(str(run), tmp_path / "more").miou == scores.miou
    assert repr(scores).startswith("Scores(mIoU ")
    assert scores._repr_html_().count("<tr>") == len(scores.names) + 2

    lines: list[str] = []
    bundle = topseg.export(run, tmp_path / "bundle", ["torch"], report=lines.append)
    assert bundle.folder == tmp_path / "bundle"
    assert (topseg.load(bundle.folder)(photo).mask == topseg.load(run)(photo).mask).all()


def test_check_reports(data: Path) -> None:
    report = topseg.check(data)
    assert not report.errors
    with pytest.raises(InputError, match="no such"):
        topseg.check("nowhere.yaml")


def test_evaluate_needs_data_for_a_bundle() -> None:
    with pytest.raises(InputError, match="give DATA as well"):
        topseg.evaluate(MODEL)


def test_settings_change_a_file_and_no_recipe_object(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="only with a file or a name"):
        topseg.train(topseg.Recipe(), tmp_path / "run", {"train.steps": 1})


def test_a_predictor_takes_what_people_have(photo: Path) -> None:
    predictor = topseg.load(MODEL)
    array = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
    data = photo.read_bytes()
    expected = predictor(photo).mask
    alpha = np.dstack([array, np.full(array.shape[:2], 7, np.uint8)])
    with photo.open("rb") as file:
        given = [
            str(photo),
            data,
            bytearray(data),
            io.BytesIO(data),
            file,
            array,
            alpha,
            Image.open(photo),
            Image.fromarray(alpha),
        ]
        found = predictor(given)
    assert len(found) == len(given)
    for one in found:
        np.testing.assert_array_equal(one.mask, expected)
    grey = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY)
    for one in predictor([grey[..., None], Image.fromarray(grey)]):
        np.testing.assert_array_equal(one.mask, predictor(grey).mask)


@pytest.mark.parametrize(
    "image",
    [
        None,
        3,
        {"a": 1},
        "nowhere.jpg",
        b"no image",
        io.StringIO("text"),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        [np.zeros((4, 4, 3), np.float32)],
    ],
    ids=lambda one: type(one).__name__,
)
def test_anything_else_is_one_clear_error(image: object) -> None:
    with pytest.raises(InputError):
        topseg.load(MODEL)(image)  # type: ignore[call-overload]


def test_what_is_printed_tells_what_it_is(photo: Path) -> None:
    predictor = topseg.load(MODEL)
    assert repr(predictor).startswith("Predictor(topformer_tiny, 11 classes, ")
    found = predictor(photo)
    height, width = found.size
    assert repr(found).startswith(f"Prediction({width}x{height}: ")
    shown = cv2.imdecode(np.frombuffer(found._repr_png_(), np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(shown, found.overlay())
