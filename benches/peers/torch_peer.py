"""The workloads in PyTorch: `torch_peer.py WORKLOAD FOLDER THREADS` prints a line of JSON for each variant."""

import math
import pathlib
import sys
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F
import torchdiffeq

import harness

WORKLOAD, FOLDER, THREADS = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(THREADS)
warnings.filterwarnings("ignore")


def eq2(z):
    """Eq. 2 of both views z (2 x N x d), by the Gram matrix; what is constant along a row of logits is left out."""
    first, second = z[0], z[1]
    squares = (first * first).sum(1)
    logits = torch.addmm(-0.5 * squares[None, :], first, first.T)
    positive = 0.5 * squares - 0.5 * ((first - second) ** 2).sum(1)
    logits.diagonal().copy_(positive)
    return (torch.logsumexp(logits, 1) - positive).mean()


def eq2_block(z, begin, end):
    """The rows from `begin` to `end` of the same sum."""
    first, second = z[0], z[1]
    squares = (first * first).sum(1)
    logits = torch.addmm(-0.5 * squares[None, :], first[begin:end], first.T)
    positive = 0.5 * squares[begin:end] - 0.5 * ((first[begin:end] - second[begin:end]) ** 2).sum(1)
    logits[:, begin:end].diagonal().copy_(positive)
    return (torch.logsumexp(logits, 1) - positive).sum() / len(first)


def dot(z):
    """The released code's loss."""
    return F.cross_entropy(z[0] @ z[1].T / harness.TEMPERATURE, torch.arange(z.shape[1]))


def cosine(z):
    """The mean of both directions for unit vectors."""
    unit = F.normalize(z, dim=2)
    logits = unit[0] @ unit[1].T / harness.TEMPERATURE
    labels = torch.arange(z.shape[1])
    return 0.5 * (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels))


def backward(loss):
    """A call that gives loss and gradient of `loss` at z."""

    def call(z):
        value = loss(z)
        return value.detach(), torch.autograd.grad(value, z)[0]

    return call


def backward_in_blocks(z, rows=256):
    """As `backward(eq2)`, with no more than `rows` rows of logits in memory at a time."""
    total, gradient = 0.0, torch.zeros_like(z)
    for begin in range(0, z.shape[1], rows):
        value = eq2_block(z, begin, begin + rows)
        gradient += torch.autograd.grad(value, z)[0]
        total = total + value.detach()
    return total, gradient


def warm(call):
    """Seconds of the first call, which compiles what is to be compiled; None where that fails."""
    start = time.perf_counter()
    try:
        call()
    except Exception as error:  # a compiler that is missing or refuses: the other variants still count
        print(f"not measured: {str(error).splitlines()[0]}", file=sys.stderr)
        return None
    return time.perf_counter() - start


def loss_and_gradient(variants, count):
    z = torch.tensor(harness.load(FOLDER, f"loss_{count}")["z"], requires_grad=True)
    for variant, call in variants.items():
        compilation = warm(lambda: call(z))
        if compilation is None:
            continue
        seconds, (loss, gradient) = harness.median_seconds(lambda: call(z), 5 if count > 4096 else 21)
        results = {"loss": loss, "gradient": gradient}
        more = {"compilation": compilation} if "compile" in variant else {}
        harness.report(FOLDER, "torch", WORKLOAD, variant, THREADS, seconds, results, **more)


def embed(weights, views):
    """Embeddings under weights (2 x d x d), samples in rows."""
    return views @ weights[0].T @ weights[1].T


def sgd_gradient(weights, views):
    return torch.autograd.grad(dot(embed(weights, views)), weights)[0]


def spectra(weights, factor):
    """Singular values of W1, W2, W2 W1, and of the embeddings' covariance with `factor` that of the inputs."""
    total = weights[1] @ weights[0]
    values = torch.linalg.svdvals(torch.stack([weights[0], weights[1], total, factor @ total.T]))
    values[3] **= 2
    return values


def ten_steps_eager(weights, views):
    for batch in views:
        with torch.enable_grad():
            gradient = sgd_gradient(weights.requires_grad_(), batch)
        weights = weights.detach() - harness.SGD_RATE * gradient
    return weights


def ten_steps_functional(weights, views):
    """The same through torch.func, which compiles into one piece."""
    gradient = torch.func.grad(lambda weights, views: dot(embed(weights, views)))
    for k in range(harness.RECORD_EVERY):
        weights = weights - harness.SGD_RATE * gradient(weights, views[k])
    return weights


def sgd_run(ten_steps, weights, samples, factor, variance, steps):
    """Weights and spectra; ten batches are drawn at a time."""
    recorded = []
    with torch.no_grad():
        for _ in range(steps // harness.RECORD_EVERY):
            indices = torch.randint(len(samples), (harness.RECORD_EVERY, 1, harness.SGD_BATCH))
            shape = (harness.RECORD_EVERY, 2, harness.SGD_BATCH, samples.shape[1])
            views = samples[indices] + variance**0.5 * torch.randn(shape, dtype=samples.dtype)
            weights = ten_steps(weights, views)
            recorded.append(spectra(weights, factor))
    return weights, torch.stack(recorded)


def sgd():
    inputs = harness.load(FOLDER, "sgd")
    for dtype in (torch.float64, torch.float32):
        weights, samples, observed, batches = (
            torch.tensor(inputs[name], dtype=dtype) for name in ("weights", "samples", "observed", "batches")
        )
        centred = observed[0] - observed[0].mean(0)
        factor = torch.linalg.qr(centred / len(centred) ** 0.5).R
        variance = float(inputs["variances"][0])
        variants = {"eager": ten_steps_eager, "compile": torch.compile(ten_steps_functional)}
        for name, ten_steps in variants.items():
            compilation = warm(lambda: ten_steps(weights[0].clone(), batches[:10]))
            if compilation is None:
                continue
            compared = weights[0].clone()
            for begin in range(0, len(batches), harness.RECORD_EVERY):
                compared = ten_steps(compared, batches[begin : begin + harness.RECORD_EVERY])
            run = lambda: sgd_run(ten_steps, weights[0].clone(), samples[0], factor, variance, harness.SGD_STEPS)
            seconds, last = harness.median_seconds(run, 5)
            seconds /= harness.SGD_STEPS
            results = {"compared": compared.detach(), "spectrum": last[1][-1:, 3]}
            more = {"compilation": compilation} if name == "compile" else {}
            variant = f"{name} {str(dtype).removeprefix('torch.')}"
            harness.report(FOLDER, "torch", WORKLOAD, variant, THREADS, seconds, results, **more)


def flow():
    inputs = harness.load(FOLDER, "flow")
    start, views = torch.tensor(inputs["weights"][0]), torch.tensor(inputs["views"][0])
    calls = []
    for name, loss in {"eager": eq2, "compile": torch.compile(eq2)}.items():

        def field(_, weights):
            calls.append(1)
            with torch.enable_grad():
                weights = weights.detach().requires_grad_()
                return -torch.autograd.grad(loss(embed(weights, views)), weights)[0]

        def solve():
            times = torch.tensor([0.0, harness.TIME_END], dtype=torch.float64)
            with torch.no_grad():
                return torchdiffeq.odeint(
                    field, start, times, rtol=harness.RTOL, atol=harness.ATOL, method="dopri5"
                )[-1]

        compilation = warm(solve)
        if compilation is None:
            continue
        seconds, ended = harness.median_seconds(solve, 3)
        calls.clear()
        solve()
        results = {"weights": ended[None]}
        more = {"compilation": compilation} if name == "compile" else {}
        variant = f"torchdiffeq dopri5 {name}"
        harness.report(FOLDER, "torch", WORKLOAD, variant, THREADS, seconds, results, evaluations=len(calls), **more)


class Block(torch.nn.Module):
    """Two 3x3 convolutions around which a 1x1 convolution leads where the size changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(outputs)
        self.conv2 = torch.nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            shortcut = torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = torch.nn.Sequential(shortcut, torch.nn.BatchNorm2d(outputs))

    def forward(self, x):
        around = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + around)


class ResNet8(torch.nn.Module):
    """Three stages of one block, of widths 16, 32 and 64."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        for stage, (inputs, outputs, stride) in enumerate([(16, 16, 1), (16, 32, 2), (32, 64, 2)], 1):
            self.add_module(f"layer{stage}", torch.nn.Sequential(Block(inputs, outputs, stride)))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))


def resnet_step():
    """Steps of SGD on all pictures as they are: both views of a picture are the same."""
    records = b"".join((pathlib.Path(FOLDER) / f"data_batch_{k}.bin").read_bytes() for k in range(1, 6))
    pixels = np.frombuffer(records, np.uint8).reshape(-1, 3073)[:, 1:].reshape(-1, 3, 32, 32) / 255
    mean, std = pixels.mean((0, 2, 3), keepdims=True), pixels.std((0, 2, 3), keepdims=True)
    pictures = torch.tensor((pixels - mean) / std, dtype=torch.float32)
    weights = harness.load(FOLDER, "resnet_step")
    for variant in ("eager", "channels last", "compile"):
        layout = torch.channels_last if variant == "channels last" else torch.contiguous_format
        x = pictures.to(memory_format=layout)

        def start():
            model = ResNet8()
            with torch.no_grad():
                for name, value in model.named_parameters():
                    value.copy_(torch.tensor(weights[name]))
            model = model.to(memory_format=layout)
            decayed = [p for p in model.parameters() if p.dim() > 1]
            others = [p for p in model.parameters() if p.dim() == 1]
            groups = [{"params": decayed, "weight_decay": harness.NETWORK_DECAY}, {"params": others}]
            optimiser = torch.optim.SGD(groups, lr=harness.NETWORK_RATE, momentum=0.9)
            return model, torch.compile(model) if variant == "compile" else model, optimiser

        def step(network, optimiser):
            optimiser.zero_grad()
            loss = cosine(torch.stack([network(x), network(x)]))
            loss.backward()
            optimiser.step()
            return loss.detach()

        model, network, optimiser = start()
        compilation = warm(lambda: step(network, optimiser))
        if compilation is None:
            continue
        model, network, optimiser = start()
        for done in range(harness.NETWORK_STEPS):
            for group in optimiser.param_groups:
                group["lr"] = harness.NETWORK_RATE * 0.5 * (1 + math.cos(math.pi * done / harness.NETWORK_STEPS))
            loss = step(network, optimiser)
        compared = torch.cat([p.detach().flatten() for _, p in sorted(model.named_parameters())])
        seconds, _ = harness.median_seconds(lambda: step(network, optimiser), 9)
        more = {"compilation": compilation} if variant == "compile" else {}
        results = {"loss": loss, "parameters": compared}
        harness.report(FOLDER, "torch", WORKLOAD, variant, THREADS, seconds, results, **more)


EQ2 = {"eager": backward(eq2), "blocks": backward_in_blocks, "compile": backward(torch.compile(eq2))}
WORKLOADS = {
    "eq2_1024": lambda: loss_and_gradient(EQ2, 1024),
    "eq2_8192": lambda: loss_and_gradient(EQ2, 8192),
    "dot_1024": lambda: loss_and_gradient({"eager": backward(dot), "compile": backward(torch.compile(dot))}, 1024),
    "cosine_1024": lambda: loss_and_gradient(
        {"eager": backward(cosine), "compile": backward(torch.compile(cosine))}, 1024
    ),
    "sgd": sgd,
    "flow": flow,
    "resnet_step": resnet_step,
}

if __name__ == "__main__":
    WORKLOADS[WORKLOAD]()
