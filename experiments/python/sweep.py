# %% [markdown]
# # A sweep in Python: load, check, redraw
#
# Run the sweeps first, from the project's root:
#
#     cargo run --release -- run experiments/figure_3_paper.toml
#     cargo run --release -- run experiments/figures_5_6_paper.toml
#     cargo run --release -- export results/figure_3_paper --format npz
#     cargo run --release -- export results/figures_5_6_paper
#
# then this file, as a script or cell by cell in an editor that knows `# %%`:
#
#     pip install -r experiments/python/requirements.txt
#     python experiments/python/sweep.py                   # or with another folder than results/

# %%
import pathlib
import sys

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt

results = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "results")
pd.set_option("display.width", 160, "display.max_columns", 20)
plt.rcParams.update({"font.size": 8, "axes.grid": True, "grid.color": "0.9", "axes.axisbelow": True})
WIDTH = 85 / 25.4  # a column of a paper, in inches
PALETTE = matplotlib.colors.ListedColormap(plt.cm.viridis(np.linspace(0, 0.85, 256)))

# %% [markdown]
# ## What every run ended with
#
# `summary.csv` has one row a run: swept keys, seed, repeat, why it ended, the last value of each recorded scalar. A run that
# diverged has last values too, so keep to those that `finished`; `planned` leaves out what other experiments have left.

# %%
sweep = results / "figure_3_paper"
summary = pd.read_csv(sweep / "summary.csv")
summary = summary[summary["planned"] & summary["finished"]]
print(summary[["augment.variance", "repeat", "ending", "time", "effective_rank_end_to_end"]].head())

# %% [markdown]
# ## What the repeats say together
#
# `aggregates.csv` has one row a cell and final value, of scalars and of each number in a spectrum: quantiles over the repeats that
# finished, and a 95 % bootstrap interval of the median. Both can be had from the summary too. Here they are, as a check of one against the other.

# %%
aggregates = pd.read_csv(sweep / "aggregates.csv")
rank = aggregates[aggregates["quantity"] == "effective_rank_end_to_end"].set_index("augment.variance")
print(rank[["repeats", "q25", "median", "q75", "median_low", "median_high"]])

cells = summary.groupby("augment.variance")["effective_rank_end_to_end"]
for column, part in [("min", 0.0), ("q25", 0.25), ("median", 0.5), ("q75", 0.75), ("max", 1.0)]:
    np.testing.assert_allclose(rank[column], cells.quantile(part), rtol=1e-13)

# The interval is exact: of the medians of all samples with replacement, at most 2.5 % lie below it and at most 2.5 % above.
# Drawing 20,000 of them must agree, within four standard errors of a count.
generator = np.random.default_rng(1)
error = 4 * np.sqrt(0.025 * 0.975 / 20_000)
for variance, values in cells:
    draws = np.median(generator.choice(values.to_numpy(), (20_000, len(values))), axis=1)
    low, high = rank.loc[variance, ["median_low", "median_high"]]
    nothing = 1e-12 * high  # two ways to round a mean
    assert np.mean(draws < low - nothing) < 0.025 + error and np.mean(draws > high + nothing) < 0.025 + error, variance
    assert np.mean(draws <= low + nothing) > 0.025 - error and np.mean(draws >= high - nothing) > 0.025 - error, variance

# %% [markdown]
# ## Figure 3: the spectrum of W under growing augmentation
#
# `export --format npz` stacks what the runs recorded: run, recorded time, then the axes of the array; what a run lacks is NaN.
# Nothing below the numerical floor is a value.


# %%
def above_floor(values, floor):
    """The values above the largest floor over repeats, and that floor; the rest is NaN."""
    floor = np.nanmax(floor)
    return np.where(values > floor, values, np.nan), floor


arrays = np.load(sweep / "trajectories.npz")
variances = arrays["augment.variance"]
last = arrays["sigma_end_to_end"][:, -1]
floors = arrays["floor_end_to_end"][:, -1]
shades = PALETTE(np.linspace(0, 1, len(np.unique(variances))))

figure, axes = plt.subplots(figsize=(WIDTH, 0.8 * WIDTH), layout="constrained")
for variance, shade, marker in zip(np.unique(variances), shades, "os^DvPXh"):
    of_cell = variances == variance
    median, floor = above_floor(np.median(last[of_cell], axis=0), floors[of_cell])
    ranks = np.arange(1, len(median) + 1)
    low, high = last[of_cell].min(axis=0), last[of_cell].max(axis=0)
    axes.fill_between(ranks, np.maximum(low, floor), np.maximum(high, floor), color=shade, alpha=0.2, lw=0)
    axes.plot(ranks, median, marker=marker, ms=3, lw=1, color=shade, label=f"{variance:g}")
axes.axhspan(1e-9, np.max(floors), color="0.85", lw=0)
axes.text(1, np.max(floors) / 2.2, "numerical floor", va="center", color="0.35")
axes.set(yscale="log", ylim=(np.max(floors) / 5, 5), xticks=[1, 4, 8, 12, 16], xlabel="rank of the singular value", ylabel="singular value of W")
axes.legend(title="variance", ncols=2, loc="lower left", bbox_to_anchor=(0, 0.12), fontsize=7)
figure.savefig(results / "figure-3-python.png", dpi=300)

# %% [markdown]
# ## Figure 6c: the spectrum of the embeddings over time
#
# `export` without more writes a table with a row a run and recorded time, `sigma_embedding[0]` its largest singular value.

# %%
table = pd.read_csv(results / "figures_5_6_paper" / "trajectories.csv")
columns = [name for name in table.columns if name.startswith("sigma_embedding[")]
over_repeats = table.groupby("time")[columns]
medians, lows, highs = over_repeats.median(), over_repeats.min(), over_repeats.max()
floor = table.groupby("time")["floor_embedding"].max()

figure, axes = plt.subplots(figsize=(WIDTH, 0.8 * WIDTH), layout="constrained")
for column, shade in zip(columns, PALETTE(np.linspace(0, 1, len(columns)))):
    seen = medians.index > 0
    axes.fill_between(medians.index[seen], lows[column][seen], highs[column][seen], color=shade, alpha=0.2, lw=0)
    axes.plot(medians.index[seen], medians[column].where(medians[column] > floor)[seen], lw=1, color=shade)
axes.fill_between(floor.index[1:], floor.iloc[1:], 1e-30, color="0.85", lw=0)
axes.text(0.95, 0.02, "numerical floor", transform=axes.transAxes, ha="right", color="0.35")
least = min(medians[columns[-1]].min(), floor.iloc[1:].min())
axes.set(xscale="log", yscale="log", ylim=(least / 5, None), xlabel="time t", ylabel="singular value of C")
shading = plt.cm.ScalarMappable(matplotlib.colors.Normalize(1, len(columns)), PALETTE)
figure.colorbar(shading, ax=axes, label="rank", ticks=[1, 4, 8, 12, 16])
figure.savefig(results / "figure-6c-python.png", dpi=300)

# %% [markdown]
# ## The same numbers in the records themselves
#
# Each run's directory has `record.npz`, the arrays as recorded, and `state.npz`, the final weights.

# %%
run = summary.iloc[0]["directory"]
record = np.load(sweep / run / "record.npz")
position = list(arrays["directory"]).index(run)
np.testing.assert_array_equal(record["sigma_end_to_end"], arrays["sigma_end_to_end"][position, : len(record["time"])])
weights = np.load(sweep / run / "state.npz")["W1"]
# Both are backward stable: equal to a few units in the last place of the largest.
np.testing.assert_allclose(np.linalg.svd(weights, compute_uv=False), record["sigma_end_to_end"][-1], atol=1e-13)
print(f"checked: medians and intervals of {len(rank)} cells, records of {len(arrays['directory'])} runs")
print(f"drawn: {results / 'figure-3-python.png'}, {results / 'figure-6c-python.png'}")
