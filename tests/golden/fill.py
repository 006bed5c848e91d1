"""The golden weights and inputs: every value follows from a parameter's published name.

The golden outputs beside this file were computed by PaddleSeg (commit d7975e7, PaddlePaddle 3.3.1,
CPU, float32) with weights that need no file. Each tensor has a generator of its own, PCG64 seeded
with the first eight bytes (little endian) of the SHA-256 of the tensor's PaddleSeg name; it draws
in float64 and the result is rounded to float32:

* running means: 0.1 n; running variances: uniform between 0.6 and 1.6 (n is standard normal)
* batch norm weights: 1 + 0.1 n, that of the attention's last norm too; every bias: 0.1 n
* filters: n times a gain over the square root of the fan-in, the gain by the tensor's role (GAINS)

The gains keep every branch alive: attention is neither flat nor one-hot, the gates are used on both
flat ends and between, ReLU6 clips some values, and logits have a standard deviation of about 1.1.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from topseg.models import create_model
from topseg.models.topformer.network import TopFormer

GAINS = {
    ".to_q.": 0.85,
    ".to_k.": 0.85,
    ".attn.proj.": 0.70,
    ".mlp.fc2.": 0.70,
    ".global_act.": 1.00,
    ".global_embedding.": 0.60,
    ".conv_seg.": 0.50,
}
OTHER_GAIN = 1.15

INPUTS = {
    "1x3x512x512": (1, 3, 512, 512),
    "1x3x256x384": (1, 3, 256, 384),
    "2x3x64x64": (2, 3, 64, 64),
}


def fill(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the golden value of one tensor by its PaddleSeg name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    rng = np.random.Generator(np.random.PCG64(seed))
    if name.endswith("._variance"):
        return rng.uniform(0.6, 1.6, shape).astype(np.float32)
    n = rng.standard_normal(shape)
    if len(shape) == 4:
        gain = next((gain for role, gain in GAINS.items() if role in name), OTHER_GAIN)
        return (n * (gain / np.sqrt(np.prod(shape[1:])))).astype(np.float32)
    return (0.1 * n + (1.0 if name.endswith(".weight") else 0.0)).astype(np.float32)


def make_input(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Return a golden input: normalised values, NCHW."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))


def paddle_name(name: str) -> str:
    """PaddleSeg's name of a tensor."""
    return name.replace("running_mean", "_mean").replace("running_var", "_variance")


def golden_model(name: str, pool: str = "fixed") -> TopFormer:
    """Build a network of 150 classes with the golden weights, in evaluation mode."""
    model = create_model(name, pool=pool)  # type: ignore[arg-type]
    for key, tensor in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(fill(paddle_name(key), tuple(tensor.shape))))
    return model.eval()
