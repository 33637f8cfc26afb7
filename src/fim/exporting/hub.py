"""An adapter on a model hub: what is sent, where, and what is said when it cannot be.

Nothing is sent unless it is asked for. The token comes from the environment and appears in no
message; a new repository is private unless told otherwise; the run is only read.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fim.errors import FimError, HubUploadError
from fim.exporting.card import render_card
from fim.exporting.card_run import card_from_run
from fim.logger import get_logger

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from fim.config import ResolvedSettings
    from fim.exporting.card_data import CardData
    from fim.runs import RunFolder

CARD_FILE = "README.md"
WEIGHTS_FILE = "adapter_model.safetensors"
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_FROM_ENVIRONMENT = ("environment", ".env")
_UNAUTHORISED, _FORBIDDEN, _CONFLICT = 401, 403, 409
_log = get_logger("hub")
_NETWORK_MODULES = frozenset({"httpx", "httpx2", "httpcore", "requests"})


@dataclass(frozen=True, slots=True)
class HubUpload:
    """What goes, or went, to the hub.

    Args:
        repo: Name of the repository; the user's own namespace is added where it has none.
        is_private: A new repository is visible to its owner alone.
        files: Names of the files.
        url: Where the commit is seen; empty before it is made.
    """

    repo: str
    is_private: bool
    files: tuple[str, ...]
    url: str = ""

    @property
    def summary(self) -> str:
        """Where everything goes, in one line."""
        kind = "private" if self.is_private else "public"
        return f"{len(self.files)} files to the {kind} repository {self.repo}"

    def as_json(self) -> dict[str, object]:
        """Return what ``fim export hub --json`` prints."""
        return {
            "out": self.url,
            "kind": "hub",
            "repo": self.repo,
            "private": self.is_private,
            "files": list(self.files),
            "parity": None,
        }


def hub_token(resolved: ResolvedSettings) -> str:
    """Return the token from the environment.

    Raises:
        HubUploadError: There is none, or it stands in a place that is easily shared.
    """
    own = resolved.settings.hf.token
    if own is not None:
        source = resolved.sources.get("hf.token", "")
        if source.startswith(_FROM_ENVIRONMENT):
            return own.get_secret_value()
        raise HubUploadError(
            f"the hub token was given by {source}, where others may read it; an upload takes it "
            "from the environment alone",
            hint="export FIM_HF_TOKEN=hf_... in the shell, and revoke the one written down",
        )
    found = next((os.environ[name] for name in TOKEN_VARIABLES if os.environ.get(name)), None)
    if found is None:
        raise HubUploadError(
            "there is no hub token in the environment, so nothing can be uploaded",
            hint="make one that may write at your hub's settings, then: export FIM_HF_TOKEN=hf_...",
        )
    return found


def planned_upload(
    resolved: ResolvedSettings, run: RunFolder, *, repo: str | None = None
) -> HubUpload:
    """Return what an upload of a run's adapter would send; nothing is sent or asked.

    Raises:
        HubUploadError: The run has no adapter.
    """
    hf = resolved.settings.hf
    if not (run.adapter / WEIGHTS_FILE).is_file():
        raise HubUploadError(
            f"{run.adapter} holds no {WEIGHTS_FILE}, so the run has no adapter to upload",
            hint="`fim runs list` shows the finished runs",
            context={"run": str(run.path)},
        )
    names = {path.name for path in run.adapter.iterdir() if _is_sent(path)}
    files = tuple(sorted(names | {CARD_FILE}))
    return HubUpload(repo or hf.repo or run.id, is_private=hf.private, files=files)


def push_adapter(
    resolved: ResolvedSettings,
    run: RunFolder,
    *,
    repo: str | None = None,
    endpoint: str | None = None,
) -> HubUpload:
    """Send a run's adapter with its model card to the hub, in one commit.

    The card is drawn anew, so it has what was measured since training.

    Args:
        resolved: ``hf`` says where to and with which token.
        run: A run with an adapter.
        repo: A repository in place of ``hf.repo``.
        endpoint: Address of a hub in place of ``HF_ENDPOINT``.

    Raises:
        HubUploadError: There is no token or no adapter, or the hub refuses or cannot be reached.
    """
    planned = planned_upload(resolved, run, repo=repo)
    token = hub_token(resolved)
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=token)
    try:
        url, name = _send(api, planned, run, is_replacing=resolved.settings.hf.replace)
    except FimError:
        raise
    except Exception as error:
        known = _refusal(error, planned, run, token)
        if known is None:
            raise
        raise known from error
    return HubUpload(name, planned.is_private, planned.files, url)


def _send(api: HfApi, planned: HubUpload, run: RunFolder, *, is_replacing: bool) -> tuple[str, str]:
    """Make the repository and commit the files; return the commit's address and the full name."""
    from huggingface_hub import CommitOperationAdd

    made = api.create_repo(planned.repo, private=planned.is_private, exist_ok=is_replacing)
    card = render_card(_card(run, made.repo_id)).encode("utf-8", errors="backslashreplace")
    operations = [
        CommitOperationAdd(name, card if name == CARD_FILE else str(run.adapter / name))
        for name in planned.files
    ]
    commit = api.create_commit(
        made.repo_id, operations, commit_message=f"Adapter of the run {run.id}"
    )
    return str(commit.commit_url), made.repo_id


def _card(run: RunFolder, repo: str) -> CardData:
    """Return the card of a run with the commands of somebody who finds it on the hub."""
    commands = (
        f"hf download {repo} --local-dir adapter",
        "fim complete --adapter adapter --prefix TEXT --suffix TEXT",
    )
    card = replace(card_from_run(run.path), commands=commands)
    folder = Path(card.base_model).expanduser()
    if not folder.is_dir():
        return card
    _log.warning(
        "the base of this adapter is the folder %s of this machine; the card names it %s, and "
        "fim_settings.json and fim_adapter.json beside the adapter keep the folder",
        folder,
        folder.name,
    )
    return replace(card, base_model=folder.name)


def _refusal(
    error: Exception, planned: HubUpload, run: RunFolder, token: str
) -> HubUploadError | None:
    """Return what to say of a refusal or a broken connection; None for a defect."""
    again = f"`{shlex.join(('fim', 'export', 'hub', run.shown_path))}` tries again"
    said = _said(error).replace(token, "(token)")
    context: dict[str, object] = {"repo": planned.repo, "run": str(run.path)}
    status = getattr(getattr(error, "response", None), "status_code", None)
    kept = f"The adapter stays in {run.adapter}."
    if status in {_UNAUTHORISED, _FORBIDDEN}:
        return HubUploadError(
            f"the hub refuses this token for {planned.repo} ({status}: {said}). {kept}",
            hint=f"take a token that may write there (FIM_HF_TOKEN), or another --repo; {again}",
            context={**context, "status": status},
        )
    if status == _CONFLICT:
        return HubUploadError(
            f"the repository {planned.repo} exists already, and an upload would change it. {kept}",
            hint="name another one with --repo NAME (FIM_HF_REPO), or allow a new commit in it "
            "with FIM_HF_REPLACE=true",
            context={**context, "status": status},
        )
    if status is not None or isinstance(error, (ValueError, RuntimeError)):
        return HubUploadError(
            f"the hub does not take {planned.repo}: {said}. {kept}",
            hint=again,
            context={**context, "status": status},
        )
    if _is_network_error(error):
        return HubUploadError(
            f"the hub cannot be reached ({said}), so nothing was uploaded. {kept}",
            hint=f"check the network and HF_ENDPOINT; {again}",
            context=context,
        )
    return None


def _is_network_error(error: Exception) -> bool:
    """Tell whether an exception is a failed request rather than a defect."""
    roots = {base.__module__.split(".", maxsplit=1)[0] for base in type(error).__mro__}
    return isinstance(error, OSError) or bool(roots & _NETWORK_MODULES)


def _is_sent(path: Path) -> bool:
    """Tell whether a file of the adapter folder goes to the hub."""
    return path.is_file() and not path.name.startswith(".")


def _said(error: Exception) -> str:
    """Return what an exception and its cause say, a line of each."""
    causes = [error] if error.__cause__ is None else [error, error.__cause__]
    lines = (next(iter(str(each).strip().splitlines()), type(each).__name__) for each in causes)
    return ": ".join(line.rstrip(".") for line in lines)
