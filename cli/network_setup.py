"""Lay out a network of one machine: keys, certificates, genesis, a home for each node, profiles.

<home>/network.json                 what `network start|stop|status` need to know
<home>/genesis.json, policy.txt     for members and verifiers
<home>/profiles.toml                one profile a key of the sample organisations
<home>/keys/                        their key files, and sealing keys of windows
<home>/authorities/<name>.pem       the jurisdictions' CA keys; kept offline in a real network
<home>/nodes/<name>/                one node's home
"""

from __future__ import annotations

import datetime
import json
import os
import random
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cli import sample
from cli.engine_setup import create_engine_homes
from cli.output import CommandError, ExitCode
from cli.profiles import Profile, Profiles, save_profiles
from cli.validation import read_json
from ledger.files import replace_file
from ledger.genesis import Genesis
from ledger.keyfile import save_key, save_sealing_key
from ledger.keys import SealingKey, SoftwareSigner
from ledger.membership import CertificateAuthority, EnrolledKey, Organisation
from ledger.policy import AsOf, policy_for
from ledger.problems import first_problem
from ledger.suite import SHA256_ED25519
from ledger.validators import Validator, ValidatorSet
from node.certificates import (
    IssuedCertificate,
    create_certificate_authority,
    issue_node_certificate,
)
from node.config import (
    ApiConfig,
    ConsensusConfig,
    LogConfig,
    NodeConfig,
    PeerAddress,
    PeersConfig,
    SessionsConfig,
)
from node.home import ValidatorSigners, create_node_home

_LOOPBACK: Final = "127.0.0.1"
_LOWEST_PORT: Final = 20_000


@dataclass(frozen=True, slots=True)
class NodePlace:
    """Where a node of this machine lives and listens."""

    name: str
    role: str
    home: str
    api: str


@dataclass(frozen=True, slots=True)
class Network:
    """A network of this machine, as `network.json` describes it."""

    directory: Path
    chain_id: str
    nodes: tuple[NodePlace, ...]

    def node(self, name: str) -> NodePlace:
        """Return the node of that name.

        Raises:
            CommandError: there is none.
        """
        for place in self.nodes:
            if place.name == name:
                return place
        raise CommandError(
            f"there is no node {name!r} among those that `mulu network init` made in {self.directory}:"
            f" {', '.join(place.name for place in self.nodes)}",
            hint="A node that joined later, by `mulu node init`, is run by itself: `mulu node start HOME`; "
            "it ends by Ctrl-C, or kill -TERM $(cat HOME/node.pid).",
        )

    def node_home(self, place: NodePlace) -> Path:
        return self.directory / place.home

    @property
    def validators(self) -> tuple[NodePlace, ...]:
        return tuple(place for place in self.nodes if place.role == "validator")

    @property
    def query_nodes(self) -> tuple[NodePlace, ...]:
        return tuple(place for place in self.nodes if place.role == "query")


class _PlaceFile(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    role: str
    home: str
    api: str


class _NetworkFile(BaseModel):
    """`network.json`; what it says beside this, nobody reads."""

    model_config = ConfigDict(strict=True)

    chain_id: str
    nodes: Annotated[list[_PlaceFile], Field(min_length=1)]


def load_network(directory: Path) -> Network:
    """Read `network.json`.

    Raises:
        CommandError: missing or malformed.
    """
    path = directory / "network.json"
    if not path.exists():
        raise CommandError(
            f"there is no network in {directory}",
            hint=f"Make one: mulu network init --home {directory}",
        )
    try:
        document = _NetworkFile.model_validate(read_json(path, "a network"))
    except ValidationError as error:
        raise CommandError(f"cannot read {path}: {first_problem(error, whole='file')}") from None
    return Network(
        directory,
        document.chain_id,
        tuple(NodePlace(**place.model_dump()) for place in document.nodes),
    )


def create_network(
    directory: Path,
    *,
    name: str = "sample",
    validators: Sequence[str] = sample.VALIDATORS,
    query_nodes: Sequence[str] = sample.QUERY_NODES,
    consensus: ConsensusConfig | None = None,
    passphrase: str = "",
    more: Sequence[sample.SampleOrganisation] = (),
) -> Network:
    """Create everything that the network's nodes and people need, in an empty directory.

    `more` are organisations beside the sample's; an authority among them may run a node.

    Raises:
        CommandError: the directory is not empty, or a name is none of the sample's authorities.
    """
    names = (*validators, *query_nodes)
    organisations = (*sample.ORGANISATIONS, *more)
    controllers = {one.short: one for one in organisations if one.authority}
    _check_names(directory, names, tuple(controllers))
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    authorities = {node: create_certificate_authority(f"{node}-ca", now=now) for node in names}
    signers = {node: _validator_signers() for node in validators}
    keys = {one.profile: SoftwareSigner.generate() for one in sample.KEYS}
    sealing = {short: SealingKey.generate() for short in sample.SEALED}
    members = ValidatorSet.of(
        Validator(
            node,
            controllers[node].uscc,
            signers[node].consensus.public_key,
            signers[node].log.public_key,
            signers[node].witness.public_key,
        )
        for node in validators
    )
    genesis = _genesis(name, members, organisations, keys, sealing, authorities)
    policy = policy_for(
        genesis.suite,
        members,
        genesis.chain_id,
        AsOf(genesis.time_ms // 1000, 1, members.hash(genesis.suite)),
    ).encode()
    directory.mkdir(parents=True, exist_ok=True)
    places = _create_homes(
        directory, names, signers, authorities, genesis, policy, consensus, now, passphrase
    )
    _save_shared_files(directory, genesis, policy, authorities)
    _save_keys(directory, keys, sealing, passphrase)
    _save_sample_profiles(directory, places)
    network = Network(directory, genesis.chain_id, places)
    document = {"chain_id": network.chain_id, "nodes": [asdict(place) for place in places]}
    replace_file(directory / "network.json", json.dumps(document, indent=2).encode())
    return network


def free_ports(count: int) -> tuple[int, ...]:
    """Return that many loopback ports that nobody listens on now.

    They lie below the range from which the system takes ports of outgoing connections, so that a
    node that is stopped finds its port free when it starts again. MULU_PORTS narrows the range (LOWEST-HIGHEST), for
    machines on which others take ports as well while a node is stopped.

    Raises:
        CommandError: not so many are free, or MULU_PORTS is no range.
    """
    candidates = list(_port_range())
    random.shuffle(candidates)
    ports: list[int] = []
    for port in candidates:
        if len(ports) == count:
            break
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
            try:
                one.bind((_LOOPBACK, port))
            except OSError:
                continue
            ports.append(port)
    if len(ports) < count:
        raise CommandError(f"fewer than {count} free ports", exit_code=ExitCode.NOT_ESTABLISHED)
    return tuple(ports)


def _port_range() -> range:
    text = os.environ.get("MULU_PORTS", "")
    if not text:
        return range(_LOWEST_PORT, _ephemeral_ports_from())
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text, re.ASCII)
    if match is None or not 0 < int(match[1]) <= int(match[2]) < 65_536:
        raise CommandError(
            f"MULU_PORTS is {text!r}, no range of ports", hint="Write it like 20000-29999."
        )
    return range(int(match[1]), int(match[2]) + 1)


def _ephemeral_ports_from() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii")
        return max(int(text.split()[0]), _LOWEST_PORT + 1_000)
    except (OSError, ValueError, IndexError):
        return 32_768


def _check_names(directory: Path, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise CommandError(
            f"{', '.join(unknown)}: not an authority of the sample network",
            hint=f"Choose from {', '.join(known)}.",
        )
    if len(set(names)) != len(names):
        raise CommandError("a node is named twice", hint="Each authority runs one node.")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CommandError(
            f"{directory} is not an empty directory",
            hint="Choose another --home; nothing was changed.",
        )


def _validator_signers() -> ValidatorSigners:
    return ValidatorSigners(
        SoftwareSigner.generate(), SoftwareSigner.generate(), SoftwareSigner.generate()
    )


def _genesis(
    name: str,
    members: ValidatorSet,
    known: Sequence[sample.SampleOrganisation],
    keys: Mapping[str, SoftwareSigner],
    sealing: Mapping[str, SealingKey],
    authorities: Mapping[str, IssuedCertificate],
) -> Genesis:
    time_ms = time.time_ns() // 1_000_000
    usccs = {one.short: one.uscc for one in known}
    organisations = (
        Organisation(
            uscc=one.uscc,
            name=one.name,
            level=one.level,
            division=one.division,
            parent=usccs.get(one.parent, ""),
            authority=one.authority,
            sealing_key=sealing[one.short].public_key.hex() if one.short in sealing else "",
            status="active",
            successor="",
        )
        for one in known
    )
    enrolled = {
        str(keys[one.profile].public_key): EnrolledKey(
            usccs[one.organisation], tuple(sorted(one.roles)), "active", time_ms, None, None
        )
        for one in sample.KEYS
    }
    try:
        return Genesis.of(
            name=name,
            time_ms=time_ms,
            validators=members,
            organisations=organisations,
            keys=enrolled,
            certificate_authorities=(
                CertificateAuthority(f"{node}-ca", usccs[node], authority.certificate_der, "active")
                for node, authority in authorities.items()
            ),
            suite=SHA256_ED25519,
        )
    except ValueError as error:
        raise CommandError(f"these nodes make no network: {error}") from None


def _create_homes(
    directory: Path,
    names: Sequence[str],
    signers: Mapping[str, ValidatorSigners],
    authorities: Mapping[str, IssuedCertificate],
    genesis: Genesis,
    policy: bytes,
    consensus: ConsensusConfig | None,
    now: datetime.datetime,
    passphrase: str,
) -> tuple[NodePlace, ...]:
    consensus = consensus or ConsensusConfig()
    ports = iter(free_ports(3 * len(names)))
    peer_ports, api_ports, engine_ports = ({name: next(ports) for name in names} for _ in range(3))
    places = []
    for node in names:
        role = "validator" if node in signers else "query"
        addresses = tuple(
            PeerAddress(name=other, host=_LOOPBACK, port=peer_ports[other])
            for other in names
            if other != node
        )
        config = NodeConfig(
            name=node,
            role="validator" if node in signers else "query",
            peers=PeersConfig(
                listen_host=_LOOPBACK, listen_port=peer_ports[node], addresses=addresses
            ),
            api=ApiConfig(listen_host=_LOOPBACK, listen_port=api_ports[node]),
            consensus=consensus,
            sessions=SessionsConfig(digit=sample.SESSION_DIGITS.get(node, 9)),
            log=LogConfig(),
        )
        create_node_home(
            directory / "nodes" / node,
            config,
            genesis,
            policy.decode(),
            issue_node_certificate(authorities[node], node, now=now),
            signers.get(node),
            passphrase=passphrase,
        )
        places.append(
            NodePlace(node, role, f"nodes/{node}", f"http://{_LOOPBACK}:{api_ports[node]}")
        )
    if consensus.engine == "cometbft":
        homes = {place.name: directory / place.home for place in places}
        create_engine_homes(homes, engine_ports, genesis, consensus, signers)
    return tuple(places)


def _save_shared_files(
    directory: Path,
    genesis: Genesis,
    policy: bytes,
    authorities: Mapping[str, IssuedCertificate],
) -> None:
    replace_file(directory / "genesis.json", genesis.to_json().encode(), mode=0o644)
    replace_file(directory / "policy.txt", policy, mode=0o644)
    folder = directory / "authorities"
    folder.mkdir(mode=0o700)
    for node, authority in authorities.items():
        replace_file(folder / f"{node}.crt", authority.certificate_pem, mode=0o644)
        replace_file(folder / f"{node}.pem", authority.key_pem)


def _save_keys(
    directory: Path,
    keys: Mapping[str, SoftwareSigner],
    sealing: Mapping[str, SealingKey],
    passphrase: str,
) -> None:
    folder = directory / "keys"
    folder.mkdir(mode=0o700)
    for profile, signer in keys.items():
        save_key(folder / f"{profile}.key", signer, passphrase)
    for short, key in sealing.items():
        save_sealing_key(folder / f"{short}.sealing", key, passphrase)


def _save_sample_profiles(directory: Path, places: Sequence[NodePlace]) -> None:
    apis = {place.name: place.api for place in places}
    fallback = places[0].api
    profiles = {
        one.profile: Profile(
            node=apis.get(one.node, fallback),
            key=f"keys/{one.profile}.key",
            sealing_key=_sealing_file(one),
            policy="policy.txt",
            organisation=sample.by_short_name(one.organisation).uscc,
            description=f"{sample.by_short_name(one.organisation).name}: {one.holder}",
        )
        for one in sample.KEYS
    }
    save_profiles(Profiles(directory, "national-auditor", profiles))


def _sealing_file(one: sample.SampleKey) -> str:
    """Return the sealing key of windows that ask for licenses; nobody else needs it."""
    wants = one.organisation in sample.SEALED and {"operator", "recorder"} & set(one.roles)
    return f"keys/{one.organisation}.sealing" if wants else ""
