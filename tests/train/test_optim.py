"""Parameter groups: the reference's decay rule, and three of its steps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from golden.fill import golden_model, make_input
from topseg.losses import CrossEntropy, count_all, total_loss
from topseg.recipe import OptimConfig, ScheduleConfig
from topseg.train.optim import make_optimizer, set_lr
from topseg.train.schedule import learning_rate

GOLDEN = Path(__file__).parents[1] / "golden" / "train_step_tiny.npz"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.head = nn.Conv2d(2, 2, 1)


def test_everything_decays_by_its_own_learning_rate() -> None:
    net = Net()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    config = OptimConfig(weight_decay=0.01, backbone_lr_mult=0.1)
    optimizer = make_optimizer(net, config)
    set_lr(optimizer, 0.1)
    optimizer.step()
    for name, parameter in net.named_parameters():
        factor = 0.9999 if name.startswith("backbone.") else 0.999  # measured on the reference
        torch.testing.assert_close(parameter.detach(), before[name] * factor, rtol=1e-6, atol=0)


def test_sgd_is_torch_s_own() -> None:
    net, other = Net(), Net()
    other.load_state_dict(net.state_dict())
    ours = make_optimizer(net, OptimConfig(name="sgd", lr=0.1, weight_decay=0.05))
    theirs = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9, weight_decay=0.05)
    for _ in range(3):
        for model, optimizer in ((net, ours), (other, theirs)):
            optimizer.zero_grad()
            model.head(model.backbone(torch.ones(2, 1, 2, 2))).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(net.state_dict(), other.state_dict())


def test_three_steps_of_the_reference() -> None:
    """PaddleSeg's losses, gradients and parameters from the same weights and inputs."""
    golden = np.load(GOLDEN)
    model = golden_model("topformer_tiny").train()
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    optimizer = make_optimizer(model, OptimConfig(weight_decay=0.01, backbone_lr_mult=0.1))
    terms = [CrossEntropy(255)]
    for i in range(3):
        rng = np.random.Generator(np.random.PCG64(20 + i))
        truth = rng.integers(0, 150, (2, 256, 256))
        truth[:, :8, :] = 255
        truth[rng.random(truth.shape) < 0.2] = 255
        masks = torch.from_numpy(truth.astype(np.uint8))
        lr = learning_rate(750 + i, 160_000, 1.2e-3, ScheduleConfig(warmup_steps=1500))
        assert lr == pytest.approx(golden["lrs"][i], rel=1e-12)
        set_lr(optimizer, lr)
        optimizer.zero_grad()
        logits = model(make_input((2, 3, 256, 256), seed=10 + i))
        loss = total_loss(terms, logits, masks, count_all(terms, masks))
        assert loss.item() == pytest.approx(golden["losses"][i], abs=2e-4)
        loss.backward()
        if i == 0:
            for key in (key for key in golden if key.startswith("grad/")):
                gradient = model.get_parameter(key.removeprefix("grad/")).grad
                assert gradient is not None
                allowed = 0.02 * np.abs(golden[key]).max()
                np.testing.assert_allclose(gradient.numpy(), golden[key], rtol=0, atol=allowed)
        optimizer.step()
    for key in (key for key in golden if key.startswith("param3/")):
        value = model.get_parameter(key.removeprefix("param3/")).detach().numpy()
        np.testing.assert_allclose(value, golden[key], rtol=0, atol=2e-3)
