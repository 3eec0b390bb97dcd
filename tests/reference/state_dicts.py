"""Writes tests/reference/state_dicts: twelve modules of PyTorch with an input and their output, as safetensors files.

`.ci/pytorch` builds the same modules from here and loads into them what chainrule exports.
Needs torch and safetensors: python tests/reference/state_dicts.py
"""

import os

import torch
from torch import nn

torch.set_default_dtype(torch.float64)

ROWS = (6, 3)
STEPS = (5, 2, 3)  # steps, batch, width


def modules():
    """Each module by its name, with the shape of its input."""
    linear = lambda: nn.Linear(3, 4)
    return {
        "linear": (nn.Sequential(linear(), nn.Tanh(), nn.Linear(4, 2)), ROWS),
        "embedding": (nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 2)), None),
        "layer_norm": (nn.Sequential(linear(), nn.LayerNorm(4)), ROWS),
        "rms_norm": (nn.Sequential(linear(), nn.RMSNorm(4, eps=1e-5)), ROWS),
        "group_norm": (nn.Sequential(linear(), nn.GroupNorm(2, 4)), ROWS),
        "batch_norm": (nn.Sequential(linear(), nn.BatchNorm1d(4)), ROWS),
        "rnn_tanh": (nn.RNN(3, 4), STEPS),
        "rnn_relu_stacked_both": (nn.RNN(3, 4, num_layers=2, nonlinearity="relu", bidirectional=True), STEPS),
        "lstm": (nn.LSTM(3, 4), STEPS),
        "lstm_stacked_both": (nn.LSTM(3, 4, num_layers=2, bidirectional=True), STEPS),
        "gru_stacked": (nn.GRU(3, 4, num_layers=2), STEPS),
        "gru_both_without_bias": (nn.GRU(3, 4, bidirectional=True, bias=False), STEPS),
    }


def output(module, x):
    """The output of all steps, in evaluation."""
    module.eval()
    with torch.no_grad():
        y = module(x)
    return y[0] if isinstance(y, tuple) else y


def main():
    from safetensors.torch import save_file

    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "state_dicts")
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(25)
    for name, (module, shape) in modules().items():
        if shape is None:
            x = torch.tensor([0, 6, 3, 3, 1, 5])
        else:
            x = torch.randn(shape)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.6)
        if name == "batch_norm":  # running statistics of some passes
            for _ in range(4):
                module(torch.randn(16, 3) * 2.0 + 1.0)
        tensors = dict(module.state_dict())
        tensors["example.input"] = x.contiguous()
        tensors["example.output"] = output(module, x).contiguous()
        save_file(tensors, os.path.join(folder, name + ".safetensors"))


if __name__ == "__main__":
    main()
