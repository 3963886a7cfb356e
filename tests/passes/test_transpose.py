"""Transposes in front of matrix products become the order in which those read."""

from __future__ import annotations

from models import check, model


def test_transposes_become_part_of_products() -> None:
    text = """agraph (float[2, 5, 3, 8] q, float[2, 6, 3, 8] k) => (float[2, 3, 5, 6] y) {
        a = Transpose<perm = [0, 2, 1, 3]>(q)
        b = Transpose<perm = [0, 2, 3, 1]>(k)
        y = MatMul(a, b)
    }"""
    check(model(text), {"PermutedMatMul": 1})
    text = """agraph (float[5, 4] x, float[6, 5] w, float[6] c) => (float[4, 6] y) {
        a = Transpose(x)
        b = Transpose(w)
        y = Gemm(a, b, c)
    }"""
    check(model(text), {"Gemm": 1})


def test_a_transpose_that_scatters_both_axes_stays() -> None:
    text = """agraph (float[5, 6, 4] x, float[4, 6, 7] w) => (float[4, 5, 7] y) {
        a = Transpose<perm = [2, 0, 1]>(x)
        y = MatMul(a, w)
    }"""
    check(model(text), {"Transpose": 1, "MatMul": 1})
