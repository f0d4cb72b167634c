"""Which control plane a command speaks to, and with whose key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.errors import GovernanceError, InputError
from controlplane.settings import DATA_VARIABLE, DataDirectoryError, Settings, default_data

if TYPE_CHECKING:
    from controlplane_sdk.client import ControlPlane

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar=DATA_VARIABLE,
        help="The data directory. [default: ~/.controlplane]",
        show_default=False,
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="CONTROLPLANE_URL",
        help="Where the control plane is. [default: the one that runs in --data]",
        show_default=False,
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="CONTROLPLANE_KEY",
        help="An API key; better in the environment, where others do not see it. "
        "[default: the operator's in --data]",
        show_default=False,
    ),
]


class RemoteError(GovernanceError):
    """The control plane refused, or did not answer; `status` is HTTP's, 0 when there was no answer."""

    code = "remote"


@contextmanager
def connect(data: Path | None, url: str | None, key: str | None) -> Iterator[ControlPlane]:
    """A client of the control plane that the options name.

    Raises: DataDirectoryError: neither the options nor the data directory say where or with which key;
        InputError: the key is none; RemoteError: from within the block, for whatever its calls meet.
    """
    from controlplane_sdk.client import ControlPlane, ControlPlaneError

    where, secret = resolve(data, url, key)
    try:
        connection = ControlPlane(where, secret, timeout_s=30)
    except ValueError as error:
        raise InputError(str(error), code="invalid_key") from None
    with connection as client:
        try:
            yield client
        except ControlPlaneError as error:
            hint = "; is it up? try `controlplane status`" if error.status == 0 else ""
            raise RemoteError(
                f"{where}: {error.message}{hint}",
                code=error.code,
                status=error.status,
                **_fields(error.details),
            ) from error


def resolve(data: Path | None, url: str | None, key: str | None) -> tuple[str, str]:
    """URL and key; a key stays with the control plane it belongs to. Raises: DataDirectoryError."""
    from controlplane.lifecycle.run_state import RunState

    folder = data or default_data(os.environ)
    if url is None:
        state = RunState.read(Settings.open(folder).run_state)
        if state is None:
            raise DataDirectoryError(
                f"no control plane runs in `{folder}`; start it with `controlplane up --data {folder}`, "
                f"or name one with --url",
                code="not_running",
            )
        url = state.url
    elif key is None and data is None:
        raise DataDirectoryError(
            "--url needs --key (or CONTROLPLANE_KEY), or --data with the operator's key of that control plane",
            code="no_key",
        )
    return url, key if key is not None else operator_key(folder)


def operator_key(data: Path) -> str:
    """Raises: DataDirectoryError: there is none."""
    path = Settings.open(data).operator_key
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DataDirectoryError(
            f"cannot read the operator's key `{path}`: {error.strerror}; name a key with --key", code="no_key"
        ) from error


def _fields(details: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name not in ("message", "code", "status")}
