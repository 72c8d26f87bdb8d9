"""What a push to the Hugging Face Hub would fail of, said before the work whose run is to be pushed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from categorize.connection import one_line, reason, status
from categorize.errors import UserError
from categorize.recipe.hub_sections import HubSection, PushSection
from categorize.recipe.sections import LabelRecipe, TrainedRecipe
from categorize.runs.hub import LOGIN, is_hub_model, quiet
from categorize.runs.personal import findings, told
from categorize.runs.pushing import ALLOW

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo, ModelInfo

SECONDS_TO_ANSWER = 20.0


def check_push(recipe: TrainedRecipe | LabelRecipe) -> list[str]:
    """Refuse before the work what would fail after it, and say what will be pushed, and where.

    Returns:
        Lines for the user; one of them says so where the Hub cannot be reached now.

    Raises:
        UserError: the Hub cannot have such a name, there is no token, the Hub refuses it or it may only read, or the
            repository is public where the recipe says private.
    """
    from huggingface_hub import constants, get_token
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    section = recipe.hub
    assert section is not None
    try:
        validate_repo_id(section.repo_id)
    except HFValidationError as error:
        raise UserError(f"hub.repo_id: {section.repo_id}: {one_line(error)}") from None
    _refuse_personal_shots(recipe, section)
    way_out = "or remove the hub section and push the finished run later with python -m categorize.hub push"
    if constants.is_offline_mode():
        raise UserError(
            f"hub.repo_id: {section.repo_id}: nothing can be pushed with HF_HUB_OFFLINE; unset it, {way_out}"
        )
    if get_token() is None:
        raise UserError(f"hub.repo_id: {section.repo_id}: no Hugging Face token is set; {LOGIN}, {way_out}")
    found, trouble = _ask(section, "dataset" if isinstance(recipe, LabelRecipe) else "model")
    private = section.private if found is None else found.private
    state = ("new, " if found is None and trouble is None else "") + ("private" if private else "public")
    branch = f", branch {section.revision}" if section.revision is not None else ""
    lines = [
        f"hub: when it is done, the run goes to {constants.ENDPOINT}/{_folder(recipe)}{section.repo_id} "
        f"({state}{branch}): {_what(recipe)}"
    ]
    base = getattr(recipe.model, "name_or_path", None) if isinstance(recipe, TrainedRecipe) else None
    if base is not None and not is_hub_model(base) and _is_adapter_alone(recipe):
        lines.append(
            f"hub: the adapter's base {base} is a folder of this machine; elsewhere the run loads only with "
            f'load_predictor("{section.repo_id}", base=...)'
        )
    if trouble is not None:
        lines.append(f"hub: cannot ask the Hub now ({trouble}); the run is pushed when it is done all the same")
    return lines


def _folder(recipe: TrainedRecipe | LabelRecipe) -> str:
    """What stands before the name in the address."""
    return "datasets/" if isinstance(recipe, LabelRecipe) else ""


def _what(recipe: TrainedRecipe | LabelRecipe) -> str:
    section = recipe.hub
    if not isinstance(section, HubSection):
        return "the table of labels with all its texts and columns, label set, prompt, recipe, measures and a card"
    return (
        "model or adapter, tokenizer, label set, prompt, input spec, decision rule, measures, recipe, members and "
        "encoders that it reads"
        + (", checkpoints" if section.checkpoints else "")
        + (", predictions with their texts" if section.predictions else "; no predictions")
        + ("" if section.checkpoints else ", no checkpoints")
    )


def _is_adapter_alone(recipe: TrainedRecipe | LabelRecipe) -> bool:
    """Whether an adapter is pushed without its base."""
    adapter = recipe.adapter if isinstance(recipe, TrainedRecipe) else None
    return adapter is not None and isinstance(recipe.hub, HubSection) and recipe.hub.weights == "run"


def _ask(section: PushSection, repo_type: str) -> tuple[ModelInfo | DatasetInfo | None, str | None]:
    """What the Hub knows of the repository (None: nothing yet), and why it could not be asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    found: Any = None
    api = HfApi()
    with quiet():
        try:
            with suppress(RepositoryNotFoundError):
                found = api.repo_info(section.repo_id, timeout=SECONDS_TO_ANSWER, repo_type=repo_type)
            token = (api.whoami().get("auth") or {}).get("accessToken") or {}
        except Exception as error:  # of any HTTP client; the reason is returned, and said before training starts
            if status(error) == 401:
                raise UserError(f"hub.repo_id: {section.repo_id}: {reason(error)}; {LOGIN}") from None
            return None, reason(error)
    if token.get("role") == "read":
        raise UserError(
            f"hub.repo_id: {section.repo_id}: the Hugging Face token may only read; {LOGIN} with one that writes"
        )
    if found is not None and section.private and found.private is False:
        raise UserError(
            f"hub.private: {section.repo_id} is public; say private: false, name another repo_id, or make it "
            f"private on "
            f"the Hub"
        )
    return found, None


def _refuse_personal_shots(recipe: TrainedRecipe | LabelRecipe, section: PushSection) -> None:
    """Before hours of work: what the recipe itself puts into the prompt is pushed with it."""
    prompt = getattr(recipe, "prompt", None)
    if prompt is None or section.personal_data == "allow":
        return
    texts = {f"prompt.shots[{i}]": " ".join(shot.values()) for i, shot in enumerate(prompt.shots)}
    if found := findings({"prompt.system": prompt.system or "", **texts}):
        raise UserError(f"{told(found)}; it would go to {section.repo_id}: {ALLOW}")
