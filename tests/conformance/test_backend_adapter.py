"""The standard's own scoreboard runs tiercel.backend over every node case."""

from __future__ import annotations

import os
import unittest
import warnings

import onnx.backend.test

import tiercel.backend
from conformance_cases import read_list

# The runner takes the length of every item of a sequence, which a scalar has not.
NOT_COMPARED = {"test_loop16_seq_none"}


def test_every_node_case() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        board = onnx.backend.test.BackendTest(tiercel.backend, __name__)
        board.include(r"test_.*_cpu")
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(
            board.test_cases["OnnxBackendNodeModelTest"]
        )
        with open(os.devnull, "w") as nowhere:
            result = unittest.TextTestRunner(stream=nowhere, verbosity=0).run(suite)
    bad = {case.id().rsplit(".", 1)[1] for case, _ in [*result.failures, *result.errors]}
    listed = {name.split("/")[1] for name in read_list() if name.startswith("node/")}
    assert bad == {f"{name}_cpu" for name in listed | NOT_COMPARED}
    assert result.testsRun - len(result.skipped) > 1800
