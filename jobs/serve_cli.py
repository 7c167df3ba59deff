"""`gestray serve`: retrieval and generation over HTTP, and who may ask."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from gestray.errors import UserError
from jobs.command import AsJson, Store, group, print_json
from jobs.display import remarks, results

app = group("The API and its page.")
keys = group("Who may ask the API for what, and how often.")
app.add_typer(keys, name="keys")

KeyFile = Annotated[Path, typer.Option("--file", help="The file of keys.")]

# Of the key that a server on loopback makes for whoever started it.
_SESSION_PER_MINUTE = 6_000


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    store: Store = None,
    model: Annotated[
        list[str] | None, typer.Option(help="NAME=URI of an index; all of the store otherwise.")
    ] = None,
    generator: Annotated[
        list[str] | None, typer.Option(help="NAME=URI of a generator; likewise.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port to listen on for gRPC; not otherwise.")
    ] = None,
    key_file: Annotated[
        str | None,
        typer.Option("--keys", help="File of API keys; a key of this run's own otherwise."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML of the same, and of limits and load.")
    ] = None,
) -> None:
    """Find recorded gestures, and move for speech, over HTTP; with a page to try it.

    Examples: `gestray demo` and then `gestray serve`; `gestray serve --store s3://gestures/beat2
    --port 9000 --keys keys.json`. Listens on loopback unless told otherwise, and asks for a key:
    the address that is printed carries one. Ends with Ctrl-C.
    """
    if context.invoked_subcommand is not None:
        return
    values: dict[str, Any] = _read_yaml(config) if config is not None else {}
    given = {
        "store": store,
        "keys": key_file,
        "grpc_port": grpc_port,
        "models": _pairs("model", model or ()),
        "generators": _pairs("generator", generator or ()),
    }
    values |= {name: value for name, value in given.items() if value}
    start({"host": host, "port": port} | values)


def start(values: dict[str, Any]) -> None:
    """Serve until Ctrl-C, with a key of this run's own where there is no file of keys."""
    from gestray.config import make_config
    from serving.config import ServingConfig

    with tempfile.TemporaryDirectory(prefix="gestray-keys-") as folder:
        fragment = ""
        if not values.get("keys"):
            make_config(ServingConfig, values, "serve").check()
            file, fragment = _session_key(Path(folder))
            values = values | {"keys": file}
        _serve(make_config(ServingConfig, values, "serve"), fragment)


def _serve(config: Any, fragment: str) -> None:
    from jobs.cluster import connect
    from serving.keys import read_keys
    from serving.library import check_chosen, choose
    from serving.local import check_free, run

    # What is wrong here is told here, in one sentence, rather than in the log of a replica.
    read_keys(Path(config.keys))
    chosen = choose(config)
    for name, uri in (*chosen.models.items(), *chosen.generators.items()):
        remarks.print(f"[bold]{name}[/bold] [dim]{uri}[/dim]", soft_wrap=True)
    check_chosen(chosen)
    check_free(config)
    connect()
    with remarks.status("loading models"):
        run(config, lambda url: _say(url, fragment, config))


def _say(url: str, fragment: str, config: Any) -> None:
    results.print(f"page: {url}{fragment}", markup=False, soft_wrap=True)
    results.print(f"API:  {url}v1/openapi.json", markup=False, soft_wrap=True)
    if config.grpc_port is not None:
        results.print(f"gRPC: {config.host}:{config.grpc_port}", markup=False, soft_wrap=True)


def _session_key(folder: Path) -> tuple[str, str]:
    """A file with one key, and the fragment of an address that hands it to the page."""
    if os.environ.get("RAY_ADDRESS"):
        raise UserError(
            "RAY_ADDRESS names a cluster, whose nodes cannot read a key of this run: make a file "
            "of keys that they can with `gestray serve keys add`, and give --keys"
        )
    from serving.keys import make_key, write_keys

    key, token = make_key("this run", ("retrieve", "generate"), _SESSION_PER_MINUTE)
    file = folder / "keys.json"
    write_keys([key], file)
    # A fragment stays in the browser: it is in no request and in no log.
    return str(file), f"#key={token}"


def _pairs(option: str, items: Any) -> dict[str, str]:
    pairs = {}
    for item in items:
        name, equals, uri = item.partition("=")
        if not equals:
            raise UserError(f"--{option} {item!r}: expected NAME=URI of an artifact")
        pairs[name] = uri
    return pairs


def _read_yaml(file: Path) -> dict[str, Any]:
    from gestray.config import read_yaml

    tree = read_yaml(file)
    if not isinstance(tree, dict):
        raise UserError(f"{file}: expected a mapping, as in `load: {{replicas: 2}}`")
    return tree


@app.command("swap")
def swap(
    index: Annotated[str, typer.Argument(help="Of the server's store, as gestures-0123456789ab.")],
    url: Annotated[str, typer.Option(help="Where the server is.")] = "http://127.0.0.1:8000",
    key: Annotated[
        str | None, typer.Option(envvar="GESTRAY_KEY", help="With the scope admin.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose place it takes; the index's own name otherwise.")
    ] = None,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Of requests that it answers; 0 takes it back.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Let another index answer, in all replicas at the same moment, while requests go on.

    Examples: `gestray serve swap gestures-0123456789ab --share 0.1`, and when it does well `gestray
    serve swap gestures-0123456789ab`. The key needs the scope admin (`gestray serve keys add`).
    """
    import time

    from rich.table import Table

    from gestray.client import Client, Refused

    try:
        with Client(url, key) as server, remarks.status("replicas load it"):
            state = server.swap(index, model, share)
            while any(each.next and not each.ready for each in state.models.values()):
                time.sleep(0.5)
                state = server.releases()
    except Refused as refused:
        raise UserError(f"{url}: {refused.detail}") from None
    if state.problem:
        raise UserError(f"{index}: nothing has changed: {state.problem}")
    if as_json:
        print_json(state.model_dump())
        return
    table = Table("model", "answers", "is tried", "share", "replicas")
    for name, each in state.models.items():
        tried = (each.next, f"{each.share:.0%}") if each.next else ("", "")
        table.add_row(name, each.live, *tried, str(len(state.replicas)))
    results.print(table)


@keys.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    file: KeyFile,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="retrieve, generate, metrics or admin; retrieve otherwise."),
    ] = None,
    per_minute: Annotated[int, typer.Option(min=1, help="Requests a minute, a replica.")] = 600,
) -> None:
    """Make a key, print it this once, and keep its hash.

    Example: `gestray serve keys add "the museum" --file keys.json --scope retrieve`.
    """
    from serving.keys import SCOPES, make_key, read_keys, write_keys

    scopes = [known for known in SCOPES if known in (scope or ["retrieve"])]
    if unknown := sorted(set(scope or ()) - set(SCOPES)):
        raise UserError(f"scope {', '.join(unknown)}: expected {', '.join(SCOPES)}")
    known = read_keys(file) if file.exists() else []
    key, token = make_key(name, scopes, per_minute)
    write_keys([*known, key], file)
    remarks.print(f"key {key.id} of {name}; it is shown this once:", markup=False)
    results.print(token, markup=False, soft_wrap=True)


@keys.command("list")
def list_keys(file: KeyFile, as_json: AsJson = False) -> None:
    """The keys of a file: whose, for what, how often.

    Example: `gestray serve keys list --file keys.json`.
    """
    from rich.table import Table

    from serving.keys import read_keys

    known = read_keys(file)
    if as_json:
        print_json({"keys": [key.model_dump(exclude={"sha256"}) for key in known]})
        return
    table = Table("id", "name", "scopes", "a minute", "made")
    for key in known:
        table.add_row(key.id, key.name, ", ".join(key.scopes), str(key.per_minute), key.created)
    results.print(table)


@keys.command("revoke")
def revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    file: KeyFile,
) -> None:
    """Forget a key; servers that started before still know it until they restart.

    Example: `gestray serve keys revoke 0123456789ab --file keys.json`.
    """
    from serving.keys import read_keys, write_keys

    known = read_keys(file)
    left = [key for key in known if key.id != identity]
    if len(left) == len(known):
        raise UserError(f"{file}: has no key {identity}; it has {', '.join(k.id for k in known)}")
    write_keys(left, file)
    remarks.print(f"revoked {identity}", markup=False)
