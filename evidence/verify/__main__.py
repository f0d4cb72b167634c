"""`python -m evidence.verify TABLE --key VKEY`: the verification without our service, from a copy of this package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from evidence.verify.command import run
from evidence.verify.verifier import Options


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns: the exit status: 0 it holds, 1 it does not, 2 no verdict (or wrong use)."""
    parser = argparse.ArgumentParser(
        prog="python -m evidence.verify",
        description="Recompute every leaf, root and signature of an evidence table, and look for what is not allowed.",
        epilog="Exit status: 0 the table holds, 1 it does not, 2 cannot tell (it cannot be read, or there is no key).",
    )
    parser.add_argument(
        "table", help="folder of the Delta table, or a URI such as s3://bucket/evidence/decisions"
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="VKEY",
        help="the deployment's verifier key, as you were told it; without one, keys.vkey beside the table",
    )
    parser.add_argument(
        "--checkpoints",
        action="append",
        default=[],
        metavar="PATH",
        help="checkpoints kept elsewhere: a file of notes, or a folder of .notes files",
    )
    parser.add_argument(
        "--witness",
        metavar="FILE",
        help="your own memory of the newest checkpoints: compared with if it is there, replaced after success",
    )
    parser.add_argument("--witness-key", action="append", default=[], metavar="VKEY", help="key of a witness")
    parser.add_argument(
        "--witness-quorum",
        type=int,
        default=0,
        metavar="N",
        help="so many of the witnesses must have cosigned a checkpoint of each log (default: all)",
    )
    parser.add_argument(
        "--jobs", type=int, default=0, metavar="N", help="worker processes (default: processors)"
    )
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")
    given = parser.parse_args(arguments)
    options = Options(
        keys=given.key,
        checkpoints=given.checkpoints,
        witness=given.witness,
        witness_keys=given.witness_key,
        quorum=given.witness_quorum,
        jobs=given.jobs,
    )
    return run(given.table, options, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
