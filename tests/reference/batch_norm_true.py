"""The batch norm of norms.json with a mean of 1e4 in 60-digit arithmetic, added to norms_true.json.

PyTorch itself is 1e-12 off there. `python3 batch_norm_true.py` in this folder; needs nothing but Python.
"""
import json
from decimal import Decimal as D, getcontext

getcontext().prec = 60
NAME = "batch_norm_large_mean"


def numbers(tensor):
    return [D(x) for x in tensor["data"]]


def tensor(shape, values):
    return {"shape": shape, "data": [float(value) for value in values]}


def passes(case, training):
    rows, width = case["x"]["shape"]
    x, dy = numbers(case["x"]), numbers(case["cotangent"])
    gain, bias = numbers(case["params"]["weight"]), numbers(case["params"]["bias"])
    before = [numbers(case["running_before"][key]) for key in ("mean", "var")]
    eps, momentum = D(case["eps"]), D(case["momentum"])
    y, dx = [D(0)] * len(x), [D(0)] * len(x)
    d_gain, d_bias, after = [], [], [[], []]
    for j in range(width):
        column, d = x[j::width], dy[j::width]
        mean = sum(column) / rows
        square = sum((value - mean) ** 2 for value in column) / rows
        after[0].append((1 - momentum) * before[0][j] + momentum * mean)
        after[1].append((1 - momentum) * before[1][j] + momentum * square * rows / (rows - 1))
        if not training:
            mean, square = before[0][j], before[1][j]
        sigma = (square + eps).sqrt()
        unit = [(value - mean) / sigma for value in column]
        sums = [sum(d), sum(a * b for a, b in zip(d, unit))]
        d_gain.append(sums[1])
        d_bias.append(sums[0])
        for row in range(rows):
            inner = d[row] - (sums[0] + unit[row] * sums[1]) / rows if training else d[row]
            y[row * width + j] = gain[j] * unit[row] + bias[j]
            dx[row * width + j] = gain[j] * inner / sigma
    shape, own = [rows, width], [width]
    grads = {"x": tensor(shape, dx), "weight": tensor(own, d_gain), "bias": tensor(own, d_bias)}
    return {"output": tensor(shape, y), "grads": grads}, [tensor(own, values) for values in after]


cases = {case["name"]: case for case in json.load(open("norms.json"))["cases"]}
case = cases[NAME]
trained, (mean, var) = passes(case, True)
evaluated, _ = passes(case, False)
kept = {key: case[key] for key in ("name", "eps", "momentum", "x", "params", "running_before", "cotangent")}
true = kept | trained | {"running_after": {"mean": mean, "var": var}, "eval": evaluated}
document = json.load(open("norms_true.json"))
document["cases"] = [other for other in document["cases"] if other["name"] != NAME] + [true]
json.dump(document, open("norms_true.json", "w"))
