"""Recipe files into one mapping: `extends` names files that a recipe builds on, `labels.schema` one that holds labels,
`prompt.file` one that holds the instruction.

Paths are relative to the file that names them (those of the command line to the working directory).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from categorize.errors import UserError
from categorize.recipe.nodes import (
    Entry,
    Mapping,
    Node,
    Scalar,
    Sequence,
    compose,
    erased,
    expect_mapping,
    get,
    merge,
    to_plain,
    without,
)
from categorize.recipe.problems import Position, Problems, shown
from categorize.recipe.wording import found, similar


@dataclass
class NodeLoader:
    """Reads files into nodes; `files` are those read, in the order in which they were first opened.

    `implied` is the method of a `model` section without one, see `merge`.
    """

    problems: Problems
    files: list[Path] = field(default_factory=list)
    implied: str | None = None

    def load(
        self, path: Path, chain: tuple[Path, ...] = (), named_at: Position | None = None, what: str = "a recipe"
    ) -> Mapping:
        """The mapping of a file with everything that it extends below it.

        `chain` are the files that led here, `named_at` is where the path was written.

        Raises:
            UserError: no such file, a folder, not text, empty, not YAML, not a mapping, or a circle of `extends`.
        """
        here = path.resolve()
        if here in chain:
            circle = " -> ".join(shown(file) for file in (*chain[chain.index(here) :], here))
            raise UserError(f"{named_at}: extends goes in a circle: {circle}")
        text = self._read(path, named_at)
        root = compose(text, shown(path), self.problems)
        if root is None:
            raise UserError(f"{shown(path)}: the file is empty{_by(named_at)}; {what} is a mapping of keys to values")
        mapping = self.with_instruction(expect_mapping(root, what))
        bases = [self.load(base, (*chain, here), position, what) for base, position in self._extended(mapping)]
        merged = without(mapping, "extends")
        below: Node | None = None
        for base in bases:
            below = base if below is None else merge(below, base, implied=self.implied)
        return self.lay_over(expect_mapping(below, what), merged, what) if below is not None else merged

    def lay_over(self, below: Mapping, top: Mapping, what: str) -> Mapping:
        """`top` merged over what it inherits. Where it names a label schema, what that holds takes the place of what
        was inherited: a schema that lay below inherited names could not replace them.

        Raises:
            UserError: as `load`.
        """
        labels, schema = get(below, "labels"), self._schema(top)
        if isinstance(labels, Mapping) and schema is not None:
            of_names = {"codes", "rules"} if "names" in schema.entries else set()
            held = set(schema.entries) | of_names
            for name in held:
                labels = without(labels, name)
            below = replace(below, entries={**below.entries, "labels": Entry(labels, below.entries["labels"].key)})
        return expect_mapping(merge(below, top, implied=self.implied), what)

    def _schema(self, root: Mapping) -> Mapping | None:
        """What the file under `labels.schema` holds, or None where there is none."""
        node = get(root, "labels", "schema")
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            return None
        return self.load(node.position.folder / node.value, (), node.position, "a label schema")

    def with_label_schema(self, root: Mapping) -> Mapping:
        """The recipe with the file of `labels.schema` below its other labels keys.

        Raises:
            UserError: as `load`.
        """
        labels, schema = get(root, "labels"), get(root, "labels", "schema")
        if not isinstance(labels, Mapping) or schema is None:
            return root
        own = without(labels, "schema")
        if (base := self._schema(root)) is not None:
            own = expect_mapping(merge(base, own, ("labels",)), "labels")
        elif not erased(schema):
            self.problems.add(
                schema.position, ("labels", "schema"), f"expected the path of a file, found {found(to_plain(schema))}"
            )
        return Mapping({**root.entries, "labels": Entry(own, root.entries["labels"].key)}, root.position, root.size)

    def with_instruction(self, root: Mapping) -> Mapping:
        """A file's own keys with the text of `prompt.file` as `prompt.system`, so that what a run saves needs no file.

        Raises:
            UserError: the file cannot be read, or is empty.
        """
        prompt, file = get(root, "prompt"), get(root, "prompt", "file")
        if not isinstance(prompt, Mapping) or file is None:
            return root
        key, system = ("prompt", "file"), get(prompt, "system")
        if system is not None and to_plain(system) is not None:
            self.problems.add(
                file.position, key, "cannot go with prompt.system, which holds an instruction too; keep one"
            )
        text: Node = replace(file, text="") if isinstance(file, Scalar) else file
        if isinstance(file, Scalar) and isinstance(file.value, str) and file.value:
            path = file.position.folder / file.value
            held = self._read(path, file.position, "a text file").strip("\r\n")
            if not held.strip():
                raise UserError(f"{shown(path)}: the file is empty{_by(file.position)}; it holds the instruction")
            text = replace(file, value="\n".join(held.splitlines()))
        elif not (isinstance(file, Scalar) and file.value is None):
            self.problems.add(file.position, key, f"expected the path of a file, found {found(to_plain(file))}")
            text = replace(prompt, entries={})
        own = without(prompt, "file")
        if isinstance(text, Scalar):
            own = replace(own, entries={**own.entries, "system": Entry(text, prompt.entries["file"].key)})
        return replace(root, entries={**root.entries, "prompt": Entry(own, root.entries["prompt"].key)})

    def _extended(self, mapping: Mapping) -> list[tuple[Path, Position]]:
        node = get(mapping, "extends")
        if node is None:
            return []
        files: list[tuple[Path, Position]] = []
        for item in node.items if isinstance(node, Sequence) else (node,):
            if isinstance(item, Scalar) and isinstance(item.value, str) and item.value:
                files.append((item.position.folder / item.value, item.position))
            else:
                message = f"expected the path of a file, or a list of paths, found {found(to_plain(item))}"
                self.problems.add(item.position, ("extends",), message)
        return files

    def _read(self, path: Path, named_at: Position | None, kind: str = "a YAML file") -> str:
        where, by = shown(path), _by(named_at)
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            raise UserError(f"{where}: no such file{by}{_neighbour(path)}") from None
        except IsADirectoryError:
            raise UserError(f"{where}: is a folder{by}; name {kind}") from None
        except NotADirectoryError:
            raise UserError(f"{where}: no such file{by}; a part of the path is a file, not a folder") from None
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise UserError(f"{where}:{line}: is not UTF-8 text{by}; {_encoding(error.object, path, kind)}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{where}: cannot be read: {reason}{by}") from None
        if path not in self.files:
            self.files.append(path)
        return text


def _encoding(content: bytes, path: Path, kind: str) -> str:
    """What the bytes of a file that is not UTF-8 may be, and the way out."""
    encodings = (("utf-16", "UTF-16"), ("gb18030", "GBK"), ("big5", "Big5"), ("shift_jis", "Shift JIS"))
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding, name in encodings if path.suffix in (".yaml", ".yml", ".txt", ".md") else ():
        with contextlib.suppress(UnicodeDecodeError):
            content.decode(encoding)
            if marked or encoding != "utf-16":
                return f"it may be {name}: save it as UTF-8, such as by iconv -f {encoding} -t utf-8 {path.name}"
    return f"save it as UTF-8, or name {kind.replace('a ', 'the ', 1)}"


def _neighbour(path: Path) -> str:
    """`; did you mean X?` for a YAML file of like name in the same folder; the suffix, which all share, is left out."""
    folder = path.parent
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    stems = {file.stem: file.name for file in files if file.suffix in (".yaml", ".yml")}
    guess = similar(path.stem, stems, cutoff=0.6)
    return f"; did you mean {stems[guess]}?" if guess else ""


def _by(named_at: Position | None) -> str:
    return f", named in {named_at}" if named_at is not None else ""
