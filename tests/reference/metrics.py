#!/usr/bin/env python3
"""Reference values of metrics in exact rationals, by scikit-learn's definitions (sklearn.metrics 1.5).

Written from the definitions, not from the crate: pairs are counted one by one for the AUC, sums are fractions, roots
are decimals of 60 digits. `./metrics.py > metrics.json`; needs Python alone.
"""

import json
import random
from decimal import Decimal, getcontext
from fractions import Fraction as F

getcontext().prec = 60
rng = random.Random(20260101)


def number(x):
    """The nearest float of a fraction."""
    return float(x)


def root(x):
    return float((Decimal(x.numerator) / Decimal(x.denominator)).sqrt())


def mean(values):
    return sum(values, F(0)) / len(values)


def classes_case():
    k, n = rng.randint(2, 6), rng.randint(1, 40)
    # Some classes may not occur at all.
    used = rng.sample(range(k), rng.randint(1, k))
    actual = [rng.choice(used) for _ in range(n)]
    predicted = [a if rng.random() < 0.6 else rng.randrange(k) for a in actual]
    labels = sorted(set(actual) | set(predicted))
    tp = {c: sum(a == p == c for a, p in zip(actual, predicted)) for c in range(k)}
    fp = {c: sum(p == c != a for a, p in zip(actual, predicted)) for c in range(k)}
    fn = {c: sum(a == c != p for a, p in zip(actual, predicted)) for c in range(k)}

    def ratio(a, b):
        return F(a, b) if b else None

    per_class = {
        "precision": [ratio(tp[c], tp[c] + fp[c]) for c in range(k)],
        "recall": [ratio(tp[c], tp[c] + fn[c]) for c in range(k)],
        "f1": [ratio(2 * tp[c], 2 * tp[c] + fp[c] + fn[c]) for c in range(k)],
    }
    sums = {name: sum(d[c] for c in labels) for name, d in (("tp", tp), ("fp", fp), ("fn", fn))}
    micro = {
        "precision": ratio(sums["tp"], sums["tp"] + sums["fp"]),
        "recall": ratio(sums["tp"], sums["tp"] + sums["fn"]),
        "f1": ratio(2 * sums["tp"], 2 * sums["tp"] + sums["fp"] + sums["fn"]),
    }
    support = {c: actual.count(c) for c in labels}
    out = {}
    for name, values in per_class.items():
        zero = [values[c] or F(0) for c in labels]
        out[name] = {
            "classes": [None if v is None else number(v) for v in values],
            "macro": number(mean(zero)),
            "micro": number(micro[name]),
            "weighted": number(sum((support[c] * v for c, v in zip(labels, zero)), F(0)) / n),
        }
    right = sum(a == p for a, p in zip(actual, predicted))
    matrix = [[sum((a, p) == (i, j) for a, p in zip(actual, predicted)) for j in range(k)] for i in range(k)]
    return {"classes": k, "actual": actual, "predicted": predicted, "accuracy": number(F(right, n)), "matrix": matrix, **out}


def labels_case():
    width, rows = rng.randint(1, 4), rng.randint(1, 12)
    y = [rng.choice([-1.5, -0.25, 0.0, 0.125, 2.0]) for _ in range(width * rows)]
    targets = [float(v > 0) if rng.random() < 0.7 else float(rng.random() < 0.5) for v in y]
    hits = [(v > 0) == (t == 1) for v, t in zip(y, targets)]
    subset = sum(all(hits[r * width : (r + 1) * width]) for r in range(rows))
    return {
        "width": width,
        "y": y,
        "targets": targets,
        "subset": number(F(subset, rows)),
        "labels": number(F(sum(hits), len(hits))),
    }


def scores_case():
    n = rng.randint(2, 40)
    positive = [rng.random() < 0.4 for _ in range(n)]
    positive[:2] = [True, False]
    # A coarse grid, so that there are ties.
    scores = [rng.randint(-4, 4) / 4 + p * rng.randint(0, 2) / 4 for p in positive]
    pairs = [F(1) if s > t else F(1, 2) if s == t else F(0)
             for s, p in zip(scores, positive) if p for t, q in zip(scores, positive) if not q]
    return {"scores": scores, "positive": positive, "auc": number(mean(pairs))}


def values_case():
    width, rows = rng.randint(1, 3), rng.randint(2, 20)
    scale, shift = 10.0 ** rng.randint(-6, 6), rng.choice([0.0, 0.0, 100.0])
    targets = [scale * (rng.gauss(0, 1) + shift) for _ in range(width * rows)]
    y = [t + scale * rng.gauss(0, 0.5) for t in targets]
    rmse, mae, r2 = [], [], []
    for k in range(width):
        a, b = [F(v) for v in y[k::width]], [F(v) for v in targets[k::width]]
        residual = sum(((u - v) ** 2 for u, v in zip(a, b)), F(0))
        total = sum(((v - mean(b)) ** 2 for v in b), F(0))
        rmse.append(F(root(residual / rows)))
        mae.append(mean([abs(u - v) for u, v in zip(a, b)]))
        r2.append(1 - residual / total)
    return {"width": width, "y": y, "targets": targets,
            "rmse": number(mean(rmse)), "mae": number(mean(mae)), "r2": number(mean(r2))}


cases = {"classes": classes_case, "labels": labels_case, "scores": scores_case, "values": values_case}
print(json.dumps({name: [make() for _ in range(50)] for name, make in cases.items()}, separators=(",", ":")))
