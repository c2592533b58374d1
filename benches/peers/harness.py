"""What both peers share: inputs, timing, and how results are handed to the runner."""

import json
import pathlib
import statistics
import time

import numpy as np

TEMPERATURE = 0.1
SGD_RATE = 0.01
SGD_BATCH = 128
SGD_STEPS = 2000
SGD_SWEEP_STEPS = 1000
RECORD_EVERY = 10
TIME_END = 10.0
RTOL = 1e-6
ATOL = 1e-8
NETWORK_STEPS = 5
NETWORK_RATE = 0.1
NETWORK_DECAY = 1e-4


def load(folder, name):
    """The arrays of inputs_NAME.npz."""
    with np.load(pathlib.Path(folder) / f"inputs_{name}.npz") as archive:
        return {key: archive[key] for key in archive.files}


def median_seconds(call, repeats, shortest=1e-3):
    """Median seconds of a call over `repeats` measurements after one call to warm up, and what the last one returned.

    Calls shorter than `shortest` are timed together.
    """
    call()
    calls, seconds = 1, []
    while len(seconds) < repeats:
        start = time.perf_counter()
        for _ in range(calls):
            result = call()
        taken = time.perf_counter() - start
        if not seconds and taken < shortest and calls == 1:
            calls = int(np.ceil(shortest / taken))
            continue
        seconds.append(taken / calls)
    return statistics.median(seconds), result


def report(folder, program, workload, variant, threads, seconds, results, **more):
    """Prints one measurement as a line of JSON and writes what was computed for the runner to compare."""
    file = pathlib.Path(folder) / f"{program}_{workload}_{variant.replace(' ', '_')}.npz"
    np.savez(file, **{key: np.asarray(value) for key, value in results.items()})
    line = {"program": program, "variant": variant, "threads": threads, "seconds": seconds, "results": file.name}
    print(json.dumps(line | more), flush=True)
