"""YAML that is wrong, hostile or surprising: one line with its place, and never a hang."""

import contextlib
import os
import random
from pathlib import Path

import pytest

from topseg.core.errors import InputError
from topseg.core.yaml_reader import MAX_BYTES, parse_yaml, read_text_of
from topseg.recipe import read_recipe


def test_merge_keys_are_what_yaml_says() -> None:
    text = """
    one: &one {a: 1, b: 1}
    two: &two {<<: *one, b: 2, c: 2}
    own: {<<: *two, a: 3}
    list: {<<: [*one, *two], d: 4}
    """
    found = parse_yaml(text, "x")
    assert found["two"] == {"a": 1, "b": 2, "c": 2}
    assert found["own"] == {"a": 3, "b": 2, "c": 2}
    assert found["list"] == {"a": 1, "b": 1, "c": 2, "d": 4}  # the earlier of the list wins


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("train: {{ steps }}\n", "line 1.*a key is a mapping"),
        ("? [a, b]\n: c\n", "line 1.*a key is a list"),
        ("a: 1\nb: !!int foo\n", "line 2.*'foo' is not a whole number"),
        ("a: !!float foo\n", "'foo' is not a number"),
        ("a: !!bool foo\n", "'foo' is not true or false"),
        ("a: !!timestamp x\n", "'x' is not a timestamp"),
        ("a: !!python/name:os.system\n", "could not determine a constructor"),
        ("a: 1\na: 2\n", "line 2: .*'a' is given twice"),
        ("<<: {a: 1}\n<<: {b: 1}\n", "'<<' is given twice"),
        ("<<: 3\n", "expected a mapping"),
        ("a: " + "[" * 20_000 + "]" * 20_000, "nested more than 50 deep"),
        ("a: " + "{a: " * 60 + "1" + "}" * 60, "nested more than 50 deep"),
        ("a: " + "9" * 5000, r"'9{37}\.\.\.' is not a whole number"),
        ("a: " + "9" * 4000, r"'9{37}\.\.\.' is too large"),
        ("a: &a [*a]\n", "an alias stands inside itself"),
        ("a: &a {b: *a}\n", "an alias stands inside itself"),
        ("a: *nothing\n", "undefined alias"),
        ("a: \x01\n", "special characters are not allowed"),
        ("%YAML 9.9\n---\na: 1\n", "line 1|version"),
        ("a: 1\n---\nb: 2\n", "found another document"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=f"^x:.*(?:{problem})") as caught:
        parse_yaml(text, "x")
    assert len(str(caught.value)) < 300
    file = tmp_path / "r.yaml"
    file.write_text(text, newline="")
    with pytest.raises(InputError, match=r"r\.yaml"):
        read_recipe(file)


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    with pytest.raises(InputError, match="more than 1000000 values"):
        parse_yaml("\n".join(lines), "x")


def test_dates_and_plain_values() -> None:
    assert parse_yaml("{a: 2024-13-45, b: 2024-01-01, c: 1, d: no, e: ~}", "x") == {
        "a": "2024-13-45",
        "b": "2024-01-01",
        "c": 1,
        "d": False,
        "e": None,
    }


@pytest.mark.parametrize(
    "assignment",
    [
        "train.steps={{x}}",
        "train.steps=*x",
        "train.steps=!!int x",
        "train.steps=" + "[" * 3000,
        "train.steps=" + "9" * 5000,
        "train.steps=",
        "train=",
        "train=3",
        "a." * 5000 + "b=1",
        "data.root=\0",
        "data.root='~nobody-of-that-name/x'",
        "model.weights=" + "x" * 5000,
        "model.name=\0",
        "data.label_map={[1]: 2}",
        "data.label_map={0:0,1:1}",
        "1=2",
        "loss=[1]",
        "train.augment={name: flip}",
        "train.augment=[{name: [flip]}]",
        "base=x.yaml",
    ],
)
def test_overrides_that_are_wrong(tmp_path: Path, assignment: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("")
    with pytest.raises(InputError):
        read_recipe(file, [assignment])


def test_surprises_are_explained(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("data: {classes: [no, other, 3], label_map: {0:0,1:1}}")
    with pytest.raises(InputError) as caught:
        read_recipe(file)
    text = str(caught.value)
    assert "quote them, as 'no'" in text
    assert "quote it, as '3'" in text
    assert "YAML wants a space after the colon: 0: 0" in text


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_bases_that_never_end(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    for base in ("/dev/zero", str(tmp_path), "'\\0'", '"\\0"'):
        file.write_text(f"base: {base}\n")
        with pytest.raises(InputError):
            read_recipe(file)
    os.mkfifo(tmp_path / "pipe")
    file.write_text("base: pipe\n")
    with pytest.raises(InputError, match="got a device or pipe"):
        read_recipe(file)


def test_a_fan_of_bases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.yaml").write_text("seed: 1\n")
    for depth in range(1, 20):
        base = f"{depth - 1}.yaml"
        (tmp_path / f"{depth}.yaml").write_text(f"base: [{', '.join([base] * 8)}]\n")
    with pytest.raises(InputError, match="base: more than 64 files"):
        read_recipe(tmp_path / "19.yaml")
    assert read_recipe(tmp_path / "1.yaml").seed == 1


def test_files_that_are_too_large_or_not_utf8(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match="expected a YAML file of at most"):
        read_text_of(large)
    (tmp_path / "latin.yaml").write_bytes("a: ü".encode("latin-1"))
    with pytest.raises(InputError, match="save it as UTF-8"):
        read_text_of(tmp_path / "latin.yaml")
    (tmp_path / "bom.yaml").write_bytes("a: ü".encode("utf-8-sig"))
    assert read_text_of(tmp_path / "bom.yaml") == "a: ü"


def test_changed_recipes_end_in_a_recipe_or_a_line(tmp_path: Path) -> None:
    """2,000 recipes with something inserted, left out or doubled."""
    parts = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        "\n",
        "  ",
        "- ",
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "'",
        '"',
    ]
    parts += ["~", "null", "no", "1e400", ".nan", ".inf", "0x1g", "1:1", "\0", "\t", "#", "? ", "|"]
    source = (
        "model: {name: topformer_tiny, weights: x}\ndata:\n  root: photos\n  classes: [a, b]\n"
        "  label_map: {3: ignore, 4: 1}\ntrain: {steps: 10, augment: [{name: flip}]}\n"
        "loss: [{name: ohem, class_weights: [1, 2]}]\noptim: {lr: 1e-4}\n"
    )
    rng = random.Random(0)
    file = tmp_path / "r.yaml"
    for _ in range(2000):
        text = source
        for _ in range(rng.randint(1, 4)):
            at, length = rng.randrange(len(text)), rng.choice([0, 0, 1, 5, 20])
            text = text[:at] + rng.choice(parts) * rng.choice([1, 1, 2]) + text[at + length :]
        file.write_text(text, newline="")
        with contextlib.suppress(InputError):
            read_recipe(file)
