"""Compression of neural networks and the measurement of the result.

Python 3.14 added a standard-library package of the same name (``gzip``, ``bz2`` and ``lzma`` import
``compression._common`` from it), and whichever is imported first hides the other. Both are therefore joined
here: each directory named ``compression`` on ``sys.path`` or in the standard library lends its submodules.
"""

from pathlib import Path
from pkgutil import extend_path
from sysconfig import get_path

__path__ = extend_path(__path__, __name__)
_standard_library = Path(get_path("stdlib")) / "compression"
if _standard_library.is_dir() and str(_standard_library) not in __path__:
    __path__.append(str(_standard_library))
