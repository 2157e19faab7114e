"""``python -m ambient_vcp.apps.node``."""

import sys

# httpx would load a command line of its own, with rich, click and pygments: 7 MB and half a second
# that a lent laptop need not spend. It copes with the absence.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None means: not importable

from ambient_vcp.apps.node.main import main  # noqa: E402 - after the line above, on purpose

sys.exit(main())
