"""The workloads in JAX, flows by diffrax: `jax_peer.py WORKLOAD FOLDER THREADS` prints a line of JSON for each variant."""

import os
import sys
import time

WORKLOAD, FOLDER, THREADS = sys.argv[1], sys.argv[2], int(sys.argv[3])
# XLA takes as many threads as the process may use processors; this has to be settled before it is loaded.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import harness

jax.config.update("jax_enable_x64", True)


def eq2(z):
    """Eq. 2 of both views z (2 x N x d), by the Gram matrix; what is constant along a row of logits is left out."""
    first, second = z
    squares = jnp.sum(first * first, axis=1)
    logits = first @ first.T - 0.5 * squares[None, :]
    positive = 0.5 * squares - 0.5 * jnp.sum((first - second) ** 2, axis=1)
    logits = jnp.where(jnp.eye(len(first), dtype=bool), positive[:, None], logits)
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - positive)


def eq2_in_blocks(z, rows=512):
    """The same, with no more than `rows` rows of logits in memory at a time."""
    first, second = z
    count, dim = first.shape
    squares = jnp.sum(first * first, axis=1)
    positive = 0.5 * squares - 0.5 * jnp.sum((first - second) ** 2, axis=1)

    @jax.checkpoint
    def block(total, part):
        queries, positive, index = part
        logits = queries @ first.T - 0.5 * squares[None, :]
        logits = jnp.where(index[:, None] == jnp.arange(count)[None, :], positive[:, None], logits)
        return total + jnp.sum(jax.nn.logsumexp(logits, axis=1) - positive), None

    parts = (first.reshape(-1, rows, dim), positive.reshape(-1, rows), jnp.arange(count).reshape(-1, rows))
    return jax.lax.scan(block, jnp.zeros((), z.dtype), parts)[0] / count


def cross_entropy(logits):
    """The mean of -log softmax at the diagonal."""
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(logits))


def dot(z):
    """The released code's loss."""
    return cross_entropy(z[0] @ z[1].T / harness.TEMPERATURE)


def cosine(z):
    """The mean of both directions for unit vectors."""
    unit = z / jnp.linalg.norm(z, axis=2, keepdims=True)
    logits = unit[0] @ unit[1].T / harness.TEMPERATURE
    return 0.5 * (cross_entropy(logits) + cross_entropy(logits.T))


def compiled(function, *arguments):
    """`function` compiled for `arguments`, and the seconds that this took."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    return program, time.perf_counter() - start


def loss_and_gradient(variants, count):
    z = jnp.asarray(harness.load(FOLDER, f"loss_{count}")["z"])
    for variant, function in variants.items():
        program, compilation = compiled(jax.value_and_grad(function), z)
        call = lambda: jax.block_until_ready(program(z))
        seconds, (loss, gradient) = harness.median_seconds(call, 9 if count > 4096 else 31)
        results = {"loss": loss, "gradient": gradient}
        harness.report(FOLDER, "jax", WORKLOAD, variant, THREADS, seconds, results, compilation=compilation)


def embed(weights, views):
    """Embeddings under weights (W1, W2), samples in rows."""
    return views @ weights[0].T @ weights[1].T


def sgd_step(weights, views):
    gradient = jax.grad(lambda weights: dot(embed(weights, views)))(weights)
    return weights - harness.SGD_RATE * gradient


def spectra(weights, factor):
    """Singular values of W1, W2, W2 W1, and of the embeddings' covariance with `factor` that of the inputs."""
    total = weights[1] @ weights[0]
    stack = jnp.stack([weights[0], weights[1], total, factor @ total.T])
    values = jnp.linalg.svd(stack, compute_uv=False)
    return values.at[3].set(values[3] ** 2)


def sgd_run(key, weights, samples, factor, variance, steps):
    """Weights and spectra: a scan over records, in each of which ten batches are drawn and descended."""

    def record(carry, _):
        weights, key = carry
        key, of_indices, of_noise = jax.random.split(key, 3)
        every, batch = harness.RECORD_EVERY, harness.SGD_BATCH
        indices = jax.random.randint(of_indices, (every, 1, batch), 0, len(samples))
        noise = jax.random.normal(of_noise, (every, 2, batch, samples.shape[1]), samples.dtype)
        views = samples[indices] + jnp.sqrt(variance) * noise
        weights = jax.lax.scan(lambda weights, views: (sgd_step(weights, views), None), weights, views)[0]
        return (weights, key), spectra(weights, factor)

    (weights, _), recorded = jax.lax.scan(record, (weights, key), length=steps // harness.RECORD_EVERY)
    return weights, recorded


def sgd_inputs(name, dtype):
    inputs = harness.load(FOLDER, name)
    factors = []
    for observed in inputs["observed"]:
        centred = observed - observed.mean(axis=0)
        factors.append(np.linalg.qr(centred / np.sqrt(len(observed)), mode="r"))
    names = ("weights", "samples", "variances", "batches")
    weights, samples, variances, batches = (jnp.asarray(inputs[name], dtype) for name in names)
    return weights, samples, jnp.asarray(np.stack(factors), dtype), variances, batches


def sgd():
    for dtype in ("float64", "float32"):
        weights, samples, factors, variances, batches = sgd_inputs("sgd", dtype)
        compared = jax.jit(lambda w: jax.lax.scan(lambda w, v: (sgd_step(w, v), None), w, batches)[0])(weights[0])
        for generator in ("threefry2x32", "rbg"):
            arguments = (jax.random.key(1, impl=generator), weights[0], samples[0], factors[0], variances[0])
            program, compilation = compiled(lambda *a: sgd_run(*a, harness.SGD_STEPS), *arguments)
            seconds, run = harness.median_seconds(lambda: jax.block_until_ready(program(*arguments)), 5)
            results = {"compared": compared, "spectrum": run[1][-1:, 3]}
            variant = f"scan {dtype} {generator}"
            seconds /= harness.SGD_STEPS
            harness.report(FOLDER, "jax", WORKLOAD, variant, THREADS, seconds, results, compilation=compilation)


def sgd_sweep():
    for dtype in ("float64", "float32"):
        weights, samples, factors, variances, _ = sgd_inputs("sgd_sweep", dtype)
        one = lambda *a: sgd_run(*a, harness.SGD_SWEEP_STEPS)
        by_vmap, by_map = jax.vmap(one), lambda *a: jax.lax.map(lambda run: one(*run), a)
        variants = (("vmap", by_vmap, "threefry2x32"), ("vmap", by_vmap, "rbg"), ("map", by_map, "threefry2x32"))
        for name, function, generator in variants:
            keys = jax.random.split(jax.random.key(1, impl=generator), len(weights))
            arguments = (keys, weights, samples, factors, variances)
            program, compilation = compiled(function, *arguments)
            seconds, run = harness.median_seconds(lambda: jax.block_until_ready(program(*arguments)), 3)
            results = {"spectrum": run[1][:, -1, 3]}
            variant = f"{name} {dtype} {generator}"
            harness.report(FOLDER, "jax", WORKLOAD, variant, THREADS, seconds, results, compilation=compilation)


def solve(weights, views, count_evaluation=None):
    """The gradient flow from `weights`, by diffrax with its own defaults where nothing else is said."""
    gradient = jax.grad(lambda weights: eq2(embed(weights, views)))

    def field(_, weights, __):
        if count_evaluation is not None:
            jax.debug.callback(count_evaluation)
        return -gradient(weights)

    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        t0=0.0,
        t1=harness.TIME_END,
        dt0=None,
        y0=weights,
        saveat=diffrax.SaveAt(t1=True),
        stepsize_controller=diffrax.PIDController(rtol=harness.RTOL, atol=harness.ATOL),
        max_steps=4096,
    )


def evaluations(weights, views):
    """How often one solve calls its field: counted as it runs."""
    calls = []
    jax.block_until_ready(jax.jit(lambda w, v: solve(w, v, lambda: calls.append(1)).ys)(weights, views))
    jax.effects_barrier()
    return len(calls)


def flow():
    inputs = harness.load(FOLDER, "flow")
    weights, views = jnp.asarray(inputs["weights"][0]), jnp.asarray(inputs["views"][0])
    program, compilation = compiled(lambda w, v: solve(w, v).ys, weights, views)
    seconds, ended = harness.median_seconds(lambda: jax.block_until_ready(program(weights, views)), 5)
    results = {"weights": ended}
    count = evaluations(weights, views)
    harness.report(
        FOLDER, "jax", WORKLOAD, "diffrax tsit5", THREADS, seconds, results, compilation=compilation,
        evaluations=count,
    )


def flow_sweep():
    inputs = harness.load(FOLDER, "flow_sweep")
    weights, views = jnp.asarray(inputs["weights"]), jnp.asarray(inputs["views"])
    one = lambda w, v: solve(w, v).ys[0]
    for name, function in {"vmap": jax.vmap(one), "map": lambda *a: jax.lax.map(lambda run: one(*run), a)}.items():
        program, compilation = compiled(function, weights, views)
        seconds, ended = harness.median_seconds(lambda: jax.block_until_ready(program(weights, views)), 3)
        results, variant = {"weights": ended}, f"diffrax {name}"
        harness.report(FOLDER, "jax", WORKLOAD, variant, THREADS, seconds, results, compilation=compilation)


WORKLOADS = {
    "eq2_1024": lambda: loss_and_gradient({"whole": eq2, "blocks": eq2_in_blocks}, 1024),
    "eq2_8192": lambda: loss_and_gradient({"whole": eq2, "blocks": eq2_in_blocks}, 8192),
    "dot_1024": lambda: loss_and_gradient({"whole": dot}, 1024),
    "cosine_1024": lambda: loss_and_gradient({"whole": cosine}, 1024),
    "sgd": sgd,
    "flow": flow,
    "sgd_sweep": sgd_sweep,
    "flow_sweep": flow_sweep,
}

if __name__ == "__main__":
    WORKLOADS[WORKLOAD]()
