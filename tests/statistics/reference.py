#!/usr/bin/env python3
"""Makes reference.json: what scipy, statsmodels and a plain multi-bootstrap say
of stored numbers. The coordinator's statistics are tested against it
(coordinator/src/aggregate/stats/parity.rs).

    python tests/statistics/reference.py            writes reference.json
    python tests/statistics/reference.py --compare  fails if it would differ

The versions are pinned in requirements.txt and stand in the file.
"""
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import scipy
import statsmodels
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

HERE = Path(__file__).parent
rng = np.random.default_rng(20240618)


def location(x):
    low, high = stats.t.interval(0.95, len(x) - 1, np.mean(x), stats.sem(x))
    return dict(x=x, mean=np.mean(x), sd=np.std(x, ddof=1), median=np.median(x),
                iqm=stats.trim_mean(x, 0.25), low=low, high=high)


def paired(d):
    n = len(d)
    t = stats.ttest_1samp(d, 0)
    low, high = t.confidence_interval(0.95)
    j = math.exp(math.lgamma((n - 1) / 2) - math.lgamma((n - 2) / 2)) / math.sqrt((n - 1) / 2)
    flips = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf)
    p, lower, upper = DescrStatsW(d).ttost_mean(-0.02, 0.02)
    return dict(d=d, t=t.statistic, low=low, high=high, p=flips.pvalue,
                g_z=j * np.mean(d) / np.std(d, ddof=1),
                p_improve=np.mean((d > 0) + 0.5 * (d == 0)),
                tost=[lower[1], upper[1]], tost_p=p)


def survival(step, passed):
    s = SurvfuncRight(step, passed)
    low, high = s.quantile_ci(0.5)
    # A survival of one half comes out of the library's products a bit below or
    # above it; s.quantile(0.5) then depends on rounding.
    passed_half = s.surv_times[s.surv_prob < 0.5 - 1e-12]
    median = passed_half[0] if len(passed_half) else math.nan
    return dict(step=step, passed=passed, times=s.surv_times, survival=s.surv_prob, se=s.surv_prob_se,
                at_risk=s.n_risk, events=s.n_events, median=median, low=low, high=high)


def bca(x, statistic, resamples):
    """scipy's BCa interval from resamples of our own."""
    drawn = np.array([statistic(x[r]) for r in resamples])
    given = stats.bootstrap((x,), statistic, method="percentile", n_resamples=9, rng=1)
    given.bootstrap_distribution = drawn
    done = stats.bootstrap((x,), statistic, method="BCa", n_resamples=0, bootstrap_result=given)
    return done.confidence_interval


def t_values(d):
    n = len(d)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(d.mean(0)) / (d.std(0, ddof=1) / math.sqrt(n))
    return t


def largest_t(d):
    """Westfall and Young's single-step max-|t| over all sign patterns, and bands."""
    n = len(d)
    signs = np.array(list(itertools.product([1, -1], repeat=n)))
    most = np.array([t_values(d * s[:, None]).max() for s in signs])
    rest = d - d.mean(0)
    under = np.sort([t_values(rest * s[:, None]).max() for s in signs])
    critical = under[math.ceil(0.95 * len(under)) - 1]
    t = t_values(d)
    se = d.std(0, ddof=1) / math.sqrt(n)
    return dict(d=d, p=[np.mean(most >= v * (1 - 1e-12)) for v in t],
                low=d.mean(0) - critical * se, high=d.mean(0) + critical * se)


def reuse(reversion, ablation):
    ratio = np.clip(reversion.mean(0) / ablation.mean(0), 0, 1)
    u = 1 - ratio
    third = max(1, len(u) // 3)
    return u, u[-third:].mean() - u[:third].mean()


def multibootstrap(n, layers):
    """U, L(U) and the contrast of two arms, from joint resamples of seeds."""
    def arm(late):
        a = rng.normal(0.8, 0.05, (n, layers))
        r = a * np.linspace(0.7, late, layers) + rng.normal(0, 0.04, (n, layers))
        return r.round(4), a.round(4)
    ft, sc = arm(0.2), arm(0.6)
    resamples = rng.integers(0, n, (400, n))
    def all_of(i):
        (u, l), (_, m) = reuse(ft[0][i], ft[1][i]), reuse(sc[0][i], sc[1][i])
        return np.array([*u, l, l - m])
    value = all_of(np.arange(n))
    drawn = np.array([all_of(i) for i in resamples])
    se = drawn.std(0, ddof=1) * math.sqrt(n / (n - 1))
    if n < 20:
        half = stats.t.ppf(0.975, n - 1) * se
        low, high = value - half, value + half
    else:
        index = np.arange(n)
        ends = [bca(index, lambda i, k=k: all_of(np.asarray(i))[k], resamples) for k in range(len(value))]
        low, high = np.array([e.low for e in ends]), np.array([e.high for e in ends])
    return dict(reversion=[ft[0], sc[0]], ablation=[ft[1], sc[1]], resamples=resamples,
                value=value, se=se, low=low, high=high)


def noise_ceiling(rdms):
    """Nili et al. 2014: each seed against the mean rank of all seeds, and of the others."""
    known = rdms[:, ~np.isnan(rdms).any(0)]
    # Distances within 1e-5 of the largest are ties.
    ranks = np.array([stats.rankdata(np.round(rdm / (1e-5 * rdm.max()))) for rdm in known])
    with_all = [stats.spearmanr(r, ranks.mean(0)).statistic for r in ranks]
    with_others = [stats.spearmanr(r, np.delete(ranks, s, 0).mean(0)).statistic for s, r in enumerate(ranks)]
    return dict(rdms=rdms, lower=np.mean(with_others), upper=np.mean(with_all))


def noise_ceilings():
    """RDMs of seeds: what is common and noise; with ties, with rounding, with NaN."""
    rng = np.random.default_rng(2014)  # its own, so that the other tables stay as they are
    all_of = []
    for seeds, pairs, noise, digits in ((2, 15, 0.1, 4), (3, 28, 0.3, 4), (5, 45, 1.0, 4), (6, 36, 0.3, 1), (10, 66, 0.2, 2)):
        common = rng.uniform(0, 1, pairs)
        all_of.append(noise_ceiling(np.abs(common + noise * rng.normal(size=(seeds, pairs))).round(digits)))
    # Two words: two distances, and rounding below the ties' tolerance.
    two = rng.integers(1, 3, 21) + 1e-7 * rng.normal(size=(3, 21))
    two[:, :4] += 0.5 * rng.integers(0, 2, (3, 4))
    all_of.append(noise_ceiling(two))
    holes = rng.uniform(0, 2, (4, 21)).round(3)
    holes[:, 5], holes[2, 8] = math.nan, math.nan
    all_of.append(noise_ceiling(holes))
    return all_of


def make():
    tables = dict(
        versions=dict(numpy=np.__version__, scipy=scipy.__version__, statsmodels=statsmodels.__version__),
        location=[location(rng.beta(8, 2, n).round(4)) for n in (2, 3, 5, 8, 10, 13, 19)],
        paired=[paired(rng.normal(shift, 0.03, n).round(4))
                for n, shift in ((3, 0.02), (6, 0.05), (6, 0.0), (10, 0.02), (12, -0.01), (14, 0.015))],
        wilson=[dict(hits=k, of=n, ends=proportion_confint(k, n, method="wilson"))
                for k, n in ((0, 5), (3, 10), (10, 10), (9, 12), (39, 40), (1, 1))],
        multiplicity=[],
        survival=[],
        largest_t=[largest_t(rng.normal(np.linspace(0, 0.06, m), 0.05, (n, m)).round(4))
                   for n, m in ((6, 4), (8, 12), (10, 3))],
        bca=[],
        noise_ceiling=noise_ceilings(),
        multibootstrap=[multibootstrap(n, layers) for n, layers in ((6, 4), (10, 3), (24, 3))],
    )
    for m in (1, 4, 9):
        p = rng.uniform(0, 0.2, m).round(4)
        tables["multiplicity"].append(dict(p=p, holm=multipletests(p, method="holm")[1],
                                           bh=multipletests(p, method="fdr_bh")[1]))
    for n, last in ((6, 300), (10, 160), (12, 120), (25, 200)):
        step = (30 * rng.integers(1, 10, n)).astype(int)
        tables["survival"].append(survival(np.minimum(step, last), (step <= last).astype(int)))
    early = rng.integers(1, 20, 12)
    tables["survival"].append(survival(early, rng.integers(0, 2, 12)))
    for n in (20, 31):
        x = rng.exponential(0.1, n).round(4)
        resamples = rng.integers(0, n, (999, n))
        ends = bca(x, np.mean, resamples)
        tables["bca"].append(dict(x=x, means=np.sort([x[r].mean() for r in resamples]),
                                  low=ends.low, high=ends.high))
    return tables


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


if __name__ == "__main__":
    text = json.dumps(plain(make()), separators=(",", ":")).replace('],"', '],\n"').replace('},{', '},\n{') + "\n"
    path = HERE / "reference.json"
    if "--compare" in sys.argv[1:]:
        if path.read_text() != text:
            sys.exit("reference.json differs from what these versions give")
        print("reference.json is what these versions give")
    else:
        path.write_text(text)
        print(f"{path}: {len(text)} bytes")
