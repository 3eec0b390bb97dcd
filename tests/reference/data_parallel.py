#!/usr/bin/env python3
"""Writes data_parallel.json: training in PyTorch's DistributedDataParallel on gloo, in f64.

    pip install torch
    tests/reference/data_parallel.py > tests/reference/data_parallel.json

Four processes have 7, 8, 7 and 8 of 30 samples, some without weight. Each has the mean over its own weighted values;
DistributedDataParallel applies the mean of the gradients of these. Plain descent, three updates of all samples.
"""

import json
import os

RANKS, SAMPLES, INPUTS, HIDDEN, OUTPUTS, UPDATES, RATE = 4, 30, 3, 4, 2, 3, 0.1


def numbers(count, seed):
    """Values in (-1, 1) that every language computes alike."""
    return [((i * 7919 + seed * 104729) % 2003) / 1001.0 - 1.0 for i in range(count)]


def rank(own, parts, results):
    import torch
    import torch.distributed as distributed

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29517")
    distributed.init_process_group("gloo", rank=own, world_size=RANKS)
    network = torch.nn.Sequential(torch.nn.Linear(INPUTS, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, OUTPUTS))
    with torch.no_grad():
        for i, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.tensor(numbers(parameter.numel(), 10 + i)).reshape(parameter.shape))
    model = torch.nn.parallel.DistributedDataParallel(network)
    x = torch.tensor(numbers(SAMPLES * INPUTS, 1)).reshape(SAMPLES, INPUTS)
    y = torch.tensor(numbers(SAMPLES * OUTPUTS, 2)).reshape(SAMPLES, OUTPUTS)
    weights = torch.tensor([0.0 if i % 4 == 0 else 1.0 + i % 3 for i in range(SAMPLES)])
    first, end = parts[own]
    losses = []
    for _ in range(UPDATES):
        model.zero_grad()
        squares = ((model(x[first:end]) - y[first:end]) ** 2).sum(1) * weights[first:end]
        loss = squares.sum() / (weights[first:end].sum() * OUTPUTS)
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= RATE * parameter.grad
        total = loss.detach().clone()
        distributed.all_reduce(total)
        losses.append(float(total) / RANKS)
    if own == 0:
        parameters = [value for parameter in network.parameters() for value in parameter.detach().flatten().tolist()]
        tensor = lambda values: {"shape": [len(values)], "data": values}
        case = {"name": "uneven, masked", "losses": tensor(losses), "parameters": tensor(parameters)}
        results.put({"meta": {"torch": torch.__version__}, "cases": [case]})
    distributed.destroy_process_group()


def main():
    import torch.multiprocessing as processes

    parts = [(0, 7), (7, 15), (15, 22), (22, 30)]
    context = processes.get_context("spawn")
    results = context.Queue()
    running = [context.Process(target=rank, args=(own, parts, results)) for own in range(RANKS)]
    for process in running:
        process.start()
    result = results.get()
    for process in running:
        process.join()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
