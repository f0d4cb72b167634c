"""What `controlplane up` was told and remembers: a file of the data directory for each subject, JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from controlplane.errors import GovernanceError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def read(kind: type[T], path: Path, refusal: type[GovernanceError]) -> T:
    """What stands in a file; the defaults where there is none.

    Args:
        kind: checks its values itself, and raises `refusal`.
        refusal: what is raised, with the file's `path`, for a file that is no such thing.
    """
    try:
        return kind(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return kind()
    except refusal as error:
        raise refusal(f"`{path}`: {error.message}", path=str(path)) from None
    except (OSError, ValueError, TypeError) as error:
        raise refusal(
            f"cannot read `{path}`: {error}; remove it to get the defaults", path=str(path)
        ) from None


def write(value: DataclassInstance, path: Path) -> None:
    """Replace the file, whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(value), indent=2) + "\n", encoding="utf-8")
    os.replace(draft, path)  # noqa: PTH105 - says that it replaces
