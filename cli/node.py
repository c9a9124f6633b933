"""`mulu node`: one node."""

from __future__ import annotations

import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import Progress

from cli.authorities import issue, read_authority, require_same_authority, warn_unless_named
from cli.connection import connect, mulu_home, passphrase
from cli.engine_setup import create_joining_engine_home, require_engine, warn_without_engine
from cli.engine_setup import engine_peer as read_engine_peer
from cli.local_node import (
    NOT_RUNNING,
    STOPPED,
    answers,
    api_address,
    describe_silent,
    local_findings,
    local_home,
    log_text,
    network_of,
    require_node_home,
)
from cli.network_setup import free_ports
from cli.options import EngineOption, JsonOption, KeyOption, NodeOption, ProfileOption
from cli.output import (
    CommandError,
    ExitCode,
    error_console,
    say,
    show_json,
    show_record,
    show_table,
    time_text,
)
from cli.processes import log_tail, running_process, spawn_node, terminate
from cli.validation import read_bytes
from ledger.errors import DecodeError
from ledger.files import replace_file
from ledger.genesis import MAX_GENESIS_BYTES, Genesis
from ledger.keys import SoftwareSigner
from ledger.policy import MAX_POLICY_BYTES, Policy
from node.answers import EngineView, Json
from node.certificates import NODE_LIFETIME_DAYS, expires_ms
from node.client import NodeClient
from node.config import (
    ApiConfig,
    ConsensusConfig,
    NodeConfig,
    PeerAddress,
    PeersConfig,
    load_config,
)
from node.errors import NodeUnreachable
from node.home import Home, ValidatorSigners, create_node_home, open_home

app = typer.Typer(help="Set up, run and examine one node.", no_args_is_help=True)

_STATUS_S: Final = 5.0
"""How long a node of this machine is asked for its status: what has its port may be another program, and silent."""

_ANSWERS_S: Final = 30.0
"""After this a node that is started in the background is left to itself: it may verify a large store."""

NodeHome = Annotated[
    Path, typer.Argument(metavar="HOME", help="The node's home directory.", file_okay=False)
]
AuthorityOption = Annotated[
    Path,
    typer.Option(
        help="Key of the jurisdiction's CA (PEM, ECDSA P-256); its certificate lies beside it as .crt.",
        dir_okay=False,
    ),
]


@app.command(
    epilog="Example: mulu node init ./baoding --name baoding --genesis genesis.json --policy policy.txt "
    "--authority hebei.pem --peer beijing=10.0.0.1:7001 --peer tianjin=10.0.0.2:7001 …"
)
def init(
    home: NodeHome,
    name: Annotated[str, typer.Option(help="The node's name; its certificate carries it.")],
    genesis: Annotated[Path, typer.Option(help="The network's genesis.json.", dir_okay=False)],
    policy: Annotated[Path, typer.Option(help="The network's policy.txt.", dir_okay=False)],
    authority: AuthorityOption,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            "--peer",
            help="A peer: NAME=HOST:PORT; once for each validator. With fewer than a quorum of them "
            "linked the node is never ready.",
        ),
    ] = None,
    validator: Annotated[
        bool,
        typer.Option(
            "--validator", help="Make validator keys; they vote once governors admit them."
        ),
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    peer_port: Annotated[int, typer.Option(help="Port for peers; 0: a free one.")] = 0,
    api_port: Annotated[int, typer.Option(help="Port of the HTTP API; 0: a free one.")] = 0,
    engine: EngineOption = "tendermint",
    engine_port: Annotated[
        int, typer.Option(help="Port for peers of CometBFT; 0: a free one.")
    ] = 0,
    engine_peer: Annotated[
        list[str] | None,
        typer.Option("--engine-peer", help="A peer of CometBFT: ID@HOST:PORT; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Lay out the home of a node that joins an existing network, which has one engine for all its nodes.

    A query node may start at once. A validator's three public keys go to `ledger.validator.propose`.
    """
    chain = Genesis.from_json(read_bytes(genesis, MAX_GENESIS_BYTES))
    policy_text = _policy_of(chain, policy)
    first, second, third = free_ports(3)
    engine_peers = [read_engine_peer(text) for text in engine_peer or ()]
    config = NodeConfig(
        name=name,
        role="validator" if validator else "query",
        peers=PeersConfig(
            listen_host=host,
            listen_port=peer_port or first,
            addresses=tuple(_peer(text) for text in peer or ()),
        ),
        api=ApiConfig(listen_host="127.0.0.1", listen_port=api_port or second),
        consensus=ConsensusConfig(engine=engine),
    )
    issuer = read_authority(authority)
    tls = issue(issuer, name, host, NODE_LIFETIME_DAYS)
    signers = None
    if validator:
        signers = ValidatorSigners(*(SoftwareSigner.generate() for _ in range(3)))
    create_node_home(
        home,
        config,
        chain,
        policy_text,
        tls,
        signers,
        passphrase=passphrase(),
    )
    record: Json = {
        "home": str(home),
        "chain_id": chain.chain_id,
        "role": config.role,
        "peers": f"{host}:{config.peers.listen_port}",
        "api": f"http://127.0.0.1:{config.api.listen_port}",
        "authority_in_genesis": warn_unless_named(issuer, chain),
    }
    if engine == "cometbft":
        record["engine"] = str(
            create_joining_engine_home(
                home,
                name,
                (host, engine_port or third),
                engine_peers,
                chain,
                config.consensus,
                signers,
            )
        )
        warn_without_engine(engine)
    if signers is not None:
        record |= {
            "consensus_key": str(signers.consensus.public_key),
            "log_key": str(signers.log.public_key),
            "witness_key": str(signers.witness.public_key),
        }
    if as_json:
        show_json(record)
    else:
        show_record(f"Node {name}", record)


@app.command(epilog="Example: mulu node start ./network/nodes/xiongan")
def start(
    home: NodeHome,
    detach: Annotated[
        bool, typer.Option("--detach", help="Run in the background; output goes to node.log.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a node until it is stopped (Ctrl-C, SIGTERM).

    --json goes with --detach: in the foreground a node writes its log.
    """
    if as_json and not detach:
        raise CommandError(
            "--json tells of a node that is started in the background", hint="Give --detach, too."
        )
    require_node_home(home)
    process_id = running_process(home)
    if process_id is not None:
        raise CommandError(
            f"the node of {home} runs already (process {process_id})",
            code="running",
            exit_code=ExitCode.REFUSED,
        )
    require_engine([home])
    if not detach:
        from node.main import run_node

        raise typer.Exit(run_node(home, passphrase()))
    process = spawn_node(home, detached=True)
    try:
        is_answering = _await_answers(home, process)
    except BaseException:  # Ctrl-C, for one: no process is left that nobody has been told of
        terminate(process)
        raise
    log = home / "node.log"
    if as_json:
        show_json({"process": process.pid, "answers": is_answering, "log": str(log)})
    else:
        waits = "" if is_answering else ", does not answer yet"
        say(f"Node started, process {process.pid}{waits}; its log: {log}")


def _await_answers(home: Path, process: subprocess.Popen[bytes]) -> bool:
    """Wait until a node that we have started answers; return whether it does in time.

    Who has the store open says that it runs this home: what two starts at once leave is one.

    Raises:
        CommandError: it has ended.
    """
    deadline = time.monotonic() + _ANSWERS_S
    while not (running_process(home) == process.pid and answers(home)):
        if process.poll() is not None:
            raise CommandError(
                "the node ended before it answered",
                code="not_started",
                exit_code=ExitCode.NOT_ESTABLISHED,
                hint=log_tail(home),
            )
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@app.command(
    epilog="Example: mulu node status --node http://127.0.0.1:8080; mulu node status --home /var/lib/mulu"
)
def status(
    node: NodeOption = None,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home", help="The node's home directory, if it is here.", exists=True, file_okay=False
        ),
    ] = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a node serves current answers, how far it is, and what is wrong with it.

    Exit code 3 where it does not serve. Of a node on this machine that does not run, the log's
    last error is shown.
    """
    found = (
        NodeClient(api_address(home), timeout_s=_STATUS_S)
        if home
        else connect(node, key, profile).client
    )
    with found as client:
        named_home, home = home, home or local_home(client.url, mulu_home())
        try:
            record, findings = _ask(client, named_home)
        except NodeUnreachable as error:
            if home is None:
                raise
            record, findings = describe_silent(client.url, home, str(error)), ()
    if home is not None:
        findings += local_findings(home)
    if as_json:
        show_json({**record, "findings": list(findings)})
    else:
        _show(record, findings)
        show_table(
            "Findings",
            ("Severity", "Code", "What is wrong, and what to do"),
            ((one["severity"], one["code"], one["text"]) for one in findings),
        )
    if not record["ready"]:
        raise typer.Exit(ExitCode.NOT_ESTABLISHED)


def _ask(client: NodeClient, home: Path | None) -> tuple[Json, tuple[Json, ...]]:
    """Return what a running node, that of `home` where one is named, says of itself, and its findings."""
    ready, reason = client.ready()
    network = client.network() if home is None else network_of(home, client)
    record: Json = {
        "node": client.url,
        "name": network.name,
        "ready": ready,
        "reason": reason,
        "chain_id": network.chain_id,
        "height": network.height,
        "engine": asdict(network.engine),
        "checkpoint_size": network.checkpoint_size,
        "checkpoint_time_ms": network.checkpoint_time_ms,
        "app_hash": network.app_hash,
        "online": network.online,
        "total": network.total,
        "quorum": network.quorum,
    }
    if network.damage is not None:
        record["damage"] = network.damage
    return record, network.findings


def _show(record: Json, findings: tuple[Json, ...]) -> None:
    """Show people what machines get as numbers; what stands among the findings is not said twice."""
    shown = dict(record)
    if any(one["text"] == record["reason"] for one in findings):
        del shown["reason"]
    if "engine" in record:
        engine = EngineView(**record["engine"])
        quorum = "a quorum" if record["quorum"] else "no quorum"
        shown["engine"] = engine
        shown["engine_address"] = engine.address
        shown["checkpoint_time"] = time_text(shown.pop("checkpoint_time_ms") or None)
        shown["validators_online"] = f"{shown.pop('online')} of {shown.pop('total')}, {quorum}"
        del shown["quorum"]
        if engine.address is None:
            del shown["engine_address"]
    if "log" in record:
        shown["log"] = log_text(record["log"])
    show_record("Node", shown)
    if record["reason"] in (NOT_RUNNING, STOPPED):
        say(f"Start it: mulu node start {record['home']}")


@app.command(epilog="Example: mulu node renew ./network/nodes/hebei --authority hebei.pem")
def renew(
    home: NodeHome,
    authority: AuthorityOption,
    days: Annotated[
        int, typer.Option(min=1, max=NODE_LIFETIME_DAYS, help="How long it is valid.")
    ] = NODE_LIFETIME_DAYS,
    another_authority: Annotated[
        bool,
        typer.Option(
            "--another-authority",
            help="The CA may be another one than before: yours has been replaced, and is registered.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Issue a node's certificate anew, with a new key. The node uses it from its next start on."""
    place = Home(home)
    config = load_config(place.config)
    issuer = read_authority(authority)
    if not another_authority:
        require_same_authority(issuer, authority, place.tls_certificate)
    tls = issue(issuer, config.name, config.peers.listen_host, days)
    replace_file(place.tls_key, tls.key_pem)
    replace_file(place.tls_certificate, tls.certificate_pem)
    expires = time_text(expires_ms(tls.certificate_der))
    if as_json:
        show_json({"node": config.name, "expires": expires})
    else:
        say(f"Certificate of {config.name}: valid until {expires}. Restart the node to use it.")


@app.command(epilog="Example: mulu node fsck ./network/nodes/xiongan")
def fsck(home: NodeHome, as_json: JsonOption = False) -> None:
    """Verify a stopped node's data: hash chain, commits, and every root by replaying the log.

    Exit code 1 where something is damaged; says where.
    """
    from ledger.fsck import check_directory
    from node.operation_table import OPERATIONS

    if running_process(home) is not None:
        raise CommandError(
            f"the node of {home} is running", hint="Stop it first; nothing was read."
        )
    opened = open_home(home, passphrase())
    with Progress(console=error_console(), transient=True, disable=as_json) as progress:
        task = progress.add_task("Replaying", total=None)

        def tell(height: int, newest: int) -> None:
            progress.update(task, completed=height, total=newest)

        report = check_directory(opened.home.ledger, opened.genesis, OPERATIONS, tell)
    if as_json:
        problems = [{"where": one.where, "what": one.what} for one in report.problems]
        show_json(
            {"ok": report.ok, "height": report.height, "rows": report.rows, "problems": problems}
        )
    elif report.ok:
        say(f"Whole: {report.rows} rows, verified up to height {report.height}.")
    else:
        show_table(
            f"Damage in {opened.home.ledger}, verified up to height {report.height}",
            ("Where", "What"),
            ((one.where, one.what) for one in report.problems),
        )
        say("Move the data directory aside and start the node: it synchronises again.")
    if not report.ok:
        raise typer.Exit(ExitCode.REFUSED)


def _policy_of(genesis: Genesis, path: Path) -> str:
    """Return the text of the policy of a network.

    Raises:
        CommandError: the file cannot be read, or is of another network.
    """
    data = read_bytes(path, MAX_POLICY_BYTES)
    try:
        logs = {log.key.name for log in Policy.parse(genesis.suite, data).logs}
    except DecodeError as error:
        raise CommandError(f"{path} is not a policy file: {error}") from None
    if genesis.chain_id not in logs:
        raise CommandError(
            f"{path} is the policy of {', '.join(sorted(logs)) or 'no chain'}, "
            f"but genesis is that of {genesis.chain_id}",
            hint="Get both of two members of one network, by two ways, and compare.",
            code="other_network",
        )
    return data.decode()


def _peer(text: str) -> PeerAddress:
    name, separator, address = text.partition("=")
    host, _, port = address.rpartition(":")
    if not (separator and host and port.isascii() and port.isdigit()):
        raise CommandError(f"{text!r} is not a peer", hint="Write NAME=HOST:PORT.")
    try:
        return PeerAddress(name=name, host=host, port=int(port))
    except ValueError:
        raise CommandError(f"{text!r} is not a peer", hint="Write NAME=HOST:PORT.") from None
