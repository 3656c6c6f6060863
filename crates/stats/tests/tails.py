#!/usr/bin/env python3
"""Writes `tails.csv`: log10 of upper tails by mpmath, with 60 digits, for `tails.rs`. Needs `mpmath` (pip).

    python crates/stats/tests/tails.py > crates/stats/tests/tails.csv
"""

from mpmath import binomial, erfc, exp, factorial, inf, ln, log10, mp, mpf, nsum, sqrt

mp.dps = 60


def put(law, *parts, tail):
    print(law, *(repr(float(part)) if isinstance(part, float) else part for part in parts), mp.nstr(log10(tail), 20), sep=",")


def poisson(k, mean):
    """P(X >= k): the mass at k times a series of ratios, or the complement of the masses below k."""
    mean = mpf(mean)
    if k <= mean:
        below = sum(exp(-mean) * mean**n / factorial(n) for n in range(k))
        return 1 - below
    term, total, n = exp(-mean) * mean**k / factorial(k), mpf(0), k
    while term > total * mpf(10) ** -55:
        total += term
        n += 1
        term *= mean / n
    return total


def coins(k, n):
    return mpf(sum(int(binomial(n, j)) for j in range(k, n + 1))) / mpf(2) ** n


def common(shared, first, second, n):
    ways = sum(int(binomial(first, j)) * int(binomial(n - first, second - j)) for j in range(shared, min(first, second) + 1))
    return mpf(ways) / int(binomial(n, second))


def compound(k, mean, inside):
    """Groups by a Poisson law; in each as many as a random permutation of `inside` leaves in place."""
    stay = [
        sum(mpf(-1) ** i / factorial(i) for i in range(inside - j + 1)) / factorial(j) for j in range(inside + 1)
    ]
    mean = mpf(mean)
    p = [exp(-mean * (1 - stay[0]))]
    for n in range(1, k + 200):
        p.append(mean / n * sum(j * stay[j] * p[n - j] for j in range(1, min(n, inside) + 1)))
    return sum(p[k:])


def kolmogorov(t):
    t = mpf(t)
    return 2 * sum((-1) ** (k - 1) * exp(-2 * k * k * t * t) for k in range(1, 200))


for z in [-9.0, -3.0, -0.5, 0.0, 0.5, 1.0, 3.0, 4.9375, 5.0, 6.5, 8.0, 12.0, 20.0, 37.0, 41.8125, 100.0, 1000.0, 30000.0]:
    put("normal", z, tail=erfc(mpf(z) / sqrt(2)) / 2)
for k, mean in [(1, 1.0), (1, 1e-6), (2, 0.5), (5, 1.0), (20, 1.0), (20, 25.0), (100, 1.0), (170, 2.0), (200, 250.0), (250, 250.0), (1000, 1.0), (1000, 800.0), (20000, 12.0)]:
    put("poisson", k, mean, tail=poisson(k, mean))
for k, n in [(1, 1), (3, 10), (10, 10), (60, 100), (400, 1000), (500, 1000), (501, 1000), (700, 1000), (1000, 1000), (5000, 6000)]:
    put("coins", k, n, tail=coins(k, n))
for parts in [(1, 32, 32, 4096), (3, 20, 40, 4096), (10, 32, 32, 65536), (32, 32, 32, 10**9), (60, 100, 90, 1000), (64, 64, 64, 32000), (200, 300, 400, 20000)]:
    put("common", *parts, tail=common(*parts))
for k, mean, inside in [(1, 1.0, 2), (6, 1.0, 2), (10, 1.0, 4), (24, 2.0, 4), (60, 1.0, 8), (200, 1.0, 8), (300, 3.0, 16)]:
    put("compound", k, mean, inside, tail=compound(k, mean, inside))
for t in [0.3125, 0.5, 1.0, 1.5, 3.0, 3.984375, 4.0, 5.0, 20.0, 200.0]:
    put("kolmogorov", t, tail=kolmogorov(t))
