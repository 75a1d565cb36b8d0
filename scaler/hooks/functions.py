"""Load the user's functions, which a spec names as `module:function`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from scaler.hooks.asides import shown_aside
from scaler.support.suggestions import nearest_clause


class CannotLoadError(Exception):
    """A function cannot be loaded. The message is a predicate about its name, `fix` how to correct that."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


def load_function(reference: str, folder: Path) -> Callable[..., Any]:
    """Return the function that `module:function` names; look for the module in `folder` first.

    Raises CannotLoadError if there is no such module or function, if the module cannot be
    imported (with Python's own message), or if the name is not a function's.
    """
    name, _, attribute = reference.partition(":")
    module = _import(name, folder)
    if not hasattr(module, attribute):
        known = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise CannotLoadError(f"names what is not in {name}: {attribute}", nearest_clause(attribute, known))
    function: Callable[..., Any] = getattr(module, attribute)
    if not callable(function):
        raise CannotLoadError(f"names what is no function: {reference}")

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        with shown_aside(reference):
            return function(*args, **kwargs)

    return called


def _import(name: str, folder: Path) -> ModuleType:
    path = folder.joinpath(*name.split("."))
    try:
        for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if file.is_file():
                return _execute(name, file.resolve(), folder.resolve(), file.stat().st_mtime_ns)
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise CannotLoadError(
                f"names a module that does not exist: {name}",
                f"modules are looked for in the project folder, then among what is installed: write {path.name}.py",
            ) from None
        raise CannotLoadError(
            f"names a module that cannot be imported: {name} ({type(error).__name__}: {error})"
        ) from error


@lru_cache(maxsize=64)
def _execute(name: str, file: Path, folder: Path, changed_ns: int) -> ModuleType:
    """Execute a module of the project, once per version of its file; `changed_ns` is the cache key for that.

    Register it under a unique name, so that it cannot be confused with a library, or with another
    project's module, of the same name.
    """
    del changed_ns
    if str(folder) not in sys.path:
        # At the end, so that the module can import its neighbours but none of them hides a library.
        sys.path.append(str(folder))
    unique = f"scaler_extension_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}_{name.replace('.', '_')}"
    spec = importlib.util.spec_from_file_location(unique, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    with shown_aside(name):
        spec.loader.exec_module(module)
    return module
