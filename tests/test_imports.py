"""Imports run one way, so that a reader can go down the house and never comes back up."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ORDER = (
    "errors writing text_tables processes connection launch settings recipe label_rules labels predictions "
    "data danmu prompts metrics runs nn memory engines features prediction training methods loading analysis labeling "
    "reports training_curves limitations description merge beforehand dry_run fit_on_card child_runs search seeds "
    "train decide baseline_runs evaluate folds compare label export hub commands __main__"
)
LEVELS = {name: level for level, name in enumerate(ORDER.split())}
HEAVY = ("torch", "transformers", "datasets", "peft", "trl", "sklearn", "evaluate", "accelerate")
# Modules that define a subclass of a heavy library's class; nothing imports them at its top.
HEAVY_BY_NATURE = {
    "categorize/methods/chunks/aggregators.py",
    "categorize/methods/chunks/network.py",
    "categorize/methods/chunks/rows.py",
    "categorize/training/trainer.py",
    "categorize/training/ending.py",
    "categorize/training/progress_lines.py",
    "categorize/training/rehearsal.py",
    "categorize/training/split_passes.py",
    "categorize/training/step_batches.py",
    "categorize/training/sft_trainer.py",
    "categorize/training/label_set_loss.py",
    "categorize/training/throughput.py",
    "categorize/training/packs.py",
    "categorize/training/shared_prefix.py",
    "categorize/metrics/modules.py",
    "categorize/memory/four_bit.py",
    "categorize/memory/tally.py",
    "categorize/nn/bottleneck.py",
}
LEAF_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def modules(root: Path) -> list[Path]:
    return sorted((root / "categorize").rglob("*.py"))


def is_script(node: ast.AST) -> bool:
    """Whether this is what `python -m` runs of a module: an entry script, which may hand in what the module must not
    know."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def imported(tree: ast.AST) -> set[str]:
    """Names that a module imports, at its top, lazily or for types alone."""
    names: set[str] = set()
    inside = [node for node in ast.iter_child_nodes(tree) if not is_script(node)]
    for node in [tree, *(deeper for one in inside for deeper in ast.walk(one))]:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_imports_run_one_way(root: Path) -> None:
    wrong = []
    for path in modules(root):
        parts = path.relative_to(root / "categorize").with_suffix("").parts
        here = LEVELS.get(parts[0])
        if here is None:
            assert parts == ("__init__",), f"{path} has no level in this test"
            continue
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            there = name.split(".")
            if there[0] != "categorize" or len(there) < 2 or there[1] == parts[0]:
                continue
            if there[1] not in LEVELS:
                assert there[1] == "__version__", f"{path} imports {name}, which has no level in this test"
            elif LEVELS[there[1]] >= here and not {parts[0], there[1]} <= {"labels", "predictions"}:
                wrong.append(f"{path.relative_to(root)} imports {name}")
    assert not wrong, wrong


def test_heavy_libraries_are_imported_where_they_are_used(root: Path) -> None:
    wrong = []
    for path in modules(root):
        if path.relative_to(root).as_posix() in HEAVY_BY_NATURE:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in top:
            wrong += [f"{path.relative_to(root)}: {name}" for name in imported(node) if name.split(".")[0] in HEAVY]
    assert not wrong, wrong


def test_no_module_is_a_drawer_of_leftovers(root: Path) -> None:
    assert not [path for path in modules(root) if path.stem in LEAF_NAMES]


@pytest.mark.parametrize("script", ["run_seqcls.py", "run_eval.py"])
def test_help_and_a_recipe_error_import_nothing_heavy(root: Path, script: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: nothing\n", encoding="utf-8")
    for arguments, status in ((["--help"], 0), ([str(bad)], 2)):
        code = (
            "import runpy, sys\n"
            f"sys.argv = {[script, *arguments]!r}\n"
            "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
            "except SystemExit as end:\n    status = end.code or 0\n"
            f"print('HEAVY', sorted({{'numpy', 'pyarrow', *{HEAVY!r}}} & set(sys.modules)), status)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines()[-1] == f"HEAVY [] {status}", done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def graph(root: Path) -> dict[str, set[str]]:
    """Which modules of the package each of them imports."""
    paths = {".".join(path.relative_to(root).with_suffix("").parts): path for path in modules(root)}
    known = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    found = {
        name: {one for one in imported(ast.parse(path.read_text(encoding="utf-8"))) if one in known and one != name}
        for name, path in known.items()
        if name != "categorize"  # only offers what is below
    }
    for name in [name for name in known if name.startswith("categorize.methods.") and name.endswith(".method")]:
        folder = name.removesuffix(".method")  # a RoomMethod imports these by name
        found[name] |= {room for room in (f"{folder}.fit", f"{folder}.predictor") if room in known}
    return found


def test_no_module_imports_what_imports_it(root: Path) -> None:
    """There is an order in which each module imports only earlier ones, at its top, lazily or for types alone."""
    needs = graph(root)
    order = list(TopologicalSorter(needs).static_order())  # raises CycleError, which names the modules
    assert set(order) - {"categorize"} == set(needs)


def test_the_rooms_of_a_package_import_one_way(root: Path) -> None:
    """The same for what stands side by side in a folder: modules, and packages as wholes."""
    needs: dict[str, dict[str, set[str]]] = {}
    for name, others in graph(root).items():
        for other in others:
            here, there = name.split("."), other.split(".")
            shared = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), None)
            if shared is not None:
                folder = needs.setdefault(".".join(here[:shared]), {})
                folder.setdefault(here[shared], set()).add(there[shared])
    for rooms in needs.values():
        TopologicalSorter(rooms).prepare()  # raises CycleError, which names the rooms


@pytest.mark.parametrize(
    "name",
    [
        "data",
        "imbalance",
        "labeling",
        "labeling_http",
        "long_documents",
        "many_labels",
        "memory",
        "peers",
        "peft_breadth",
        "quality",
        "readers",
    ],
)
def test_benchmarks_start(root: Path, name: str) -> None:
    """They are run by hand, and seldom: what they import must still be there."""
    done = subprocess.run(
        [sys.executable, root / "benchmarks" / f"{name}.py", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "usage:" in done.stdout, done.stderr
