"""Problems of a data set are told by cause, and each cause once."""

from topseg.data.problem import Problem, problem_lines


def test_a_cause_is_told_once_with_its_files() -> None:
    problems = [
        *(Problem("mask", f"{n}.png: too dark", cause="too dark", file=f"{n}.png") for n in "abc"),
        Problem("mask", "d.png: too light", cause="too light", file="d.png"),
        Problem("size", "e.png: got 2\nexpected 3"),
    ]
    assert list(problem_lines(problems, 2)) == [
        "  mask (4)",
        "    too dark",
        "      a.png",
        "      b.png",
        "      ... and 1 more",
        "    d.png: too light",
        "  size (1)",
        "    e.png: got 2",
        "    expected 3",
    ]
    assert "      c.png" in list(problem_lines(problems, None))
