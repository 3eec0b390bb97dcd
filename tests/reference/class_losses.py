"""Losses of classes with weights and an ignored class, and the hinge loss of values, by PyTorch in float64.

Usage: python class_losses.py > class_losses.json
"""

import json

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(12)
ROWS, WIDTH = 6, 4
WEIGHTS = [0.5, 2.0, 1.25, 0.0]


def case(name, loss, targets, width=WIDTH, **options):
    y = (1.5 * torch.randn(ROWS, width, generator=generator)).requires_grad_()
    value = loss(y, targets)
    value.backward()
    flat = lambda values: values.detach().flatten().tolist()
    case = {"name": name, "width": width, "y": flat(y), "target": flat(targets)}
    return {**case, "loss": value.item(), "dy": flat(y.grad), **options}


def classes():
    return torch.randint(0, WIDTH, (ROWS,), generator=generator)


cases = []
weight = torch.tensor(WEIGHTS)
for reduction in ("mean", "sum"):
    nll = lambda y, t: F.nll_loss(F.log_softmax(y, 1), t, weight=weight, ignore_index=1, reduction=reduction)
    cases.append(case("nll", nll, classes(), reduction=reduction, weights=WEIGHTS, ignored=1))
    for p in (1, 2):
        margin = lambda y, t: F.multi_margin_loss(y, t, p=p, margin=0.5, weight=weight, reduction=reduction)
        cases.append(case(f"margin {p}", margin, classes(), reduction=reduction, weights=WEIGHTS))
    # max(0, 1 − x) of x = t y, the loss of dissimilar pairs.
    hinge = lambda y, t: F.hinge_embedding_loss(t * y, torch.full_like(t, -1.0), margin=1.0, reduction=reduction)
    signs = 2.0 * torch.randint(0, 2, (ROWS, 3), generator=generator) - 1.0
    cases.append(case("hinge", hinge, signs, width=3, reduction=reduction))
print(json.dumps({"meta": {"generator": "class_losses.py", "torch": torch.__version__}, "cases": cases}))
