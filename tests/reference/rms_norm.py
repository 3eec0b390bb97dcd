"""`nn.RMSNorm` with its default epsilon, the machine epsilon of the format, by PyTorch in float32 and float64.

Usage: python rms_norm.py > rms_norm.json
"""

import json

import torch

cases = []
for dtype in (torch.float32, torch.float64):
    x = (1e-3 * torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.25, 0.125, -0.5, 0.75]])).to(dtype)
    y = torch.nn.RMSNorm(4, dtype=dtype)(x)
    cases.append({"name": str(dtype), "x": x.flatten().tolist(), "y": y.detach().flatten().tolist()})
print(json.dumps({"meta": {"generator": "rms_norm.py", "torch": torch.__version__}, "cases": cases}))
