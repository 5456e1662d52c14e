#!/usr/bin/env python3
"""References for the psychometric fits: statsmodels and scipy on made-up trials.

    references.py --out DIR                     makes reference.json
    references.py --out DIR --compare STORED    and compares it with the stored one

Each data set has trials (x_rel, x_irr, delta) of one cue. What is fitted to them:

glm     statsmodels' binomial GLM of the choices on z_rel and z_irr: no lapses, no
        prior. Estimates and standard errors.
map     scipy on the whole objective, lapses and prior, from several starts: L-BFGS-B
        within the bounds, then Newton's method on what is not at a bound.
ols     statsmodels' OLS of delta on z_rel and z_irr.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import scipy
import scipy.optimize
import statsmodels
import statsmodels.api as sm
from scipy.special import expit, logit, xlogy

PRIOR_SD, LAPSE_MAX = 10.0, 0.25
TRIALS = 96


def scaled(x):
    return np.sign(x) * np.log1p(np.abs(x)) / math.log(51)


def evidence(rng):
    """Differences from the default bins, both signs, balanced as the task does it."""
    bins = [(1, 4), (5, 16), (17, 50)]
    cells = [(s, t, i, j) for s in (-1, 1) for t in (-1, 1) for i in range(3) for j in range(3)]
    rows = []
    for at in range(TRIALS):
        s, t, i, j = cells[at % len(cells)]
        rows.append((s * rng.integers(*bins[i], endpoint=True), t * rng.integers(*bins[j], endpoint=True)))
    return np.array(rows)


def design(x):
    return np.column_stack([np.ones(len(x)), scaled(x)])


def log_posterior(theta, x, right, left):
    """As SCIENCE states it, written without a thought for speed."""
    s = design(x) @ theta[:3]
    p = theta[4] + (1 - theta[3] - theta[4]) * expit(s)
    q = theta[3] + (1 - theta[3] - theta[4]) * expit(-s)
    return np.sum(xlogy(right, p) + xlogy(left, q)) - np.sum(theta[:3] ** 2) / (2 * PRIOR_SD**2)


def maximum_a_posteriori(x, right, left):
    bounds = [(None, None)] * 3 + [(0, LAPSE_MAX)] * 2
    best = None
    for lapses in [(0, 0), (0.05, 0.05), (0.2, 0.05), (0.05, 0.2)]:
        for slope in (1.0, 5.0):
            start = np.array([0.0, slope, 0.0, *lapses])
            found = scipy.optimize.minimize(
                lambda t: -log_posterior(t, x, right, left), start, method="L-BFGS-B", bounds=bounds,
                options=dict(ftol=1e-15, gtol=1e-9, maxiter=10_000, maxfun=10**6),
            )
            if best is None or found.fun < best.fun:
                best = found
    theta = best.x
    free = [k for k in range(5) if k < 3 or 1e-7 < theta[k] < LAPSE_MAX - 1e-7]
    theta[[k for k in range(3, 5) if k not in free]] = np.round(theta[[k for k in range(3, 5) if k not in free]] * 4) / 4

    def gradient(part):
        """By complex steps: exact to rounding."""
        out = np.zeros(len(free))
        for i, k in enumerate(free):
            t = theta.astype(complex)
            t[free] = part
            t[k] += 1e-30j
            s = design(x) @ t[:3]
            f = 1 / (1 + np.exp(-s))
            p = t[4] + (1 - t[3] - t[4]) * f
            q = t[3] + (1 - t[3] - t[4]) * (1 / (1 + np.exp(s)))
            value = np.sum(right * np.log(p) + left * np.log(q)) - np.sum(t[:3] ** 2) / (2 * PRIOR_SD**2)
            out[i] = value.imag / 1e-30
        return out

    solved = scipy.optimize.root(gradient, theta[free], tol=1e-13)
    assert np.max(np.abs(gradient(solved.x))) < 1e-8, solved
    theta[free] = solved.x
    return theta


def soft(rng, b, rel, irr, noise):
    x = evidence(rng)
    return x, design(x) @ [b, rel, irr] + noise * rng.standard_normal(TRIALS)


def lapsing(rng, b, rel, irr, lapse_left, lapse_right, noise):
    x, eta = soft(rng, b, rel, irr, noise)
    return x, logit(lapse_right + (1 - lapse_left - lapse_right) * expit(eta))


def reference(x, delta, hard):
    right, left = (1.0 * (delta > 0), 1.0 * (delta < 0)) if hard else (expit(delta), expit(-delta))
    fitted = sm.GLM(right, design(x), family=sm.families.Binomial()).fit(tol=1e-14, maxiter=200, tol_criterion="params")
    ols = sm.OLS(delta, design(x)).fit()
    return {
        "trials": [[int(a), int(b), float(d)] for (a, b), d in zip(x, delta)],
        "hard": hard,
        "glm": {"estimates": list(fitted.params), "errors": list(fitted.bse)},
        "map": list(maximum_a_posteriori(x, right, left)),
        "ols": list(ols.params),
    }


def make():
    rng = np.random.default_rng(20130)
    sets = {
        "gated": reference(*soft(rng, 0.2, 4.0, 0.5, 0.8), hard=False),
        "context_blind": reference(*soft(rng, -0.1, 2.0, 1.8, 0.5), hard=False),
        "undecided": reference(*soft(rng, 0.02, 0.03, -0.01, 0.05), hard=False),
        "confident": reference(*soft(rng, 0.5, 18.0, 1.0, 2.0), hard=False),
        "lapsing": reference(*lapsing(rng, 0.3, 6.0, 0.8, 0.04, 0.10, 0.5), hard=False),
        "lapsing_much": reference(*lapsing(rng, 0.0, 8.0, -0.5, 0.35, 0.02, 0.5), hard=False),
        "choices": reference(*soft(rng, 0.2, 2.5, 0.6, 1.5), hard=True),
    }
    versions = {m.__name__: m.__version__ for m in (np, scipy, statsmodels)}
    return {"versions": versions, "sets": sets}


def compare(made, stored):
    assert made["sets"].keys() == stored["sets"].keys(), made["sets"].keys() ^ stored["sets"].keys()
    off = {}
    for name, a in made["sets"].items():
        b = stored["sets"][name]
        pairs = {key: (a[key], b[key]) for key in ("map", "ols")}
        pairs |= {f"glm.{key}": (a["glm"][key], b["glm"][key]) for key in ("estimates", "errors")}
        for key, (x, y) in pairs.items():
            assert np.shape(x) == np.shape(y), f"{name}.{key}: {np.shape(x)} is not {np.shape(y)}"
            off[f"{name}.{key}"] = float(np.max(np.abs(np.subtract(x, y))))
    # Each by itself: a maximum would drop NaN.
    assert all(d < 1e-7 for d in off.values()), f"other than the stored references: {off}"
    print(f"largest difference from the stored references: {max(off.values()):.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--compare", type=Path)
    options = parser.parse_args()
    made = make()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "reference.json").write_text(json.dumps(made, separators=(",", ":")).replace('"trials"', '\n"trials"') + "\n")
    if options.compare:
        compare(made, json.loads((options.compare / "reference.json").read_text()))
