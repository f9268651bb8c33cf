"""Scripts that are in no package, for tests."""
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def module(path):
    """A script that is in no package, imported under a name of its own."""
    name = "_".join(path.relative_to(ROOT).with_suffix("").parts)
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
