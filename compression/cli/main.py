"""The command line; the same engine as the pages. Results go to stdout, progress and logs to stderr."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compression.core.errors import CancelledError, InputError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compression", description="Compress and measure neural networks.")
    models_help = "Python file with user models (the registry's decorator); it is run"
    parser.add_argument("--models", type=Path, metavar="FILE", help=models_help)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        own = commands.add_parser(name, help=text, description=text)
        own.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        own.add_argument("--store", type=Path, help="folder of results (default: the user's cache folder)")
        own.add_argument("--models", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=models_help)
        own.set_defaults(run=run)
        return own

    from compression.cli import commands as actions
    from compression.cli import library as shelving
    from compression.cli import search as searching
    from compression.cli import user_entries as owning

    for name in ("models", "techniques", "datasets"):
        command(name, f"list the {name}", getattr(actions, f"show_{name}"))
    command("graphs", "export the shipped models' graphs anew, after a change of an architecture",
            actions.export_shipped_graphs)
    download = command("download", "fetch a model's weights or a dataset from its public home", actions.download)
    download.add_argument("name", help="model or dataset")
    download.add_argument("--remove", action="store_true", help="delete what was downloaded of it")
    library = command("library", "what is at hand, whose it is, and what it takes on the disk", shelving.show_library)
    shelving.add_arguments(library)
    owning.add_commands(command)
    run = command("run", "measure one recipe", actions.run_recipe)
    run.add_argument("recipe", type=Path, help="recipe file (YAML or JSON)")
    run.add_argument("--out", type=Path, help="write the bundle (zip) here")
    run.add_argument("--dataset", help="another dataset than the recipe's")
    run.add_argument("--quick", action="store_true", help="a first figure with wide intervals")
    sweep = command("sweep", "measure a recipe at several values of one knob", actions.run_sweep)
    sweep.add_argument("recipe", type=Path, help="recipe file (YAML or JSON)")
    sweep.add_argument("--dataset", help="another dataset than the recipe's")
    sweep.add_argument("--vary", required=True, metavar="TECHNIQUE.FIELD=A,B,C")
    sweep.add_argument("--quick", action="store_true", help="first figures with wide intervals")
    sensitivity = command("sensitivity", "measure how much each layer suffers when it alone is compressed",
                          actions.show_sensitivity)
    sensitivity.add_argument("--model", required=True, help="name of the model")
    sensitivity.add_argument("--dataset", help="name of the dataset (default: the model's)")
    sensitivity.add_argument("--technique", help="key of the technique (default: all that act on single layers)")
    search = command("search", "search for a model that keeps limits of accuracy, size and latency",
                     searching.run_search)
    searching.add_arguments(search)
    verify = command("verify", "replay an exported bundle and compare the numbers", actions.verify)
    verify.add_argument("bundle", type=Path, help="bundle (zip)")
    export = command("export", "write a result's bundle, report, model card and model file", actions.export_result)
    export.add_argument("result", metavar="KEY_OR_RECIPE", help="key of a stored result, or a recipe file to measure")
    export.add_argument("--bundle", type=Path, help="write the bundle (zip) here")
    export.add_argument("--report", type=Path, help="write a self-contained HTML report here")
    export.add_argument("--card", type=Path, help="write a model card (Markdown) here")
    export.add_argument("--model", type=Path, help="write the runtime's own model file here")
    export.add_argument("--runtime", default="onnxruntime", help="onnxruntime, openvino or torch; measured there too")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 wrong input, 1 anything else."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    options: Any = _parser().parse_args(arguments)
    from compression.library.models_file import use_models_file

    try:
        use_models_file(options.models)
        return int(options.run(options))
    except InputError as error:
        return _complain(options, str(error), 2)
    except CancelledError:
        return _complain(options, "cancelled", 1)
    except KeyboardInterrupt:
        return _complain(options, "interrupted", 1)
    except Exception as error:
        logging.getLogger(__name__).debug("failed", exc_info=True)
        return _complain(options, f"{type(error).__name__}: {' '.join(str(error).split())}", 1)


def _complain(options: argparse.Namespace, message: str, code: int) -> int:
    from compression.library.user_entries import split_script

    sentence, script = split_script(message)
    sys.stderr.write(f"error: {sentence}\n" + "".join(f"  {line}\n" for line in script.splitlines()))
    if options.json:
        sys.stdout.write(json.dumps({"error": message}) + "\n")
    return code
