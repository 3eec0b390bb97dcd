"""Learning rates of joined, cyclic and one-cycle schedules, and AdamW with parameter groups, by PyTorch in float64.

Usage: python transforms.py > transforms.json
"""

import json

import torch
from torch.optim import SGD, AdamW, lr_scheduler

torch.set_default_dtype(torch.float64)
BASE = 0.8


def rates(name, steps, make, updates_per_epoch=1):
    """The learning rate in force at each update; the scheduler takes a step after `updates_per_epoch` updates."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler = make(optimizer)
    found = []
    for update in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (update + 1) % updates_per_epoch == 0 and update + 1 < steps:
            scheduler.step()
    return {"name": name, "base_lr": BASE, "lr_at_step": found}


def joined(optimizer):
    warm_up = lr_scheduler.LinearLR(optimizer, start_factor=0.25, total_iters=4)
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    last = lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    return lr_scheduler.SequentialLR(optimizer, [warm_up, cosine, last], milestones=[4, 14])


def one_cycle(warm_up):
    return lambda optimizer: lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=20, pct_start=warm_up, div_factor=10.0, final_div_factor=100.0
    )


def cyclic(mode):
    return lambda optimizer: lr_scheduler.CyclicLR(
        optimizer, base_lr=0.1, max_lr=0.7, step_size_up=3, step_size_down=5, mode=mode, cycle_momentum=False
    )


def groups():
    """Three parameters of ½ xᵀAx − bᵀx, with AdamW of three groups, the norm of the second clipped at 0.5."""
    generator = torch.Generator().manual_seed(5)
    a = torch.randn(6, 6, generator=generator)
    a = a @ a.T + torch.eye(6)
    b = torch.randn(6, generator=generator)
    start = torch.randn(6, generator=generator)
    parts = [torch.nn.Parameter(start[i : i + 2].clone()) for i in (0, 2, 4)]
    optimizer = AdamW(
        [
            {"params": [parts[0]], "lr": 0.1, "weight_decay": 0.3, "betas": (0.9, 0.99)},
            {"params": [parts[1]], "lr": 0.01, "weight_decay": 0.0, "betas": (0.5, 0.9)},
            {"params": [parts[2]]},
        ],
        lr=0.05,
        weight_decay=0.1,
    )
    after = []
    for _ in range(10):
        optimizer.zero_grad()
        x = torch.cat(parts)
        (x @ a @ x / 2 - b @ x).backward()
        torch.nn.utils.clip_grad_norm_([parts[1]], 0.5)
        optimizer.step()
        after.append(torch.cat(parts).tolist())
    return {"name": "groups", "A": a.flatten().tolist(), "b": b.tolist(), "x0": start.tolist(), "x_after_step": after}


cases = [
    rates("joined", 20, joined),
    rates("epochs of 3", 20, lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=6, eta_min=0.1), 3),
    rates("one cycle 0.25", 20, one_cycle(0.25)),
    rates("one cycle 1", 20, one_cycle(1.0)),
    rates("cyclic", 40, cyclic("triangular")),
    rates("cyclic halved", 40, cyclic("triangular2")),
    groups(),
]
print(json.dumps({"meta": {"generator": "transforms.py", "torch": torch.__version__}, "cases": cases}))
