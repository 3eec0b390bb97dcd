"""Writes truth.csv: values and derivatives of the activations by mpmath, 400 digits.

A line is a name, z, and twice a number rounded to f64 with what rounding lost, in its units in the last place.
"""
import random, struct
from mpmath import mp, mpf, exp, expm1, log1p, erf, erfc, tanh, sqrt, pi, floor, log

mp.dps = 400
LAMBDA, ALPHA = mpf(1.0507009873554805), mpf(1.6732632423543772)


def sigmoid(z):
    return 1 / (1 + exp(-z))


def slope(z):
    return exp(-abs(z)) / (1 + exp(-abs(z))) ** 2


def cdf(z):
    return erfc(-z / sqrt(2)) / 2


def density(z):
    return exp(-z * z / 2) / sqrt(2 * pi)


def elu(right, left, scale):
    return (
        lambda z: right * z if z > 0 else left * expm1(z / scale),
        lambda z: right if z > 0 else left / scale * exp(z / scale),
    )


def swish(b):
    return lambda z: z * sigmoid(b * z), lambda z: sigmoid(b * z) + b * z * slope(b * z)


def softplus(b):
    return lambda z: log1p(exp(b * z)) / b if b * z < 900 else z, lambda z: sigmoid(b * z)


def gate(z):
    return 2 * sqrt(2 / pi) * (z + mpf("0.044715") * z**3)


def gelu_tanh_slope(z):
    return sigmoid(gate(z)) + z * slope(gate(z)) * 2 * sqrt(2 / pi) * (1 + 3 * mpf("0.044715") * z * z)


def mish(z):
    return z * tanh(log1p(exp(z)))


def mish_slope(z):
    t = tanh(log1p(exp(z)))
    return t + z * (1 - t * t) * sigmoid(z)


THIRD = mpf(0.30000001192092896)  # 0.3 in f32
FUNCTIONS = {
    "Sigmoid": (sigmoid, slope),
    "Tanh": (tanh, lambda z: 4 * slope(2 * z)),
    "Softsign": (lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2),
    "Erf": (erf, lambda z: 2 / sqrt(pi) * exp(-z * z)),
    "Elu(1)": elu(1, 1, 1),
    "Celu(3)": elu(1, 3, 3),
    "Selu": elu(LAMBDA, LAMBDA * ALPHA, 1),
    "Gelu": (lambda z: z * cdf(z), lambda z: cdf(z) + z * density(z)),
    "GeluTanh": (lambda z: z * sigmoid(gate(z)), gelu_tanh_slope),
    "Swish(1)": swish(1),
    "Swish(-2)": swish(-2),
    "Swish(0.3)": swish(THIRD),
    "Mish": (mish, mish_slope),
    "Softplus(1)": softplus(1),
    "Softplus(3)": softplus(3),
    "LogSigmoid": (lambda z: -softplus(1)[0](-z), lambda z: sigmoid(-z)),
    "TanhShrink": (lambda z: z - tanh(z), lambda z: tanh(z) ** 2),
}


def rounded(y):
    """The nearest f64, and what is lost in its units in the last place."""
    y = mpf(y)
    unit = mpf(2) ** (max(int(floor(log(abs(y), 2))), -1022) - 52) if y else mpf(2) ** -1074
    steps = int(floor(abs(y) / unit + mpf(1) / 2))
    nearest = steps * unit
    return f"{float(nearest if y >= 0 else -nearest)!r},{float((abs(y) - nearest) / unit):.2f}"


random.seed(1)
arguments = [random.uniform(-4, 4) for _ in range(90)] + [random.uniform(-40, 40) for _ in range(60)]
arguments += [random.uniform(-760, 760) for _ in range(30)] + [random.choice((-1, 1)) * 10 ** random.uniform(-20, 0) for _ in range(40)]
with open("truth.csv", "w") as out:
    out.write("# Written by truth.py: activation, z, then value and derivative, each rounded to f64 and what that lost in ulp.\n")
    for name, (value, derivative) in FUNCTIONS.items():
        for z in sorted(arguments):
            out.write(f"{name},{z!r},{rounded(value(mpf(z)))},{rounded(derivative(mpf(z)))}\n")
