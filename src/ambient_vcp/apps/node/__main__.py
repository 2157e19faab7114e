"""``python -m ambient_vcp.apps.node``."""

import sys

from ambient_vcp.apps.node.main import main

sys.exit(main())
