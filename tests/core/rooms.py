"""Rooms of the house, the arrows of imports between them, and circles.

    python tests/core/rooms.py [src/topseg]

A room is a file or folder directly below the package; an arrow says that some file of one room
imports from another. Imports inside functions count, those for type checkers alone do not. What is
loaded by a name in a table (a plug-in, a runtime's module) is no import.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

Graph = Mapping[str, set[str]]
"""Each node with those that it points to."""


def files(package: Path) -> Graph:
    """Return each module of a package, by its name below it, with the modules it imports."""
    found = {_name(path, package): path for path in sorted(package.rglob("*.py"))}
    return {
        name: {
            target
            for node in _imports(ast.parse(path.read_text()))
            for target in _targets(node, path, package, set(found))
        }
        - {name}
        for name, path in found.items()
    }


def merged(graph: Graph, depth: int = 1) -> Graph:
    """Return the arrows between groups of modules that share the first ``depth`` parts of a name.

    The package's own ``__init__``, the table of contents, is left out.
    """
    groups: dict[str, set[str]] = {}
    for name, targets in graph.items():
        if name:
            group = _group(name, depth)
            arrows = {_group(target, depth) for target in targets if target}
            groups.setdefault(group, set()).update(arrows - {group})
    return groups


def circles(graph: Graph) -> list[set[str]]:
    """Return the sets of nodes that reach each other."""
    reach = {node: _reached(graph, node) for node in graph}
    found: list[set[str]] = []
    for node in graph:
        circle = {other for other in reach[node] if node in reach[other]}
        if circle and circle not in found:
            found.append(circle)
    return found


def height(graph: Graph) -> int:
    """Return the number of floors: the nodes on the longest way down."""
    known: dict[str, int] = {}

    def floor(node: str) -> int:
        if node not in known:
            known[node] = 1 + max(map(floor, graph[node]), default=0)
        return known[node]

    return max(map(floor, graph))


def _name(path: Path, package: Path) -> str:
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _group(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def _reached(graph: Graph, node: str) -> set[str]:
    seen: set[str] = set()
    ahead = set(graph[node])
    while ahead:
        seen |= ahead
        ahead = {target for one in ahead for target in graph[one]} - seen
    return seen


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports below a node, without those for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from _imports(other)
        else:
            yield from _imports(node)


def _targets(
    node: ast.Import | ast.ImportFrom, path: Path, package: Path, modules: set[str]
) -> Iterator[str]:
    """Yield the modules of the package that an import statement names."""
    root = package.name
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif node.level:  # from . import x
        above = path.relative_to(package.parent).parts[: -node.level]
        base = ".".join([*above, *filter(None, [node.module])])
        names = [f"{base}.{alias.name}" for alias in node.names]
    else:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in names:
        if name.partition(".")[0] == root:
            inside = name.removeprefix(root).removeprefix(".")
            while inside and inside not in modules:  # a function of a module
                inside = inside.rpartition(".")[0]
            yield inside


def main() -> None:
    default = Path(__file__).parents[2] / "src" / "topseg"
    package = Path(sys.argv[1]) if sys.argv[1:] else default
    graph = files(package)
    rooms = merged(graph)
    for room in sorted(rooms):
        print(f"{room:<14} -> {', '.join(sorted(rooms[room]))}")
    between, among = circles(rooms), circles(graph)
    print(f"\nfiles {len(graph)}, rooms {len(rooms)}", end=", ")
    print(f"arrows between rooms {sum(map(len, rooms.values()))}", end=", ")
    print("floors", "-" if between else height(rooms))
    print("circles of rooms:", " | ".join(map(_line, between)) or "none")
    print("circles of files:", " | ".join(map(_line, among)) or "none")


def _line(circle: set[str]) -> str:
    return ", ".join(sorted(circle))


if __name__ == "__main__":
    main()
