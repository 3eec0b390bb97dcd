"""Optimizers that the PyTorch of the other files lacks, from the equations of their papers, in 50-digit arithmetic.

Lion: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2.
Schedule-free AdamW: Defazio et al. 2024, "The Road Less Scheduled", algorithm 1.
Muon: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks": B <- mu B + G, an update by
NewtonSchulz5(G + mu B) or NewtonSchulz5(B), times sqrt(max(1, rows / columns)), with decoupled decay. Biases take Adam
(Kingma & Ba 2015, algorithm 1).

The gradient is that of x'Ax/2 - b'x at the parameters of the optimizer. `result_after_step`: the average x of
schedule-free AdamW; its parameters are y.
"""

import json
import pathlib
import random

from mpmath import mp, mpf, sqrt

mp.dps = 50
STEPS = 10


def gradient(a, b, x):
    return [sum(a[i][j] * x[j] for j in range(len(x))) - b[i] for i in range(len(x))]


def sign(x):
    return (x > 0) - (x < 0)


def lion(case, grad):
    o = case["options"]
    eta, lam, (beta1, beta2) = mpf(o["lr"]), mpf(o["weight_decay"]), map(mpf, o["betas"])
    theta, m = [mpf(x) for x in case["x0"]], [mpf(0)] * len(case["x0"])
    for _ in range(STEPS):
        g = grad(theta)
        c = [beta1 * m[i] + (1 - beta1) * g[i] for i in range(len(g))]
        theta = [theta[i] - eta * (sign(c[i]) + lam * theta[i]) for i in range(len(g))]
        m = [beta2 * m[i] + (1 - beta2) * g[i] for i in range(len(g))]
        yield theta, theta


def schedule_free(case, grad):
    o = case["options"]
    gamma, lam, warm_up, eps = mpf(o["lr"]), mpf(o["weight_decay"]), o["warm_up"], mpf(o["eps"])
    beta1, beta2 = map(mpf, o["betas"])
    n = len(case["x0"])
    x = [mpf(v) for v in case["x0"]]
    z, v, squares = list(x), [mpf(0)] * n, mpf(0)
    for t in range(1, STEPS + 1):
        y = [(1 - beta1) * z[i] + beta1 * x[i] for i in range(n)]
        g = grad(y)
        v = [beta2 * v[i] + (1 - beta2) * g[i] ** 2 for i in range(n)]
        rate = gamma * sqrt(1 - beta2**t) * (min(mpf(1), mpf(t) / warm_up) if warm_up else 1)
        z = [z[i] - rate * g[i] / (sqrt(v[i]) + eps) - rate * lam * y[i] for i in range(n)]
        squares += rate**2
        c = rate**2 / squares
        x = [(1 - c) * x[i] + c * z[i] for i in range(n)]
        yield [(1 - beta1) * z[i] + beta1 * x[i] for i in range(n)], x


def product(p, q):
    return [[sum(p[i][k] * q[k][j] for k in range(len(q))) for j in range(len(q[0]))] for i in range(len(p))]


def transposed(p):
    return [list(column) for column in zip(*p)]


def newton_schulz5(g):
    a, b, c = mpf("3.4445"), mpf("-4.7750"), mpf("2.0315")
    norm = sqrt(sum(x**2 for row in g for x in row))
    x = [[v / norm for v in row] for row in g]
    for _ in range(5):
        gram = product(x, transposed(x))
        square = product(gram, gram)
        p = [[b * gram[i][j] + c * square[i][j] for j in range(len(gram))] for i in range(len(gram))]
        px = product(p, x)
        x = [[a * x[i][j] + px[i][j] for j in range(len(x[0]))] for i in range(len(x))]
    return x


def muon(case, grad):
    o = case["options"]
    rows, columns = o["matrix"]
    size, biases = rows * columns, len(case["x0"]) - rows * columns
    eta, mu, lam, rate = mpf(o["lr"]), mpf(o["momentum"]), mpf(o["weight_decay"]), mpf(o["adam_lr"])
    beta1, beta2, eps = mpf("0.9"), mpf("0.999"), mpf("1e-8")
    w = [mpf(x) for x in case["x0"]]
    buffer, m, v = [mpf(0)] * size, [mpf(0)] * biases, [mpf(0)] * biases
    for t in range(1, STEPS + 1):
        g = grad(w)
        buffer = [mu * buffer[i] + g[i] for i in range(size)]
        u = [g[i] + mu * buffer[i] for i in range(size)] if o["nesterov"] else buffer
        o5 = newton_schulz5([u[i * columns : (i + 1) * columns] for i in range(rows)])
        scale = sqrt(max(mpf(1), mpf(rows) / columns))
        matrix = [w[i] - eta * scale * o5[i // columns][i % columns] - eta * lam * w[i] for i in range(size)]
        rest = []
        for k in range(biases):
            m[k] = beta1 * m[k] + (1 - beta1) * g[size + k]
            v[k] = beta2 * v[k] + (1 - beta2) * g[size + k] ** 2
            hat_m, hat_v = m[k] / (1 - beta1**t), v[k] / (1 - beta2**t)
            rest.append(w[size + k] - rate * hat_m / (sqrt(hat_v) + eps))
        w = matrix + rest
        yield w, w


RULES = {"Lion": lion, "ScheduleFreeAdamW": schedule_free, "Muon": muon}
CASES = [
    ("lion", "Lion", 5, {"lr": 0.05, "betas": [0.9, 0.99], "weight_decay": 0.0}),
    ("lion_decay", "Lion", 5, {"lr": 0.02, "betas": [0.95, 0.98], "weight_decay": 0.3}),
    ("schedule_free", "ScheduleFreeAdamW", 5, {"lr": 0.1, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0, "warm_up": 0}),
    ("schedule_free_decay_warm_up", "ScheduleFreeAdamW", 5, {"lr": 0.2, "betas": [0.95, 0.9], "eps": 1e-6, "weight_decay": 0.1, "warm_up": 4}),
    ("muon_wide", "Muon", 3 * 5, {"lr": 0.05, "matrix": [3, 5], "momentum": 0.95, "nesterov": True, "weight_decay": 0.1, "adam_lr": 0.1}),
    ("muon_tall", "Muon", 4 * 2 + 3, {"lr": 0.05, "matrix": [4, 2], "momentum": 0.9, "nesterov": True, "weight_decay": 0.0, "adam_lr": 0.05}),
    ("muon_plain_momentum", "Muon", 3 * 3 + 2, {"lr": 0.1, "matrix": [3, 3], "momentum": 0.8, "nesterov": False, "weight_decay": 0.5, "adam_lr": 0.1}),
]


def main():
    rng = random.Random(25)
    tensor = lambda shape, data: {"shape": shape, "data": [float(x) for x in data]}
    cases = []
    for name, optimizer, n, options in CASES:
        draw = [[rng.uniform(-1, 1) for _ in range(n)] for _ in range(n)]
        a = [[sum(draw[i][k] * draw[j][k] for k in range(n)) / n + (i == j) for j in range(n)] for i in range(n)]
        b, x0 = [rng.uniform(-1, 1) for _ in range(n)], [rng.uniform(-2, 2) for _ in range(n)]
        exact_a, exact_b = [[mpf(v) for v in row] for row in a], [mpf(v) for v in b]
        case = {"name": name, "optimizer": optimizer, "options": options, "x0": x0}
        steps = list(RULES[optimizer](case, lambda x: gradient(exact_a, exact_b, x)))
        case["x0"] = tensor([n], x0)
        case["A"], case["b"] = tensor([n, n], [v for row in a for v in row]), tensor([n], b)
        case["x_after_step"] = [tensor([n], x) for x, _ in steps]
        case["result_after_step"] = [tensor([n], x) for _, x in steps]
        cases.append(case)
    meta = {"file": "optimizers_by_equations", "note": "mpmath, 50 digits; equations of the papers", "steps": STEPS}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"meta": meta, "cases": cases}, indent=None) + "\n")


main()
