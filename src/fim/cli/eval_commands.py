"""``fim eval``: score a model or a server on held-out holes, compare two, score again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fim.cli.command import Session, command
from fim.errors import EvaluationError, InvalidSettingError, SourceNotFoundError

if TYPE_CHECKING:
    from fim.evaluation.comparing import RunComparison


SuiteOption = Annotated[
    str,
    typer.Option(
        "--suite",
        metavar="NAME",
        help="own, humaneval-single-line, humaneval-multi-line, humaneval, or a published one.",
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder that gets samples and metrics.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Built set, parquet or JSONL; for published suites a file or a copy of the data set.",
    ),
]
PartOption = Annotated[
    str | None,
    typer.Option(
        "--part", metavar="NAME", help="Part of a suite on the hub, such as api or java-in_file."
    ),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Model: a hub name or a folder.")
]
AdapterOption = Annotated[
    Path | None,
    typer.Option("--adapter", metavar="DIR", help="Adapter folder; the bare model without it."),
]
EndpointOption = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="URL", help="Ask a running server in place of a model."),
]
DialectOption = Annotated[
    str,
    typer.Option("--dialect", metavar="NAME", help="openai, llamacpp, mistral or ollama."),
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="File with the server's bearer token."),
]
ConcurrencyOption = Annotated[
    int, typer.Option("--concurrency", metavar="N", min=1, help="Requests to the server at a time.")
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Holes at most, chosen by seed."),
]
PerProblemOption = Annotated[
    int,
    typer.Option(
        "--per-problem", metavar="N", min=0, help="Multi-line holes a problem; 0 takes all 5,815."
    ),
]
TrainHolesOption = Annotated[
    int,
    typer.Option(
        "--train-holes", metavar="N", min=0, help="Holes of training files scored beside."
    ),
]
ProbeOption = Annotated[
    bool, typer.Option("--probe", help="Score again with locals renamed and docstrings dropped.")
]
DrawsOption = Annotated[
    int, typer.Option("--samples", metavar="N", min=1, help="Answers per hole, for pass@k.")
]
TemperatureOption = Annotated[
    float, typer.Option("--temperature", metavar="T", min=0.0, help="Randomness; 0 is greedy.")
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format-name",
        metavar="NAME",
        help="Prompt format in place of the model's; anchor lines stay where it can have them.",
    ),
]
StopOption = Annotated[
    str,
    typer.Option(
        "--stop",
        metavar="RULE",
        help="Stop rule; auto takes infer.stop, and one line left to right.",
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", metavar="TEXT", help="What reports call the contestant.")
]
FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of fim eval run.", show_default=False)
]
BaseArgument = Annotated[
    Path, typer.Argument(metavar="A", help="Evaluation of the base.", show_default=False)
]
OtherArgument = Annotated[
    Path,
    typer.Argument(metavar="B", help="Evaluation of what should be better.", show_default=False),
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write the page of the comparison.")
]
FailUnderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-under",
        metavar="METRIC=VALUE",
        help="Exit with 6 where B misses this. May be repeated.",
        show_default=False,
    ),
]

ParityOption = Annotated[
    float | None,
    typer.Option(
        "--parity",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        help="B is another artefact of A's model: exit with 6 where fewer answers are identical.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add ``fim eval run | compare | rescore``."""
    group = typer.Typer(no_args_is_help=True, help="Score models on held-out holes.")
    command(
        group,
        "run",
        examples=(
            "fim eval run --preset cpu --suite own --data data --out eval/base",
            "fim eval run --adapter runs/latest/adapter --suite own --data data --out eval/tuned",
            "fim eval run --endpoint http://localhost:8080 --dialect llamacpp --suite own "
            "--data data --out eval/server",
        ),
    )(run)
    command(
        group,
        "compare",
        examples=(
            "fim eval compare eval/base eval/tuned --html compare.html",
            "fim eval compare eval/base eval/tuned --fail-under exact_match=0.3 --json",
            "fim eval compare eval/tuned eval/server --parity 0.95",
        ),
    )(compare)
    command(group, "rescore", examples=("fim eval rescore eval/tuned",))(rescore)
    app.add_typer(group, name="eval")


def run(  # noqa: PLR0913, PLR0917
    session: Session,
    suite: SuiteOption,
    out: OutOption,
    data: DataOption = None,
    part: PartOption = None,
    model: ModelOption = None,
    adapter: AdapterOption = None,
    endpoint: EndpointOption = None,
    dialect: DialectOption = "openai",
    key_file: KeyOption = None,
    concurrency: ConcurrencyOption = 1,
    limit: LimitOption = None,
    per_problem: PerProblemOption = 6,
    train_holes: TrainHolesOption = 0,
    is_probed: ProbeOption = False,
    draws: DrawsOption = 1,
    temperature: TemperatureOption = 0.0,
    format_name: FormatOption = None,
    stop: StopOption = "auto",
    name: NameOption = None,
) -> None:
    """Answer and score every hole of a suite; the same command goes on after an interruption."""
    from fim.evaluating import EvaluationRequest, run_evaluation

    named = {"model.name": model, "data.format": format_name}
    resolved = session.resolve({} if endpoint else named)
    request = EvaluationRequest(
        suite=suite,
        out=out,
        data=data,
        part=part,
        adapter=adapter,
        endpoint=endpoint,
        dialect=dialect,
        endpoint_model=(model or "") if endpoint else "",
        endpoint_key=_read_key(key_file),
        concurrency=concurrency,
        limit=limit,
        per_problem=per_problem or None,
        train_holes=train_holes,
        is_probed=is_probed,
        draws=draws,
        temperature=temperature,
        format_name=format_name,
        stop=stop,
        name=name,
    )
    outcome = run_evaluation(resolved, request, progress=session.progress)
    _show_result(session, outcome.as_json())


def rescore(session: Session, folder: FolderArgument) -> None:
    """Compute all metrics anew from the samples; no model is needed."""
    from fim.evaluating import rescore_folder

    _show_result(session, rescore_folder(folder).as_json())


def compare(
    session: Session,
    base: BaseArgument,
    other: OtherArgument,
    html: HtmlOption = None,
    fail_under: FailUnderOption = None,
    parity: ParityOption = None,
) -> None:
    """Compare two evaluations of the same holes: intervals, slices, one verdict."""
    from fim.evaluation.comparing import NO_OP_ADAPTER, compare_folders, required
    from fim.evaluation.folder import EvaluationFolder
    from fim.evaluation.parity import required_parity

    thresholds = [_threshold(text) for text in fail_under or ()]
    settings = session.resolve().settings
    a, b = EvaluationFolder(base), EvaluationFolder(other)
    draws, seed = settings.eval.bootstrap_draws, settings.eval.seed
    found = compare_folders(a, b, draws=draws, seed=seed, parity=parity)
    if html is not None:
        from fim.evaluating.page import write_page

        write_page(found, a, b, html, seed=seed)
    required_parity(found.parity)
    for metric, value in thresholds:
        required(metric, value, found)
    no_op = [problem for problem in found.problems if problem.kind == NO_OP_ADAPTER]
    if no_op:
        raise EvaluationError(
            no_op[0].message,
            hint="check that --adapter is the folder that fim train wrote for this model",
            context=found.as_json(),
        )
    if session.output.is_json:
        more = {} if html is None else {"html": str(html)}
        session.output.write_json({**found.as_json(), **more})
        return
    _show_comparison(session, found)
    if html is not None:
        session.output.write_text(f"{html}\n")


def _show_result(session: Session, answer: dict[str, object]) -> None:
    if session.output.is_json:
        session.output.write_json(answer)
        return
    metrics = answer["metrics"]
    rows = [
        (name.replace("_", " "), f"{value:.4f}")
        for name, value in (metrics.items() if isinstance(metrics, dict) else ())
    ]
    session.output.table((f"{answer['suite']}, {answer['items']} holes", ">value"), rows)
    session.output.hint("fim eval compare A B --html compare.html")
    session.output.write_text(f"{answer['out']}\n")


def _show_comparison(session: Session, found: RunComparison) -> None:
    output, whole = session.output, found.whole
    for problem in found.problems:
        output.warn(problem.message)
    rows = [
        (
            name.replace("_", " "),
            f"{metric.a:.3f}",
            f"{metric.b:.3f}",
            f"{metric.difference:+.3f}",
            f"{metric.low:+.3f}",
            f"{metric.high:+.3f}",
            f"{metric.p:.4f}",
        )
        for name, metric in whole.metrics.items()
    ]
    heads = (f"{whole.items} holes", ">A", ">B", ">B - A", ">from", ">to", ">p")
    output.table(heads, rows, is_answer=True)
    output.say(f"A: {whole.name_a}; B: {whole.name_b}; clusters: {whole.clusters}")
    output.say("from, to: the difference's 95 % interval")
    output.say(f"{found.parity.identical:.1%} of all answers are identical")
    output.say(f"B is {found.verdict}: {found.reason}")


def _threshold(text: str) -> tuple[str, float]:
    name, separator, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError as error:
        raise InvalidSettingError(
            f"--fail-under got {text!r}, which is not METRIC=VALUE"
            + ("" if separator else " (there is no =)"),
            hint="for example: --fail-under exact_match=0.3",
        ) from error


def _read_key(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceNotFoundError(
            f"{path} cannot be read as a key: {error}", hint="check --key-file"
        ) from error
