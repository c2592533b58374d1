#!/usr/bin/env python3
"""Measures contraflow, PyTorch and JAX side by side and prints how many times longer the others take.

    python3 benches/peers/run.py                         # everything, about half an hour
    python3 benches/peers/run.py --only eq2_1024 flow    # some workloads
    python3 benches/peers/run.py --write BENCHMARKS.md   # put the result between the markers of that file

The first call makes a virtual environment in target/peers/venv from requirements.txt. Every workload is run with one thread and
with as many as there are processors, by every program in turn, and the best of each program counts. What the programs compute
is compared; the exit status is 1 where they do not agree.
"""

import argparse
import datetime
import hashlib
import json
import math
import os
import pathlib
import platform
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCRATCH = ROOT / "target" / "peers"
PYTHON = SCRATCH / "venv" / "bin" / "python"
INPUTS = SCRATCH / "work"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NAMES = {"contraflow": "contraflow", "torch": "PyTorch", "jax": "JAX"}
PEERS = ("torch", "jax")

# Workload: what it is, and for each array of its results the largest relative difference that counts as agreement.
# A run's spectrum follows noise that every program draws for itself: a direction that rises just at the end is up in one run and
# not yet in another, JAX's two generators being as far apart as either is from contraflow. So SGD is compared on the same
# batches, and spectra as means over the 32 runs of the sweep, whose differences scatter by about 0.06 of the largest value.
LOSS = {"loss": 1e-11, "gradient": 1e-9}
WORKLOADS = {
    "eq2_1024": ("loss and gradient, Eq. 2, N = 1,024", LOSS),
    "eq2_8192": ("loss and gradient, Eq. 2, N = 8,192", LOSS),
    "dot_1024": ("loss and gradient, dot product, N = 1,024", LOSS),
    "cosine_1024": ("loss and gradient, cosine, both directions, N = 1,024", LOSS),
    "sgd": ("SGD step, two layers, batch 128, spectra every 10 steps", {"compared": 1e-9}),
    "flow": ("flow to t = 10, two layers, Eq. 2, N = 1,024", {"weights": 1e-4}),
    "sgd_sweep": ("32 runs of SGD, 1,000 steps each", {"spectrum": 0.2}),
    "flow_sweep": ("32 flows to t = 10, N = 512", {"weights": 1e-4}),
    "resnet_step": ("SGD step, ResNet-8 of width 16, 100 pairs of 3 x 32 x 32, float32", {"loss": 1e-6, "parameters": 1e-5}),
}
# Single precision: agreement on the same batches, as far as that carries.
SINGLE = {"compared": 1e-3}
# PyTorch's convolutions with channels last are 1e-5 to 5e-5 from its own double precision after the compared steps; its others, and
# contraflow's, 2e-7 to 5e-7.
CHANNELS_LAST = {"parameters": 1e-4}
TORCH_HAS = {"eq2_1024", "eq2_8192", "dot_1024", "cosine_1024", "sgd", "flow", "resnet_step"}
# A network in JAX would need one more library.
JAX_HAS = set(WORKLOADS) - {"resnet_step"}
TIME_LIMIT = 1200


def say(text):
    print(text, file=sys.stderr, flush=True)


def prepare_environment():
    """Makes the virtual environment, again where requirements.txt has changed."""
    requirements = HERE / "requirements.txt"
    stamp = SCRATCH / "venv" / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say(f"installing {requirements.name} into {PYTHON.parent.parent.relative_to(ROOT)}")
    subprocess.run([sys.executable, "-m", "venv", SCRATCH / "venv"], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "-q", "--upgrade", "pip"], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    stamp.write_text(wanted)


def build():
    """Builds contraflow's side and returns its program."""
    command = ["cargo", "bench", "--features", "resnet", "--bench", "peers", "--no-run", "--message-format=json"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    ours = [m for m in messages if m.get("executable") and m["target"]["name"] == "peers"]
    return ours[-1]["executable"]


def lines_of(command):
    """The JSON lines that a program prints; what it has printed until then where it takes too long or fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            output, _ = process.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            say(f"{command[1]} took more than {TIME_LIMIT} s and was ended")
    if process.returncode:
        say(f"{' '.join(map(str, command))} ended with status {process.returncode}")
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def measure(workload, program, thread_counts):
    """All measurements of a workload, the programs by turns."""
    found = []
    for threads in thread_counts:
        ours = lines_of([program, workload, INPUTS, str(threads)])
        common = {"program": "contraflow", "variant": "", "threads": threads}
        found += [common | {"results": f"contraflow_{workload}.npz"} | line for line in ours]
        if workload in JAX_HAS:
            found += lines_of([PYTHON, HERE / "jax_peer.py", workload, INPUTS, str(threads)])
        if workload in TORCH_HAS:
            found += lines_of([PYTHON, HERE / "torch_peer.py", workload, INPUTS, str(threads)])
    return found


def differences(workload, measured):
    """Compares what each peer has computed with contraflow's; a list of (variant, array, difference, allowed)."""
    script = (
        "import json, sys, numpy as np\n"
        "a, b = (np.load(name) for name in sys.argv[1:])\n"
        "keys = [k for k in a.files if k in b.files]\n"
        "far = lambda x, y: float(np.max(np.abs(x - y)) / np.max(np.abs(x)))\n"
        "told = lambda file, k: file[k].mean(0) if k == 'spectrum' else file[k]\n"
        "print(json.dumps({k: far(told(a, k), told(b, k)) for k in keys}))\n"
    )
    found = {}
    for line in measured:
        if line["program"] == "contraflow":
            continue
        ours, theirs = INPUTS / f"contraflow_{workload}.npz", INPUTS / line["results"]
        command = [PYTHON, "-c", script, ours, theirs]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        allowed = dict(WORKLOADS[workload][1])
        for mark, looser in (("float32", SINGLE), ("channels last", CHANNELS_LAST)):
            if mark in line["variant"]:
                allowed.update({array: value for array, value in looser.items() if array in allowed})
        for array, difference in json.loads(output).items():
            if array in allowed:
                key = (f"{NAMES[line['program']]} {line['variant']}", array)
                found[key] = (difference, allowed[array])
    return [(variant, array, *values) for (variant, array), values in found.items()]


def shown(seconds):
    """Seconds in the unit that suits them, three digits."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1.0:
            break
    value = seconds * factor
    return f"{value:.{max(0, 2 - int(math.floor(math.log10(value))))}f} {unit}"


def cell(line):
    """One measurement as the table has it."""
    if line is None:
        return "-"
    threads = "1 thread" if line["threads"] == 1 else f"{line['threads']} threads"
    variant = f"{line['variant']}, " if line["variant"] else ""
    evaluations = f", {line['evaluations']} right-hand sides" if "evaluations" in line else ""
    return f"{shown(line['seconds'])} ({variant}{threads}{evaluations})"


def rows_of(workload, measured):
    """Rows (title, best of each program): one for each precision that the peers have."""
    ours = [line for line in measured if line["program"] == "contraflow"]
    precisions = [""]
    if any("float32" in line["variant"] for line in measured):
        precisions = ["float64", "float32"]
    for precision in precisions:
        best = {"contraflow": min(ours, key=lambda line: line["seconds"], default=None)}
        for peer in PEERS:
            lines = [l for l in measured if l["program"] == peer and precision in l["variant"]]
            best[peer] = min(lines, key=lambda line: line["seconds"], default=None)
        title = WORKLOADS[workload][0] + ("; the peers in float32" if precision == "float32" else "")
        yield title, best


def ratio(best, peer):
    """How many times as long as contraflow the peer takes; none where one of them was not measured."""
    if best["contraflow"] is None or best[peer] is None:
        return None
    return best[peer]["seconds"] / best["contraflow"]["seconds"]


def machine():
    """What the numbers were measured with, as (name, value)."""
    cpu = platform.processor() or platform.machine()
    try:
        cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
        model = dict(part.split(":", 1) for part in cpuinfo.split("\n\n")[0].replace("\t", "").split("\n"))
        cpu = f"{model['model name'].strip()}, family {model['cpu family'].strip()}, model {model['model'].strip()}"
        widest = [name for name in ("avx512f", "avx2") if name in model["flags"].split()]
        cpu += f", {widest[0]}" if widest else ""
    except (OSError, KeyError, ValueError):
        pass

    def output(*command):
        return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()

    listed = json.loads(output(PYTHON, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"))
    versions = {package["name"].lower(): package["version"] for package in listed}
    names = ("torch", "torchdiffeq", "jax", "jaxlib", "diffrax", "equinox", "numpy")
    changed = " with changes" if output("git", "status", "--porcelain", "--untracked-files=no", "src") else ""
    return [
        ("date", datetime.date.today().isoformat()),
        ("processor", f"{cpu}; {os.cpu_count()} cores"),
        ("load before", f"{os.getloadavg()[0]:.2f} (of the last minute)"),
        ("contraflow", f"commit {output('git', 'rev-parse', '--short', 'HEAD')}{changed}, {output('rustc', '--version')}"),
        ("peers", f"Python {platform.python_version()}, " + ", ".join(f"{n} {versions.get(n, '?')}" for n in names)),
    ]


def markdown(environment, everything):
    """The report: what is slower first."""
    rows = [row for workload, measured in everything.items() for row in rows_of(workload, measured)]
    slower = []
    for title, best in rows:
        for peer in PEERS:
            times = ratio(best, peer)
            if times is not None and times < 1.0:
                slower.append((times, f"- {title}: {1 / times:.2f} times as long as {NAMES[peer]}."))
    text = ["**Where contraflow is slower than a peer:**", ""]
    text += [line for _, line in sorted(slower)] or ["- nowhere in this table."]
    text += ["", "| | |", "|---|---|"]
    text += [f"| {name} | {value} |" for name, value in environment]
    text += ["", "| workload | contraflow | PyTorch | JAX | PyTorch : contraflow | JAX : contraflow |"]
    text += ["|---|---|---|---|---|---|"]
    order = lambda row: min((r for r in (ratio(row[1], peer) for peer in PEERS) if r is not None), default=math.inf)
    for title, best in sorted(rows, key=order):
        ratios = (ratio(best, peer) for peer in PEERS)
        ratios = ["-" if r is None else f"**{r:.2f}**" if r < 1.0 else f"{r:.1f}" for r in ratios]
        text.append(f"| {title} | {' | '.join(cell(best[p]) for p in NAMES)} | {' | '.join(ratios)} |")
    text += ["", "Everything that was measured, compilation told apart and not contained in the times:", ""]
    text += ["| workload | program | threads | time | compilation |", "|---|---|---|---|---|"]
    for workload, measured in everything.items():
        for line in measured:
            name = f"{NAMES[line['program']]} {line['variant']}".strip()
            compilation = f"{line['compilation']:.1f} s" if "compilation" in line else ""
            text.append(f"| {workload} | {name} | {line['threads']} | {shown(line['seconds'])} | {compilation} |")
    return text


def agreement(everything):
    """A table of how far the peers' results are from contraflow's, and whether all are within what is allowed."""
    text = ["", "Largest difference of the peers' results from contraflow's, relative to the largest element:", ""]
    text += ["| workload | program | result | difference | allowed |", "|---|---|---|---|---|"]
    agreed = True
    for workload, measured in everything.items():
        for variant, array, difference, allowed in differences(workload, measured):
            fits = difference <= allowed
            agreed &= fits
            mark = "" if fits else " **no agreement**"
            text.append(f"| {workload} | {variant} | {array} | {difference:.1e}{mark} | {allowed:.0e} |")
    return text, agreed


def write(path, lines):
    """Replaces what stands between the markers of the file."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    path.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, metavar="WORKLOAD", default=list(WORKLOADS))
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="a Markdown file with the two markers")
    arguments = parser.parse_args()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    INPUTS.mkdir(exist_ok=True)
    for old in INPUTS.glob("*.npz"):
        old.unlink()
    prepare_environment()
    program = build()
    environment = machine()
    subprocess.run([program, "inputs", INPUTS], check=True)
    everything = {}
    for workload in arguments.only:
        say(f"measuring {workload}")
        everything[workload] = measure(workload, program, arguments.threads)
    lines = markdown(environment, everything)
    compared, agreed = agreement(everything)
    lines += compared
    print("\n".join(lines))
    if arguments.write:
        write(arguments.write, lines)
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
