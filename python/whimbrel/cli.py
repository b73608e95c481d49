"""The command line: ``whimbrel info | build | search | lid | demo | bench``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from . import __version__, commands
from .order import ORDERS
from .vector_files import SUFFIXES

__all__ = ["main"]

METRIC_HELP = "l2 (squared Euclidean), ip (negated inner product) or cosine"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 2 for an error, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["bench"]:  # its flags are those of the checkout
            commands.bench(words[1:])
            return 0
        args = _parser().parse_args(words)
        args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("whimbrel: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: `| head`
        return 0
    except (OSError, ValueError, TypeError, MemoryError, ImportError) as error:
        print(f"whimbrel: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="whimbrel", description="Approximate nearest neighbor search.")
    parser.add_argument("--version", action="version", version=f"whimbrel {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="info | build | search | lid | demo | bench")

    command = subparsers.add_parser("info", help="facts about the package and the machine, or an index")
    command.set_defaults(run=commands.info)
    command.add_argument("index", nargs="?", help="an index file")

    command = subparsers.add_parser("build", help="build an index from a file of vectors")
    command.set_defaults(run=commands.build)
    _add_input(command, "vectors")
    command.add_argument("--metric", default="l2", help=METRIC_HELP)
    command.add_argument("--M", type=int, default=16, help="links per node")
    command.add_argument("--ef-construction", type=int, default=200, help="beam width of the build")
    command.add_argument("--order", default="given", help=" | ".join(ORDERS))
    command.add_argument("--labels", help=".npy of one label per vector, for --order category")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", required=True, help="index file to write")
    _add_work(command)

    command = subparsers.add_parser("search", help="search an index for every query of a file")
    command.set_defaults(run=commands.search)
    command.add_argument("index", help="an index file")
    _add_input(command, "queries")
    command.add_argument("-k", type=int, default=10, help="hits per query")
    command.add_argument("--ef", type=int, help="beam width; default: the index's own")
    command.add_argument("--out", help=".npy for ids, .npz for ids and distances; default: print id:distance")
    command.add_argument("--ground-truth", help="file of true neighbors: print recall")
    command.add_argument("--threads", type=int, default=0, help="0: all")

    command = subparsers.add_parser("lid", help="local intrinsic dimensionality of a file of vectors")
    command.set_defaults(run=commands.lid)
    _add_input(command, "vectors")
    command.add_argument("-k", type=int, default=100, help="neighbors per estimate")
    command.add_argument("--metric", default="l2", help="l2 or cosine")
    command.add_argument("--out", help=".npy of the estimates")
    _add_work(command)

    command = subparsers.add_parser("demo", help="the main job on the documentation of the installed Python")
    command.set_defaults(run=commands.demo)
    command.add_argument(
        "--task", choices=("order", "multivector", "cross-encoder"), default="order", help="which job"
    )
    command.add_argument("--model", help="CrossEncoder of sentence-transformers, for --task cross-encoder")
    command.add_argument("--passages", type=int, default=15_000, help="at most so many")
    command.add_argument("--threads", type=int, default=0, help="0: all")

    subparsers.add_parser("bench", help="recall against speed beside other libraries; in a source checkout")
    return parser


def _add_input(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument(name, help=f"file of {name}: {' '.join(SUFFIXES)}")
    command.add_argument(
        "--key", default=None, help="array in an .npz or .hdf5 file (ann-benchmarks: train, test)"
    )


def _add_work(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=int, default=0, help="0: all")
    command.add_argument("--progress", action="store_true", help="show progress on stderr")
