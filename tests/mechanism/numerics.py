#!/usr/bin/env python3
"""References for the mathematics of representations, made by the libraries of the field.

    numerics.py --out DIR                     makes numerics.safetensors
    numerics.py --out DIR --compare STORED    and compares it with the stored one

Probes are scikit-learn's, rank correlations and distances scipy's, the similarity of
representations is the formula of google-research's `representation_similarity`
notebook, and targeted dimensionality reduction is written out in numpy. Inputs are
random f32 from fixed seeds; everything that is computed from them is f64. NUMERICS.md
names every tensor.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import scipy
import scipy.spatial.distance
import scipy.stats
import sklearn
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

STRENGTHS = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]  # C; Ridge's alpha is 1/C
FOLDS = 5


def probes():
    """Nested cross-validation by groups: two binary variables and a number."""
    random = np.random.default_rng(1)
    n, d, groups = 300, 12, 45
    group = random.integers(0, groups, n)
    x = random.normal(size=(n, d))
    direction = random.normal(size=d)
    x[:, 3] = 1000 + 0.05 * x[:, 3]  # large, and hardly varies
    x[:, 5] = 2.5  # does not vary
    x[:, 7] *= 40
    x = x.astype(np.float32)
    z = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    signal = z @ direction
    labels = {
        "clear": (signal > 0).astype(float),
        "faint": (signal + 6 * random.normal(size=n) > 0).astype(float),
        "number": np.round(20 + 5 * signal + 8 * random.normal(size=n)),
    }
    found = {"probes.x": x, "probes.group": group.astype(np.float32)}
    outer = np.full(n, -1)
    inner = np.full((FOLDS, n), -1)
    for fold, (train, test) in enumerate(GroupKFold(FOLDS).split(x, groups=group)):
        outer[test] = fold
        for i, (_, tested) in enumerate(GroupKFold(FOLDS).split(x[train], groups=group[train])):
            inner[fold, train[tested]] = i
    found |= {"probes.outer": outer.astype(np.float32), "probes.inner": inner.astype(np.float32)}
    for name, y in labels.items():
        rows = {"strength": [], "weights": [], "values": [], "score": []}
        for fold in range(FOLDS):
            train = outer != fold
            if name == "number":
                model, grid = Ridge(solver="cholesky"), {"ridge__alpha": [1 / c for c in STRENGTHS]}
            else:
                model = LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=1000)
                grid = {"logisticregression__C": STRENGTHS}
            search = GridSearchCV(
                make_pipeline(StandardScaler(), model), grid, cv=PredefinedSplit(inner[fold][train])
            )
            search.fit(x[train].astype(float), y[train])
            scaler, model = search.best_estimator_.named_steps.values()
            predict = getattr(search, "decision_function", None) or search.predict
            if name != "number":
                # The solver that most people use finds the same.
                other = LogisticRegression(solver="lbfgs", C=model.C, tol=1e-10, max_iter=10000)
                other.fit(scaler.transform(x[train].astype(float)), y[train])
                assert np.abs(other.coef_ - model.coef_).max() < 1e-4
            strength = search.best_params_.popitem()[1]
            rows["strength"].append(1 / strength if name == "number" else strength)
            rows["weights"].append(model.coef_.ravel() / scaler.scale_)
            rows["values"].append(predict(x.astype(float)))
            rows["score"].append(search.score(x[~train].astype(float), y[~train]))
        found |= {f"probes.{name}.{key}": np.array(value) for key, value in rows.items()}
        found[f"probes.{name}.labels"] = y.astype(np.float32)
        print(f"{name}: scores {np.round(rows['score'], 3)}, C {rows['strength']}")
    return found


def debiased(xty, rows_x, rows_y, n):
    """The unbiased estimator, as the notebook's `_debiased_dot_product_similarity_helper`."""
    return xty - n / (n - 2) * rows_x @ rows_y + rows_x.sum() * rows_y.sum() / ((n - 1) * (n - 2))


def feature_space_linear_cka(x, y, debias):
    x, y = x - x.mean(0), y - y.mean(0)
    rows_x, rows_y = (x**2).sum(1), (y**2).sum(1)
    n = len(x)
    similarity, own_x, own_y = (np.linalg.norm(a.T @ b) ** 2 for a, b in [(x, y), (x, x), (y, y)])
    if debias:
        similarity = debiased(similarity, rows_x, rows_y, n)
        own_x, own_y = debiased(own_x, rows_x, rows_x, n), debiased(own_y, rows_y, rows_y, n)
    return similarity / np.sqrt(own_x * own_y)


def center_gram(gram, unbiased):
    """As the notebook's function of this name."""
    gram = gram.copy()
    n = len(gram)
    if unbiased:
        np.fill_diagonal(gram, 0)
        means = gram.sum(0) / (n - 2)
        means -= means.sum() / (2 * (n - 1))
        gram -= means[:, None] + means[None, :]
        np.fill_diagonal(gram, 0)
        return gram
    means = gram.mean(0)
    means -= means.mean() / 2
    return gram - means[:, None] - means[None, :]


def gram_cka(x, y, unbiased):
    a, b = center_gram(x @ x.T, unbiased).ravel(), center_gram(y @ y.T, unbiased).ravel()
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def similarity():
    """Pairs of activations, with more trials than units and with fewer."""
    random = np.random.default_rng(2)
    found = {}
    for name, n, d, e in [("tall", 80, 10, 17), ("wide", 24, 40, 60), ("mixed", 30, 9, 50)]:
        x = random.normal(size=(n, d)) * np.exp(random.normal(size=d))
        y = x @ random.normal(size=(d, e)) / np.sqrt(d) + 2 * random.normal(size=(n, e)) + 3
        x, y = x.astype(np.float32), y.astype(np.float32)
        wide = x.astype(float), y.astype(float)
        both = []
        for debias in [True, False]:
            value = feature_space_linear_cka(*wide, debias)
            assert abs(value - gram_cka(*wide, debias)) < 1e-10, "the notebook's two ways agree"
            both.append(value)
        found |= {f"cka.{name}.x": x, f"cka.{name}.y": y, f"cka.{name}.debiased_biased": np.array(both)}
        print(f"cka {name}: debiased {both[0]:.4f}, biased {both[1]:.4f}")
    return found


def distances():
    """Dissimilarity of condition patterns, and rank correlations, with ties."""
    random = np.random.default_rng(3)
    a = random.normal(size=(12, 7)).astype(np.float32)
    b = (a + random.normal(size=(12, 7))).astype(np.float32)
    rdms = [scipy.spatial.distance.pdist(p.astype(float), "correlation") for p in [a, b]]
    tied = np.round(random.normal(size=(2, 40)) * 2)
    return {
        "rsa.patterns": np.stack([a, b]),
        "rsa.distances": np.stack(rdms),
        "rsa.spearman": np.array([scipy.stats.spearmanr(*rdms).statistic]),
        "rsa.tied": tied.astype(np.float32),
        "rsa.tied.spearman": np.array([scipy.stats.spearmanr(*tied).statistic]),
    }


def targeted():
    """Targeted dimensionality reduction after Mante et al. 2013, depth as time."""
    random = np.random.default_rng(4)
    depths, n, d, conditions, components = 3, 160, 20, 16, 6
    condition = np.arange(n) % conditions
    context = np.where(condition & 1, 1.0, -1.0)
    evidence = [(np.where(condition & 2 << i, 1.0, -1.0) * random.integers(1, 6, n)) / 5 for i in (0, 1)]
    relevant = np.where(context < 0, *evidence)
    choice = np.sign(relevant + 0.3 * random.normal(size=n))
    variables = np.stack([choice, *evidence, context, evidence[0] * context, evidence[1] * context])
    mix = random.normal(size=(depths, len(variables), d)) * np.array([0.3, 1.0, 2.0])[:, None, None]
    x = np.einsum("vn,tvd->tnd", variables, mix) + random.normal(size=(depths, n, d)) + random.normal(size=d) * 5
    x[:, :, 4] = 7.0  # a unit that does not vary
    x = x.astype(np.float32)

    a = x.astype(float)
    deviation = a.std((0, 1))
    z = (a - a.mean((0, 1))) / np.where(deviation > 0, deviation, 1)
    design = np.column_stack([np.ones(n), *variables])
    beta = np.stack([np.linalg.lstsq(design, z[t], rcond=None)[0][1:] for t in range(depths)])
    means = np.stack([[z[t][condition == c].mean(0) for c in range(conditions)] for t in range(depths)])
    flat = means.reshape(-1, d)
    axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:components]
    denoised = beta @ axes.T @ axes
    norm = np.linalg.norm(denoised, axis=2)
    chosen = np.stack([denoised[norm[:, v].argmax(), v] for v in range(len(variables))])
    q, r = np.linalg.qr(chosen.T)
    q = (q * np.sign(np.diag(r))).T  # an axis points where its vector does
    trajectories = means @ q.T
    centred = means - means.mean(1, keepdims=True)
    share = (centred @ q.T).var(1) / centred.var(1).sum(1, keepdims=True)
    return {
        "tdr.x": x,
        "tdr.condition": condition.astype(np.float32),
        "tdr.variables": variables,
        "tdr.norm": norm,
        "tdr.depth": norm.argmax(0).astype(np.float32),
        "tdr.axes": q,
        "tdr.trajectories": trajectories,
        "tdr.encoding": np.einsum("tvd,vd->tv", beta, q),
        "tdr.variance": share,
    }


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--compare", type=Path)
    args = args.parse_args()
    found = probes() | similarity() | distances() | targeted()
    found = {name: np.ascontiguousarray(value) for name, value in found.items()}
    made = dict(numpy=np.__version__, scipy=scipy.__version__, sklearn=sklearn.__version__)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "numerics.safetensors"
    save_file(found, path, metadata={"made": json.dumps(made, sort_keys=True)})
    print(f"{path}: {path.stat().st_size} bytes, {made}")
    if args.compare:
        stored = load_file(args.compare / "numerics.safetensors")
        assert stored.keys() == found.keys(), stored.keys() ^ found.keys()
        for k in found:
            assert stored[k].shape == found[k].shape, f"{k}: {found[k].shape} is not {stored[k].shape}"
        off = {k: float(np.abs(stored[k] - found[k]).max()) for k in found}
        # Each by itself: a maximum would drop NaN.
        assert all(d < 1e-6 for d in off.values()), f"other than the stored ones: {off}"
        print(f"largest difference to the stored ones: {max(off.values()):.1e} in {max(off, key=off.get)}")


if __name__ == "__main__":
    main()
