"""What one control plane is, and where its things lie: the data directory's contract, in one place.

    DATA/                       0700, ours alone
      instance.json             {instance, hosts, nodes, created_at}: fixed when the directory is created
      nodes/                    what marks each node's folder of journals, once it was first used
      limits.json               {key_per_s, agent_per_s, evidence_backlog, …}: see `limits`; only if any was set
      stopping.json             {release_needs_second_operator, stop_on_mismatch}: only if any was set
      journals/                 one SQLite journal per owner; on each node those of its own
      evidence.json             {table, checkpoint_files}: only if any was set
      evidence/decisions/       the Delta table, unless `up` was told another place
      evidence/checkpoints/     the Delta table of its signed checkpoints, beside it wherever it is
      evidence/checkpoint-files/  the same as files, unless `up` was told another place
      evidence/keys.vkey        the public half of the evidence key; keys.notes: how it was rotated
      keys/                     0700: operator.key, secrets.json, data-keys.json, ray.token, evidence.json (each 0600)
      logs/                     the supervisor's, the starter's
      run/                      what is running now: state.json, supervisor.lock, HAProxy's files

`Settings` holds simple values only, so that it travels to actors and processes as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from controlplane.errors import GovernanceError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8470
DEFAULT_HOSTS = 2
MAX_HOSTS = 256
DEFAULT_NODES = ("head",)
NODE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
"""What a host name looks like, because on most clusters it is one."""

DATA_VARIABLE = "CONTROLPLANE_DATA"
SETTINGS_VARIABLE = "CONTROLPLANE_SETTINGS"


class DataDirectoryError(GovernanceError):
    """The data directory is not what its contract says; `path` names the file or directory."""

    code = "data_directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One control plane: its data directory, its identity and its front door.

    Args:
        data: absolute path of the data directory.
        instance: 8 hexadecimal digits, drawn once when the directory is created.
        hosts: number of `AgentHost` actors; fixed, because an agent's past lies in its host's journal.
        nodes: names of the nodes that keep journals, the head's first; fixed, because a journal lies on its node's
            disk. Host *i* lives on node *i* modulo their number.
        host: address the decision endpoint binds; loopback unless the operator says otherwise.
        port: its TCP port, 1-65535.
    """

    data: Path
    instance: str
    hosts: int
    nodes: tuple[str, ...] = DEFAULT_NODES
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT

    @classmethod
    def create_or_open(
        cls,
        data: Path,
        *,
        hosts: int | None = None,
        nodes: Sequence[str] | None = None,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
    ) -> Settings:
        """Open the data directory, or make it: safe to call twice, and by two processes at once.

        Args:
            hosts: how many hosts to create it with (default 2); when it exists, None or what it has.
            nodes: which nodes keep journals (default `head` alone); when it exists, None or what it has.
        Raises: DataDirectoryError: it is not ours, readable by others, damaged, or has other hosts or nodes.
        """
        if hosts is not None and not 1 <= hosts <= MAX_HOSTS:
            raise DataDirectoryError(
                f"`{hosts}` hosts: give a number from 1 to {MAX_HOSTS}", code="invalid_hosts", found=hosts
            )
        if nodes is not None and not _good_nodes(list(nodes)):
            raise DataDirectoryError(
                f"nodes `{', '.join(nodes)[:200]}`: give different names that match `{NODE_NAME.pattern}`, "
                f"the head's first",
                code="invalid_nodes",
                found=list(nodes),
            )
        data = data.expanduser().absolute()
        _claim(data)
        identity = data / "instance.json"
        if not identity.exists():
            fresh = {
                "instance": secrets.token_hex(4),
                "hosts": hosts or DEFAULT_HOSTS,
                "nodes": list(nodes or DEFAULT_NODES),
                "created_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            }
            create_private(identity, json.dumps(fresh, indent=2) + "\n")
        settings = cls.open(data, host=host, port=port)
        if hosts is not None and hosts != settings.hosts:
            raise DataDirectoryError(
                f"`{data}` was created with {settings.hosts} hosts and cannot have {hosts}: an agent's past "
                f"lies in its host's journal; leave --hosts out, or take a new data directory",
                code="hosts_are_fixed",
                expected=settings.hosts,
                found=hosts,
            )
        if nodes is not None and tuple(nodes) != settings.nodes:
            raise DataDirectoryError(
                f"`{data}` was created for the nodes {', '.join(settings.nodes)} and cannot have "
                f"{', '.join(nodes)}: a journal lies on its node's disk; to replace a machine, give the new one the "
                f"old one's name and journals",
                code="nodes_are_fixed",
                expected=list(settings.nodes),
                found=list(nodes),
            )
        for folder in (
            settings.node_marks,
            settings.journals,
            settings.evidence_table.parent,
            settings.keys,
            settings.logs,
            settings.run,
        ):
            folder.mkdir(mode=0o700, exist_ok=True)
        fresh_secrets = {"digest_key": secrets.token_hex(32), "session_key": secrets.token_hex(32)}
        create_private(settings.secrets, json.dumps(fresh_secrets, indent=2) + "\n")
        wrapping = {"wrapping_key": secrets.token_hex(32)}
        create_private(settings.wrapping_key, json.dumps(wrapping, indent=2) + "\n")
        return settings

    @classmethod
    def open(cls, data: Path, *, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT) -> Settings:
        """Read an existing data directory; changes nothing.

        Raises: DataDirectoryError: there is none, or its `instance.json` cannot be read.
        """
        data = data.expanduser().absolute()
        identity = data / "instance.json"
        try:
            found = json.loads(identity.read_text(encoding="utf-8"))
            instance, hosts = found["instance"], found["hosts"]
            # One that was made before there could be several nodes names none.
            nodes = found.get("nodes", list(DEFAULT_NODES))
        except FileNotFoundError:
            raise DataDirectoryError(
                f"no control plane in `{data}`; create one with `controlplane up --data {data}`",
                code="no_data_directory",
                path=str(data),
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataDirectoryError(
                f"cannot read `{identity}`: {error}; restore it from a backup", path=str(identity)
            ) from error
        good_name = (
            isinstance(instance, str) and len(instance) == 8 and set(instance) <= set("0123456789abcdef")
        )
        good_hosts = type(hosts) is int and 1 <= hosts <= MAX_HOSTS
        if not good_name or not good_hosts or not _good_nodes(nodes):
            raise DataDirectoryError(
                f"`{identity}` is damaged: it needs `instance` (8 hex digits), `hosts` (1 to {MAX_HOSTS}) and "
                f"`nodes` (a list of names); restore it from a backup",
                path=str(identity),
            )
        return cls(data=data, instance=instance, hosts=hosts, nodes=tuple(nodes), host=host, port=port)

    @property
    def url(self) -> str:
        """Where a client on this machine finds the decision endpoint."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return (
            f"http://[{host}]:{self.port}" if ":" in host and host[0] != "[" else f"http://{host}:{self.port}"
        )

    @property
    def tag(self) -> str:
        """What marks a process as ours: the instance and the directory it lives in.

        The directory counts too, because a copied data directory carries the same instance.
        """
        return f"{self.instance}:{hashlib.sha256(bytes(self.data)).hexdigest()[:12]}"

    @property
    def private_temp(self) -> Path:
        """Sockets and Ray's session files. Short and outside DATA, because Unix socket paths end at 107 bytes.

        Always /tmp: TMPDIR differs between shells, and `down` must find what `up` made.
        """
        return Path("/tmp") / f"cp-{self.tag[:15].replace(':', '-')}"  # noqa: S108

    @property
    def ray_temp(self) -> Path:
        """Ray's session files. Below `private_temp`, because Ray opens its own directory to everybody (0777)."""
        return self.private_temp / "ray"

    @property
    def channels(self) -> Path:
        """Sockets between replicas and the owners of the same node. Short, for the same reason."""
        return self.private_temp / "channels"

    @property
    def store_access(self) -> Path:
        """See `controlplane.lifecycle.store_access`. Outside DATA, and gone after `down`."""
        return self.private_temp / "store-access.json"

    @property
    def node_marks(self) -> Path:
        """One file a node, on the head: the mark of its folder of journals (see `actors.journal_folder`)."""
        return self.data / "nodes"

    @property
    def journals(self) -> Path:
        return self.data / "journals"

    @property
    def evidence_table(self) -> Path:
        """Where it lies unless `up` was told another place: see `evidence_settings.evidence_place`."""
        return self.data / "evidence" / "decisions"

    @property
    def evidence_settings(self) -> Path:
        """See `controlplane.evidence_settings`."""
        return self.data / "evidence.json"

    @property
    def keys(self) -> Path:
        return self.data / "keys"

    @property
    def evidence_key(self) -> Path:
        """The key that signs checkpoints: the evidence writer and `keys evidence` read it, and nobody else."""
        return self.keys / "evidence.json"

    @property
    def operator_key(self) -> Path:
        return self.keys / "operator.key"

    @property
    def limits(self) -> Path:
        """See `controlplane.limits`."""
        return self.data / "limits.json"

    @property
    def stopping(self) -> Path:
        """See `controlplane.stopping`."""
        return self.data / "stopping.json"

    @property
    def secrets(self) -> Path:
        return self.keys / "secrets.json"

    @property
    def wrapping_key(self) -> Path:
        """See `controlplane.privacy.wrapping_key`."""
        return self.keys / "data-keys.json"

    @property
    def ray_token(self) -> Path:
        return self.keys / "ray.token"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def run_state(self) -> Path:
        return self.run / "state.json"

    @property
    def lock(self) -> Path:
        return self.run / "supervisor.lock"

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "data": str(self.data)})

    @classmethod
    def from_json(cls, text: str) -> Settings:
        values = json.loads(text)
        return cls(**{**values, "data": Path(values["data"]), "nodes": tuple(values["nodes"])})

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """What the supervisor handed to a process it started. Raises: KeyError: not such a process."""
        return cls.from_json(environ[SETTINGS_VARIABLE])


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """The two keys of one control plane, 32 bytes each: losing either is losing what it proves.

    Args:
        digest_key: HMAC key of the argument digests that evidence keeps.
        session_key: MAC key of session ids.
    """

    digest_key: bytes
    session_key: bytes

    def __repr__(self) -> str:
        return "Secrets(…)"  # never in a log or a traceback

    @classmethod
    def read(cls, path: Path) -> Secrets:
        """Raises: DataDirectoryError: missing, damaged, or readable by others."""
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise DataDirectoryError(
                    f"`{path}` is readable by others; run `chmod 600 {path}`", path=str(path)
                )
            found = json.loads(path.read_text(encoding="utf-8"))
            keys = {name: bytes.fromhex(found[name]) for name in ("digest_key", "session_key")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataDirectoryError(
                f"cannot read `{path}`: {error}; restore it from a backup", path=str(path)
            ) from error
        if any(len(key) != 32 for key in keys.values()):
            raise DataDirectoryError(f"`{path}` is damaged: each key has 32 bytes", path=str(path))
        return cls(**keys)


def default_data(environ: Mapping[str, str]) -> Path:
    """The data directory when none is named: $CONTROLPLANE_DATA, else ~/.controlplane."""
    return Path(environ.get(DATA_VARIABLE) or "~/.controlplane").expanduser().absolute()


def create_private(path: Path, text: str) -> bool:
    """Write a new 0600 file whole, durably and once; an existing one stays as it is.

    Returns: whether it was created here. Of two racing writers exactly one creates it.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike rename, link never replaces
        except FileExistsError:
            return False
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def _claim(data: Path) -> None:
    """Make DATA ours alone (0700); refuse to take over a directory that holds something else."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = data.stat()
    except OSError as error:
        raise DataDirectoryError(
            f"cannot create `{data}`: {error.strerror}; name another with --data", path=str(data)
        ) from error
    if status.st_uid != os.getuid():
        raise DataDirectoryError(
            f"`{data}` belongs to another user; name another directory with --data", path=str(data)
        )
    known = {"instance.json", "nodes", "journals", "evidence", "keys", "logs", "run"}
    strangers = sorted(
        entry.name for entry in data.iterdir() if entry.name not in known and entry.name[0] != "."
    )
    if strangers and not (data / "instance.json").exists():
        raise DataDirectoryError(
            f"`{data}` is not a data directory: it holds `{strangers[0]}`; name an empty one with --data",
            path=str(data),
        )
    if stat.S_IMODE(status.st_mode) != 0o700:
        data.chmod(0o700)


def _good_nodes(nodes: object) -> bool:
    return (
        isinstance(nodes, list)
        and 1 <= len(nodes) <= MAX_HOSTS
        and all(isinstance(node, str) and NODE_NAME.fullmatch(node) for node in nodes)
        and len(set(nodes)) == len(nodes)
    )
