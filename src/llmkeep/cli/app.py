"""The commands and their options; what they do is in the modules beside this one.

Light: what a command needs is imported when it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import llmkeep

app = typer.Typer(
    help="LLM instances that are built once and kept, and a conversation on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llmkeep {llmkeep.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Tell and end.")
    ] = False,
) -> None:
    """What is common to all commands."""


DataFolder = Annotated[
    Path | None,
    typer.Option(envvar="LLMKEEP_DATA_FOLDER", help="Where conversations are kept."),
]


@app.command()
def chat(
    model: Annotated[
        str | None,
        typer.Option(help="provider:model, for example openai:gpt-5-mini or local:smollm2."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="The address of an OpenAI-compatible server.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(help="The conversation to go on with, or to begin.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="The whole input is one message.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write AG-UI events, one JSON object a line.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Approve every tool call that asks for it.")
    ] = False,
    data_folder: DataFolder = None,
) -> None:
    """Talk with a model. With a pipe for input, answer each line and end.

    Without --model: the provider whose key is in the environment, else an OpenAI-compatible server
    on this machine (Ollama, LM Studio, llama.cpp, vLLM), else the small model in the box.
    """
    from .faults import one_line

    try:
        from .chat import talk
        from .options import Options

        status = talk(Options(model, base_url, session or None, data_folder, once, as_json, yes))
    except (BrokenPipeError, ModuleNotFoundError):
        raise  # nobody reads on: typer ends quietly; an extra is missing: `main` says which
    except Exception as error:  # a person is at the other end: no traceback
        typer.echo(f"llmkeep: {one_line(error)}", err=True)
        raise typer.Exit(1) from None
    sys.exit(status)


@app.command()
def serve(
    host: Annotated[
        str | None,
        typer.Option(help="The address to listen on; by default SERVICE__HOST, or 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="0: any free one. By default SERVICE__PORT, or 8000."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The default model, as provider:model.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="The address of an OpenAI-compatible server.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where everything is kept; by default SERVICE__DATA_DIR."),
    ] = None,
) -> None:
    """Serve the agent over HTTP, with a page to talk with it. Ctrl-C ends it in order.

    One process owns the data folder. What others reach needs a way to sign in: SERVICE__SIGN_IN.
    The model is chosen as by `llmkeep chat`.
    """
    from .faults import one_line

    try:
        from .serve import serve as run

        status = run(host, port, data_dir, model, base_url)
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("llmkeep"):
            raise
        typer.echo(
            f'llmkeep: {missing.name} is not installed: pip install "llmkeep[serve]"', err=True
        )
        raise typer.Exit(1) from None
    except Exception as error:  # a person is at the other end: no traceback
        typer.echo(f"llmkeep: {one_line(error)}", err=True)
        raise typer.Exit(1) from None
    sys.exit(status)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Tell it as JSON.")] = False,
    data_folder: DataFolder = None,
) -> None:
    """Tell what works here: providers, keys, local servers, the model in the box, data, tools.

    Ends with 0 if one can chat, else with 1. No key is shown, and none is tried.
    """
    from .doctor import diagnose

    sys.exit(diagnose(data_folder, as_json=as_json))
