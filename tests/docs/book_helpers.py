"""Import the scripts of docs/ and exercises/, which are in no package."""
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def load_script(name):
    """Import a script, given as "docs/book/run", under a name of its own."""
    module_name = name.replace("/", "_")
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, ROOT / f"{name}.py")
        sys.modules[module_name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[module_name])
    return sys.modules[module_name]
