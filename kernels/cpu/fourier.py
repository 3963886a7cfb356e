"""The fast Fourier transform over one line of complex numbers, for every length.

Stockham's algorithm with mixed radices: each stage takes the smallest factor p of what is left and
reorders as it goes; a prime p costs n * p. Everything is in double precision.
"""

from types import SimpleNamespace

from _lang import inline

TAU = 6.283185307179586


def fourier(k):
    ld, st = k.load("double"), k.store("double")
    wide = k.cast("double")

    @inline
    def table(memory, at, n, sign):
        """The n-th roots of unity, e^(sign * 2 pi i j / n), at `at` (in numbers)."""
        for j in range(n):
            angle = wide(TAU) * wide(j) / wide(n)
            st(memory, at + 2 * j, k.math.cos(angle))
            st(memory, at + 2 * j + 1, sign * k.math.sin(angle))

    @inline
    def factor_of(n):
        """The smallest factor above 1; the largest radix that divides is not sought."""
        p = 2
        while p * p <= n and n % p != 0:
            p += 1
        if n % p != 0:
            p = n * 1
        return p

    @inline
    def stage(memory, x, y, roots, n, left, stride, p):
        """One radix-p pass over n numbers, of which runs of `left` are not transformed yet."""
        m = left // p
        for c in range(m):
            for u in range(p):
                # e^(2 pi i u v / p) times e^(2 pi i c u / left), as steps of the table of n roots.
                step = u * (n // p)
                turn = c * u * (n // left)
                for q in range(stride):
                    re, im = wide(0), wide(0)
                    root = turn % n
                    for v in range(p):
                        a, b = ld(memory, roots + 2 * root), ld(memory, roots + 2 * root + 1)
                        at = x + 2 * (q + stride * (c + m * v))
                        xr, xi = ld(memory, at), ld(memory, at + 1)
                        re += xr * a - xi * b
                        im += xr * b + xi * a
                        root += step
                        if root >= n:
                            root -= n
                    to = y + 2 * (q + stride * (p * c + u))
                    st(memory, to, re)
                    st(memory, to + 1, im)

    @inline
    def transform(memory, x, y, roots, n):
        """Transforms the n numbers at x; returns where the result is, x or y."""
        left, stride = n * 1, 1
        here, there = x * 1, y * 1
        while left > 1:
            p = factor_of(left)
            stage(memory, here, there, roots, n, left, stride, p)
            here, there = there, here
            left //= p
            stride *= p
        return here

    return SimpleNamespace(table=table, transform=transform)
