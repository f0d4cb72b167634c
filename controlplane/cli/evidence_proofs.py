"""`controlplane evidence verify`, `prove` and `check-proof`: evidence for somebody who does not trust us."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.connection import DataOption
from controlplane.cli.evidence_table import TableOption, table_place
from controlplane.cli.output import JsonOption, cell, reported, show
from controlplane.errors import GovernanceError, InputError, UnavailableError

KeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="VKEY",
        help="The deployment's verifier key, as you were told it; repeatable. [default: keys.vkey beside the table]",
    ),
]


@reported
def verify(
    table: Annotated[
        str | None,
        typer.Argument(help="Folder of the Delta table, or a URI (s3://…). [default: the one in --data]"),
    ] = None,
    data: DataOption = None,
    key: KeyOption = None,
    checkpoints: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Checkpoints kept elsewhere: a file of notes, or a folder of .notes files (s3://… too); repeatable.",
        ),
    ] = None,
    witness: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Your own memory of the newest checkpoints: compared with if it is there, replaced after success.",
        ),
    ] = None,
    witness_key: Annotated[
        list[str] | None, typer.Option(metavar="VKEY", help="Key of a witness that cosigns; repeatable.")
    ] = None,
    witness_quorum: Annotated[
        int,
        typer.Option(
            min=0,
            help="So many witnesses must have cosigned a checkpoint of each log. [default: all]",
            show_default=False,
        ),
    ] = 0,
    jobs: Annotated[
        int,
        typer.Option(min=0, help="Worker processes. [default: one for each processor]", show_default=False),
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Verify the table: every row, root, signature and version.

    Leaves are recomputed from the rows; whatever deletes, overwrites or restores is found. Works on a copy, without Ray
    and without a running control plane; `python -m evidence.verify` is the same from a copy of the package `evidence`
    alone. Exit status: 0 the table holds, 1 it does not, 2 cannot tell. What each fault means and what to do about it:
    docs/verifying.md.

    Example: controlplane evidence verify --key "$(cat vkey)" --witness seen.notes
    """
    from evidence.verify.command import cannot_tell, run
    from evidence.verify.verifier import Options

    options = Options(
        keys=key or (),
        checkpoints=checkpoints or (),
        witness=None if witness is None else str(witness),
        witness_keys=witness_key or (),
        quorum=witness_quorum,
        jobs=jobs,
    )
    try:
        place = table_place(table, data, named="as the argument")
    except GovernanceError as error:
        raise typer.Exit(cannot_tell(table, error.message, as_json=as_json)) from None
    status = run(place, options, as_json=as_json)
    if status:
        raise typer.Exit(status)


@reported
def prove(
    event: Annotated[str, typer.Argument(help="Id of a decision, or of any other event (`event_id`).")],
    data: DataOption = None,
    table: TableOption = None,
    key: KeyOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it there. [default: stdout]")] = None,
) -> None:
    """Write a self-contained proof of one event.

    It holds the row as the table has it, the way to a signed root, and the checkpoint. Who gets it needs `check-proof`
    and the deployment's key, nothing else.

    Example: controlplane evidence prove 01991f3a-5c00-7000-8000-0000000000aa -o proof.json
    """
    from evidence.proof import NoProofError
    from evidence.prove import prove as made
    from evidence.verify.command import progress_bar
    from evidence.verify.faults import UnreadableError

    try:
        with progress_bar() as progress:
            proof = made(table_place(table, data), event, keys=key or (), progress=progress)
    except NoProofError as error:
        raise InputError(error.message, code="no_proof") from error
    except UnreadableError as error:
        raise UnavailableError(error.message, code="unreadable") from error
    if out is None:
        sys.stdout.write(proof.to_json())
    else:
        out.write_text(proof.to_json(), encoding="utf-8")


@reported
def check_proof(
    file: Annotated[Path, typer.Argument(help="What `prove` has written.")],
    key: Annotated[
        list[str],
        typer.Option(
            "--key", metavar="VKEY", help="The deployment's verifier key, as you were told it; repeatable."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Check a proof, offline, with the deployment's key.

    Exit status: 0 it proves the event, 1 it does not.

    Example: controlplane evidence check-proof proof.json --key "$(cat vkey)"
    """
    from evidence.proof import MAX_BYTES, NoProofError, Proof, check
    from evidence.verify.faults import UnreadableError
    from evidence.verify.verifier import public_key

    try:
        with file.open("rb") as content:
            proven = check(Proof.parse(content.read(MAX_BYTES + 1)), [public_key(text) for text in key])
    except (NoProofError, UnreadableError) as error:
        raise InputError(f"`{file}` proves nothing: {error.message}", code="no_proof") from error
    answer = {
        "proven": True,
        "name": proven.name,
        "log_id": proven.log_id,
        "index": proven.index,
        "size": proven.size,
        "root": proven.root,
        "key": str(proven.key),
        "row": dict(proven.row),
    }
    show(as_json, answer, lambda console: console.print("\n".join(map(cell, proven.lines())), soft_wrap=True))
