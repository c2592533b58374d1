"""Writes reference.json and the checkpoints beside it: what torchvision's networks make of weights that a formula gives.

    pip install torch torchvision && python tests/resnet/reference.py

The formula is that of `patterned` in src/resnet/reference.rs, so that no weights need to be kept. Written with torch 2.x on the CPU.
"""

import json
import pathlib

import numpy as np
import torch
import torchvision

HERE = pathlib.Path(__file__).parent


def pattern(count, salt):
    """Numbers of [-1/2, 1/2), the same in Rust."""
    k = np.arange(count, dtype=np.uint64)
    return ((k * 7919 + salt * 104729 + (k * k) % 613) % 1000).astype(np.float64) / 1000 - 0.5


def fill(model):
    salt = 0
    for name, value in model.state_dict().items():
        if name.startswith("fc.") or name.endswith("num_batches_tracked"):
            continue
        salt += 1
        u = pattern(value.numel(), salt)
        if value.dim() == 4:
            u = u * np.sqrt(24 / (value.shape[1] * value.shape[2] * value.shape[3]))
        elif name.endswith("running_var") or name.endswith("weight"):
            u = 1 + 0.5 * u
        else:
            u = 0.2 * u
        value.copy_(torch.tensor(u.reshape(value.shape), dtype=torch.float32))


def reference(name, size):
    model = getattr(torchvision.models, name)()
    model.fc = torch.nn.Identity()
    with torch.no_grad():
        fill(model)
    x = torch.tensor(2 * pattern(4 * 3 * size * size, 1000).reshape(4, 3, size, size), dtype=torch.float32)
    model.eval()
    with torch.no_grad():
        evaluation = model(x)
    model.train()
    training = model(x)
    pull = torch.tensor(pattern(training.numel(), 2000).reshape(training.shape), dtype=torch.float32)
    (training * pull).sum().backward()
    # Of every gradient its product with a pattern, and its length.
    gradients = {}
    for index, (parameter, value) in enumerate(model.named_parameters()):
        g = value.grad.double().numpy().ravel()
        gradients[parameter] = [float(g @ pattern(g.size, 3000 + index)), float(np.linalg.norm(g))]
    numbers = lambda t: [float(f"{v:.8g}") for v in t.detach().double().numpy().ravel()]
    moved = {k: numbers(v)[:4] for k, v in model.state_dict().items() if "running" in k}
    return {
        "size": size,
        "evaluation": numbers(evaluation[0]),
        "training": numbers(training[0]),
        "gradients": gradients,
        "moved": moved,
    }


def main():
    references = {"resnet-18": reference("resnet18", 64), "resnet-50": reference("resnet50", 64)}
    (HERE / "reference.json").write_text(json.dumps(references) + "\n")
    small = {"conv1.weight": torch.arange(12.0).reshape(2, 6), "bn1.num_batches_tracked": torch.tensor(3), "half": torch.ones(2).half()}
    torch.save(small, HERE / "plain.pth")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in small.items()}}, HERE / "nested.pth")


main()
