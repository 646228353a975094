"""Which files of the package a function's code lies in, found without running it.

From a function it goes to what the function names: others of its module, and what is imported,
at the top or inside. A class counts as a whole, and so does a module that is used as a value.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "ganpipe"


class Code:
    """The package below a root, as far as it was asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.module = cache(self._module)

    def files(self, module: str, name: str) -> dict[str, str]:
        """Files that `module.name` runs, each with what first led there."""
        found: dict[str, str] = {}
        seen: set[tuple[str, str]] = set()
        waiting = [(module, name, "the stage")]
        while waiting:
            where, what, why = waiting.pop()
            if (where, what) in seen:
                continue
            seen.add((where, what))
            known = self.module(where)
            node = known.defined.get(what)
            if what in known.imported:
                waiting += [(*place, why) for place in self.places(*known.imported[what])]
            elif node is not None:
                found.setdefault(known.file, why)
                reason = f"{where}.{what}"
                waiting += [(*place, reason) for place in self.used(where, node)]
        return found

    def places(self, module: str, name: str) -> Iterator[tuple[str, str]]:
        """Module and name of what an import brings; all names where it brings a module."""
        whole = f"{module}.{name}" if name else module
        if self.path(whole) is None:
            yield module, name
        else:
            yield from ((whole, each) for each in self.module(whole).defined)

    def used(self, module: str, node: ast.AST) -> Iterator[tuple[str, str]]:
        """Module and name of everything that a piece of a module's code names."""
        if isinstance(node, ast.ClassDef):  # its methods do not share their local names
            for part in (*node.body, *node.bases, *node.decorator_list):
                yield from self.used(module, part)
            return
        known = self.module(module)
        imported = known.imported | dict(imports(node))
        own = _own_names(node) if isinstance(node, ast.FunctionDef) else set()
        members: set[ast.AST] = set()
        for each in ast.walk(node):
            if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
                brought = imported.get(each.value.id)
                if brought and self.path(".".join(filter(None, brought))):
                    members.add(each.value)
                    yield ".".join(filter(None, brought)), each.attr
        for each in ast.walk(node):
            if not isinstance(each, ast.Name) or each in members or each.id in own:
                continue
            if each.id in imported:
                yield from self.places(*imported[each.id])
            elif each.id in known.defined:
                yield module, each.id

    def path(self, module: str) -> Path | None:
        """The file of a module of the package, None for anything else."""
        if module.partition(".")[0] != PACKAGE:
            return None
        base = self.root / module.replace(".", "/")
        found = (base / "__init__.py", base.with_suffix(".py"))
        return next((path for path in found if path.is_file()), None)

    def _module(self, module: str) -> Module:
        path = self.path(module)
        assert path is not None, module
        return Module(path, path.relative_to(self.root).as_posix())


class Module:
    """What the top level of a file defines and imports."""

    def __init__(self, path: Path, file: str) -> None:
        self.file = file
        self.defined: dict[str, ast.AST] = {}
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.defined[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [name for each in targets for name in ast.walk(each)]
                self.defined |= {name.id: node for name in names if isinstance(name, ast.Name)}
        top = [
            node
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom | ast.If | ast.Try)
            and "TYPE_CHECKING" not in ast.dump(node)
        ]
        self.imported = dict(imports(ast.Module(top, [])))


def _own_names(function: ast.AST) -> set[str]:
    """Arguments and variables of a function, which hide what the module calls the same."""
    nodes = list(ast.walk(function))
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stored | {n.arg for n in nodes if isinstance(n, ast.arg)}


def imports(node: ast.AST) -> Iterator[tuple[str, tuple[str, str]]]:
    """The names that imports inside a piece of code bring: (module, name in it) of each."""
    for each in ast.walk(node):
        if isinstance(each, ast.ImportFrom) and (each.module or "").startswith(PACKAGE):
            assert each.level == 0
            for alias in each.names:
                yield alias.asname or alias.name, (each.module or "", alias.name)
        elif isinstance(each, ast.Import):
            for alias in each.names:
                if alias.name.startswith(PACKAGE):
                    name = alias.asname or PACKAGE
                    yield name, (alias.name if alias.asname else PACKAGE, "")
