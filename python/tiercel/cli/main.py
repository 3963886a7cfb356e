"""Arguments of the command line, and the command that each one calls."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..environment import __version__
from ..errors import Error


def _add_feeds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=FILE.npy",
        help="an input's array; inputs that are not given get random values",
    )
    parser.add_argument(
        "--dim",
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="size of a symbolic dimension of random inputs (default: 1)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of random inputs")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tiercel", description="Run and inspect ONNX models.")
    parser.add_argument("--version", action="version", version=f"tiercel {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    inspect = commands.add_parser("inspect", help="inputs, outputs, operators, size, memory plan")
    inspect.add_argument("model")
    inspect.add_argument(
        "--dim",
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="size of a symbolic dimension, for the memory plan",
    )

    run = commands.add_parser("run", help="run a model once and print its outputs")
    run.add_argument("model")
    _add_feeds(run)
    run.add_argument("--output-dir", help="write each output as NAME.npy below this folder")
    run.add_argument("--threads", type=int, default=0)
    run.add_argument("--timeout", type=float, help="seconds after which the run is given up")

    explain = commands.add_parser("explain", help="placement, passes, plan: with reasons")
    explain.add_argument("model")

    compiled = commands.add_parser("compile", help="write a model that loads sooner")
    compiled.add_argument("model")
    compiled.add_argument("-o", "--output", required=True, metavar="FILE.onnx")
    compiled.add_argument(
        "--dim",
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="size that a symbolic dimension always has",
    )

    bench = commands.add_parser("bench", help="time a model, also against other engines")
    bench.add_argument("model")
    _add_feeds(bench)
    bench.add_argument("--against", default="", help="onnxruntime,openvino,bfloat16")
    bench.add_argument("--threads", default="1", help="thread counts, for example 1,2")
    bench.add_argument("--seconds", type=float, default=2.0, help="time per engine and count")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `tiercel`; gives the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "bench":
            from .bench import bench

            return bench(options)
        from . import commands

        command = {
            "inspect": commands.inspect,
            "run": commands.run,
            "explain": commands.explain,
            "compile": commands.compile_model,
        }[options.command]
        return command(options)
    except (Error, OSError, ValueError) as error:
        print(f"tiercel: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
