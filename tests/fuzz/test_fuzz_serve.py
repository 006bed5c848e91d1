"""The short form of the fuzzing script."""

import pytest
from fuzz_serve import fuzz, sample_images
from mutations import mutate


def test_mutated_images_and_requests_do_no_harm() -> None:
    found = fuzz(images=120, requests=120, seed=1)
    assert found["images"].total() == 120
    assert found["requests"].total() + found["calls"].total() == 120
    assert found["images"]["400"] > 0  # some are damaged
    assert found["images"]["200"] > 0  # and some are not


@pytest.mark.parametrize("seed", range(3))
def test_a_case_is_a_function_of_its_seed(seed: int) -> None:
    import random

    image = sample_images()[0]
    assert mutate(image, random.Random(seed)) == mutate(image, random.Random(seed))
