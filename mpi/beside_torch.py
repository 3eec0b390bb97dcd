#!/usr/bin/env python3
"""Two ranks of chainrule over MPI beside two processes of PyTorch's DistributedDataParallel on gloo, one thread each.

    pip install torch numpy
    cargo build --release -p chainrule-mpi --example ranks
    mpi/beside_torch.py --rounds 8

An update of an LSTM of 256 inputs and 512 units, 64 steps, batch 64: mean squared error, clipping, plain descent. Data
and parameters are the same, which the first losses show. Each round runs all programs; the table has the medians.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

STEPS, BATCH, INPUTS, HIDDEN, OUTPUTS = 64, 64, 256, 512, 10
UPDATES, WARM_UP = 10, 5


def values(count):
    import numpy as np

    return ((np.arange(count) * 7919 % 1000).astype(np.float32) / np.float32(1000.0)) - np.float32(0.5)


def torch_rank(rank, ranks):
    """Times the updates of one process, and returns median and first loss."""
    import torch
    import torch.distributed as distributed

    torch.set_num_threads(1)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(INPUTS, HIDDEN, batch_first=True)
            self.head = torch.nn.Linear(HIDDEN, OUTPUTS)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    network = Network()
    # chainrule has the sum of the two biases, so the second is 0.
    lstm, head = network.lstm, network.head
    parts = [lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, head.weight, head.bias]
    flat = torch.from_numpy(values(sum(part.numel() for part in parts)) / 16.0)
    with torch.no_grad():
        for part, own in zip(parts, flat.split([part.numel() for part in parts])):
            part.copy_(own.view_as(part))
        lstm.bias_hh_l0.zero_()
    x = torch.from_numpy(values(BATCH * STEPS * INPUTS)).view(BATCH, STEPS, INPUTS)
    y = x.flatten()[: BATCH * OUTPUTS].view(BATCH, OUTPUTS)
    own = slice(rank * BATCH // ranks, (rank + 1) * BATCH // ranks)
    x, y = x[own].contiguous(), y[own].contiguous()
    model = network
    if ranks > 1:
        distributed.init_process_group("gloo", rank=rank, world_size=ranks)
        model = torch.nn.parallel.DistributedDataParallel(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    loss_of, times, first = torch.nn.MSELoss(), [], None
    for _ in range(WARM_UP + UPDATES):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        value = loss.item()
        times.append(time.perf_counter() - start)
        first = value if first is None else first
    if ranks > 1:
        total = torch.tensor(first)
        distributed.all_reduce(total)
        first = total.item() / ranks
        distributed.destroy_process_group()
    return {"ms": 1e3 * statistics.median(times[WARM_UP:]), "loss": first}


def torch_job(ranks):
    """Starts the processes of PyTorch, and returns the line of rank 0."""
    port = 20000 + os.getpid() % 20000
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    start = lambda rank: subprocess.Popen(
        [sys.executable, __file__, "--torch", str(rank), str(ranks)],
        env=os.environ | threads, stdout=subprocess.PIPE, text=True)
    outputs = [job.communicate()[0] for job in [start(rank) for rank in range(ranks)]]
    return json.loads(outputs[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--torch", type=int, nargs=2)
    arguments = parser.parse_args()
    if arguments.torch:
        print(json.dumps(torch_rank(*arguments.torch)))
        return
    program = pathlib.Path(__file__).parent.parent / "target/release/examples/ranks"
    chainrule = lambda ranks: json.loads(subprocess.check_output([program, "update", str(ranks), str(UPDATES)]))
    jobs = {
        "chainrule, without ranks": lambda: chainrule(0),
        "chainrule, 1 rank": lambda: chainrule(1),
        "chainrule, 2 ranks": lambda: chainrule(2),
        "PyTorch, 1 process": lambda: torch_job(1),
        "PyTorch, 2 processes": lambda: torch_job(2),
    }
    found = {name: [] for name in jobs}
    for turn in range(arguments.rounds):
        for name, job in jobs.items():
            found[name].append(job())
            print(f"round {turn + 1}, load {os.getloadavg()[0]:.1f}: {name}: {found[name][-1]}", file=sys.stderr)
    print("| | median, ms | least, ms | first loss |\n| --- | --- | --- | --- |")
    for name, runs in found.items():
        times = [run["ms"] for run in runs]
        print(f"| {name} | {statistics.median(times):.1f} | {min(times):.1f} | {runs[0]['loss']:.6f} |")
    for one, two in [("chainrule, 1 rank", "chainrule, 2 ranks"), ("PyTorch, 1 process", "PyTorch, 2 processes")]:
        ratios = [a["ms"] / b["ms"] for a, b in zip(found[one], found[two])]
        print(f"{one} / {two}: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
