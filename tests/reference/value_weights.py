"""Losses with a weight for each value, by PyTorch in float64: value and gradient.

Usage: python value_weights.py > value_weights.json
"""

import json

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(11)
ROWS, WIDTH = 5, 3


def tensor(values):
    return {"shape": list(values.shape), "data": values.detach().flatten().tolist()}


def case(name, loss, targets, reduction):
    y = (2 * torch.randn(ROWS, WIDTH, generator=generator)).requires_grad_()
    weight = 2 * torch.rand(ROWS, WIDTH, generator=generator)
    weight[1, 2] = 0.0
    value = loss(y, targets, weight=weight, reduction=reduction)
    value.backward()
    return {
        "name": name,
        "reduction": reduction,
        "y": tensor(y),
        "target": tensor(targets),
        "weight": tensor(weight),
        "loss": value.item(),
        "dy": tensor(y.grad),
    }


def values():
    return 2 * torch.randn(ROWS, WIDTH, generator=generator)


def huber(y, t, weight, reduction):
    return F.huber_loss(y, t, reduction=reduction, delta=0.7, weight=weight)


cases = []
for reduction in ("mean", "sum"):
    cases.append(case("mse", F.mse_loss, values(), reduction))
    cases.append(case("l1", F.l1_loss, values(), reduction))
    cases.append(case("huber 0.7", huber, values(), reduction))
    targets = torch.rand(ROWS, WIDTH, generator=generator)
    cases.append(case("bce with logits", F.binary_cross_entropy_with_logits, targets, reduction))
print(json.dumps({"meta": {"generator": "value_weights.py", "torch": torch.__version__}, "cases": cases}))
