"""What the page carries with it: the table library of the package itables, and the policy that lets nothing else in.

The library's file is a JavaScript module. It travels as inert text, and the page's script makes a module of it.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from kapoc.errors import DataError


@cache
def table_library() -> str:
    """DataTables with all that it needs, as the text of a JavaScript module.

    Raises:
        DataError: the package itables is missing, or lies elsewhere than expected.
    """
    found = find_spec("itables")
    if found is None or not found.submodule_search_locations:
        raise DataError("the HTML report needs itables; install with: pip install 'itables>=2.9,<3'")
    path = Path(found.submodule_search_locations[0]) / "html" / "dt_bundle.js"
    if not path.is_file():
        raise DataError(f"{path}: is missing; install with: pip install --force-reinstall 'itables>=2.9,<3'")
    text = path.read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def own(name: str) -> str:
    """A file that lies beside this one."""
    return files("kapoc.report.html").joinpath(name).read_text(encoding="utf-8")


def policy(script: str) -> str:
    """The Content-Security-Policy of a page with one script: nothing is fetched, no other script runs."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}' blob:; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def data_url(svg: str) -> str:
    """A drawing as the address of an image."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
