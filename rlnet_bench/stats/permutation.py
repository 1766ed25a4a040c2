"""Permutation tests between methods: labels shuffled within each task, exact where that can be enumerated.

The statistic is the studentised difference of suite means, ``(mean_a - mean_b) / se``. A test asks whether
two methods' runs could be one sample; it needs no normal scores and holds its level at any number of runs,
but with few of them its p-value cannot become small: every result carries the smallest attainable one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import comb, prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from rlnet_bench.errors import BadInput
from rlnet_bench.stats.pooled import Array, Pooled
from rlnet_bench.stats.scores import RunScores, Tasks, select_tasks

Adjustment = Literal["max-t", "holm", "bh", "none"]
MAX_EXACT = 20_000
DEFAULT_LABELLINGS = 9_999

# Added to the squared standard error, relative to that of the pooled runs (which no relabelling changes, so
# the test stays exact). It keeps complete separation of constant scores finite and above rounding.
_VARIANCE_FLOOR = 1e-8
_TIE = 1e-6


@dataclass(frozen=True)
class PairTest:
    """Outcome of testing "a and b are the same" (two-sided).

    ``difference`` is ``mean(a) - mean(b)`` with tasks weighted equally and ``statistic`` its studentised
    form. ``p_value`` is of this pair alone, ``adjusted_p`` for the whole ``family`` of comparisons by
    ``adjustment``. ``smallest_p`` is the smallest p-value that these run counts allow at all (and, for Holm,
    ``smallest_adjusted_p`` what is left of it).
    """

    a: str
    b: str
    difference: float
    statistic: float
    p_value: float
    adjusted_p: float
    smallest_p: float
    smallest_adjusted_p: float
    is_exact: bool
    n_labellings: int
    adjustment: str
    family: str
    n_per_task_a: dict[str, int]
    n_per_task_b: dict[str, int]
    flags: tuple[str, ...] = ()

    def verdict(self, level: float = 0.95) -> Literal["better", "worse", "not distinguishable"]:
        """Say how ``a`` compares with ``b`` at family-wise error ``1 - level``."""
        if self.adjusted_p > 1 - level or self.difference == 0:
            return "not distinguishable"
        return "better" if self.difference > 0 else "worse"


def permutation_test(
    a: RunScores,
    b: RunScores,
    rng: np.random.Generator,
    *,
    tasks: Tasks = "all",
    n_labellings: int = DEFAULT_LABELLINGS,
) -> PairTest:
    """Test whether two methods differ; exact up to 20 000 labellings, else ``(c + 1) / (B + 1)``.

    >>> a = RunScores.from_arrays("a", {"spread": [0.6, 0.7, 0.9]})
    >>> b = RunScores.from_arrays("b", {"spread": [0.5, 0.4, 0.3]})
    >>> test = permutation_test(a, b, np.random.default_rng(0))
    >>> test.p_value, test.smallest_p
    (0.1, 0.1)
    """
    return pairwise_tests([a, b], rng, adjust="none", tasks=tasks, n_labellings=n_labellings)[0]


def pairwise_tests(
    methods: Sequence[RunScores],
    rng: np.random.Generator,
    *,
    adjust: Adjustment = "max-t",
    pairs: Iterable[tuple[str, str]] | None = None,
    tasks: Tasks = "all",
    n_labellings: int = DEFAULT_LABELLINGS,
) -> tuple[PairTest, ...]:
    """Test a declared family of pairs (default: all) and adjust for its size.

    ``"max-t"`` is the step-down procedure of Westfall & Young (1993) on the same labellings for all pairs;
    ``"holm"`` needs nothing but the p-values; ``"bh"`` controls the false discovery rate only, for
    exploration. Raises :class:`BadInput` for unknown methods, one method, or tasks that one of them lacks.
    """
    names, flags = select_tasks(methods, tasks)
    by_name = {m.method: m.pooled(names) for m in methods}
    family = list(combinations(by_name, 2)) if pairs is None else list(pairs)
    unknown = sorted({x for pair in family for x in pair if x not in by_name})
    if unknown or not family or len(by_name) < len(methods) or any(x == y for x, y in family):
        raise BadInput(
            f"expected pairs of two different methods out of {[m.method for m in methods]}, each named "
            f"once, found {family}{f' with unknown {unknown}' if unknown else ''}."
        )
    if n_labellings < 999:
        raise BadInput(f"a permutation test needs at least 999 labellings, found {n_labellings}.")
    if adjust not in ("max-t", "holm", "bh", "none"):
        raise BadInput(f"unknown adjustment {adjust!r}: expected 'max-t', 'holm', 'bh' or 'none'.")
    # A pair is tested in the order of its names: exchanging the arguments cannot move a p-value.
    data = [(by_name[min(pair)], by_name[max(pair)]) for pair in family]
    observed_P, relabelled_LP, differences_P, is_exact = _statistics(data, rng, n_labellings)
    n_rows = len(relabelled_LP)
    plus = 0 if is_exact else 1
    count_P = np.sum(relabelled_LP >= _just_below(observed_P), axis=0)
    p_P = (count_P + plus) / (n_rows + plus)
    if adjust == "max-t":
        adjusted_P = np.maximum(p_P, max_t_pvalues(observed_P, relabelled_LP, plus))
    else:
        adjusted_P = adjust_pvalues(p_P, adjust)
    size = f"{len(family)} pair{'s' if len(family) > 1 else ''}"
    text = f"all {size} of {len(methods)} methods" if pairs is None else f"{size}, declared"
    tests = []
    for k, ((a, b), (x, y)) in enumerate(zip(family, data)):
        sign = 1.0 if a < b else -1.0
        if is_exact:
            smallest = float(np.mean(relabelled_LP[:, k] >= _just_below(relabelled_LP[:, k].max())))
        else:
            smallest = max(smallest_attainable_p(x.counts_M, y.counts_M), 1 / (n_rows + 1))
        tests.append(
            PairTest(
                a, b, sign * float(differences_P[k]), sign * float(np.copysign(observed_P[k], differences_P[k])),
                float(p_P[k]), float(adjusted_P[k]), smallest,
                min(1.0, smallest * len(family)) if adjust == "holm" else smallest,
                is_exact, n_rows, adjust, text, by_name[a].n_per_task, by_name[b].n_per_task, flags,
            )
        )  # fmt: skip
    return tuple(tests)


def smallest_attainable_p(counts_a: npt.ArrayLike, counts_b: npt.ArrayLike) -> float:
    """Return the smallest two-sided p-value of a permutation test with these runs per task.

    >>> [round(smallest_attainable_p([n], [n]), 4) for n in (3, 4, 5, 8)]
    [0.1, 0.0286, 0.0079, 0.0002]
    """
    a, b = np.atleast_1d(counts_a).tolist(), np.atleast_1d(counts_b).tolist()
    # With equal counts everywhere, swapping all labels mirrors the statistic: two labellings share the top.
    return min(1.0, (2 if a == b else 1) / prod(comb(n + m, n) for n, m in zip(a, b)))


def adjust_pvalues(p_values: npt.ArrayLike, method: Literal["holm", "bh", "none"] = "holm") -> Array:
    """Return p-values adjusted for their number: Holm (1979) or Benjamini-Hochberg (1995).

    >>> [round(float(p), 2) for p in adjust_pvalues([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or np.any(~((p >= 0) & (p <= 1))):
        raise BadInput(f"expected a list of p-values in [0, 1], found {p.tolist()}.")
    n = p.size
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(n)
    if method == "holm":
        adjusted[order] = np.maximum.accumulate(p[order] * np.arange(n, 0, -1))
    elif method == "bh":
        scaled = p[order] * n / np.arange(1, n + 1)
        adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    elif method == "none":
        adjusted[:] = p
    else:
        raise BadInput(f"unknown adjustment {method!r}: expected 'holm', 'bh' or 'none'.")
    return np.minimum(adjusted, 1.0)


def max_t_pvalues(observed_P: Array, relabelled_LP: Array, plus: int = 1) -> Array:
    """Return step-down max-T p-values from observed and relabelled statistics, all of them positive.

    ``plus`` is 1 for randomly drawn labellings (the observed one counts as drawn) and 0 for a complete list.
    """
    order = np.argsort(-observed_P, kind="stable")
    remaining_LP = np.maximum.accumulate(relabelled_LP[:, order[::-1]], axis=1)[:, ::-1]
    count = np.sum(remaining_LP >= _just_below(observed_P[order]), axis=0)
    adjusted = np.empty(order.size)
    adjusted[order] = np.maximum.accumulate((count + plus) / (len(relabelled_LP) + plus))
    return adjusted


def _just_below(statistic: Array) -> Array:
    return np.asarray(statistic - _TIE * np.maximum(1.0, np.abs(statistic)))


def _statistics(
    pairs: Sequence[tuple[Pooled, Pooled]], rng: np.random.Generator, n_labellings: int
) -> tuple[Array, Array, Array, bool]:
    """Return |T| observed [P], |T| relabelled [L, P], the differences [P], and whether L is complete.

    Pairs with equal run counts use the same labellings, so the maximum over pairs keeps their dependence.
    Each pair by itself always gets labellings that are uniform over its own runs.
    """
    shapes: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for k, (x, y) in enumerate(pairs):
        shapes.setdefault((tuple(x.counts_M.tolist()), tuple(y.counts_M.tolist())), []).append(k)
    total = max(prod(comb(n + m, n) for n, m in zip(*shape)) for shape in shapes)
    is_exact = total <= MAX_EXACT and len(shapes) == 1
    widest = [max(max(int(x.counts_M[m]), int(y.counts_M[m])) for x, y in pairs) for m in range(len(pairs[0][0].tasks))]
    keys = [] if is_exact else [rng.random((n_labellings, 2 * width)) for width in widest]
    n_rows = total if is_exact else n_labellings
    observed_P, differences_P = np.empty(len(pairs)), np.empty(len(pairs))
    relabelled_LP = np.empty((n_rows, len(pairs)))
    for (counts_a, counts_b), members in shapes.items():
        labels = (
            _every_labelling(counts_a, counts_b)
            if is_exact
            else [_drawn_labelling(k, n, m) for k, n, m in zip(keys, counts_a, counts_b)]
        )
        t_LP, difference_P = _studentised([pairs[k] for k in members], labels)
        observed_P[members], relabelled_LP[:, members] = t_LP[0], t_LP[1:]
        differences_P[members] = difference_P
    return observed_P, relabelled_LP, differences_P, is_exact


def _every_labelling(counts_a: Sequence[int], counts_b: Sequence[int]) -> list[Array]:
    """Per task, membership of group a [L, n_a + n_b] over the product of all tasks' labellings."""
    by_task = []
    for n, m in zip(counts_a, counts_b):
        chosen = np.array(list(combinations(range(n + m), n)))
        member = np.zeros((len(chosen), n + m))
        np.put_along_axis(member, chosen, 1.0, axis=1)
        by_task.append(member)
    rows = np.array(list(product(*(range(len(x)) for x in by_task))))
    return [member[rows[:, m]] for m, member in enumerate(by_task)]


def _drawn_labelling(keys: Array, n_a: int, n_b: int) -> Array:
    half = keys.shape[1] // 2
    used = np.concatenate([keys[:, :n_a], keys[:, half : half + n_b]], axis=1)
    member = np.zeros(used.shape)
    np.put_along_axis(member, np.argpartition(used, n_a - 1, axis=1)[:, :n_a], 1.0, axis=1)
    return member


def _studentised(pairs: Sequence[tuple[Pooled, Pooled]], labels: Sequence[Array]) -> tuple[Array, Array]:
    """Return |T| [1 + L, P] with the observed labelling first, and the observed differences [P]."""
    first, second = pairs[0]
    n_tasks = len(first.tasks)
    has_spread = min(int(first.counts_M.min()), int(second.counts_M.min())) > 1
    shape = (1 + len(labels[0]), len(pairs))
    difference, variance, pooled_P = np.zeros(shape), np.zeros(shape), np.zeros(len(pairs))
    for m, label in enumerate(labels):
        n, k = int(first.counts_M[m]), int(second.counts_M[m])
        member = np.vstack([np.repeat([1.0, 0.0], [n, k]), label])
        x = np.stack([np.concatenate([_of_task(p, m), _of_task(q, m)]) for p, q in pairs], axis=1)
        x = x - x.min(axis=0)  # constant runs become exactly 0 before anything can round
        x = x - x.mean(axis=0)
        square = x * x
        sum_a, square_a = member @ x, member @ square
        sum_b, square_b = x.sum(axis=0) - sum_a, square.sum(axis=0) - square_a
        difference += sum_a / n - sum_b / k
        pooled_P += square.sum(axis=0) / (n + k - 1) * (1 / n + 1 / k)
        if has_spread:
            variance += np.maximum(square_a - sum_a**2 / n, 0) / (n * (n - 1))
            variance += np.maximum(square_b - sum_b**2 / k, 0) / (k * (k - 1))
    scale = np.sqrt(variance + _VARIANCE_FLOOR * pooled_P)
    t = np.abs(difference) / np.where(pooled_P > 0, scale, 1.0)
    return t, difference[0] / n_tasks


def _of_task(pooled: Pooled, m: int) -> Array:
    start = int(pooled.starts_M[m])
    return pooled.values_N[start : start + int(pooled.counts_M[m])]
