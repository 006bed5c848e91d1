"""Parameter groups: the reference's decay rule."""

import torch
from torch import nn

from topseg.recipe import OptimConfig
from topseg.training.optim import make_optimizer, set_lr


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
