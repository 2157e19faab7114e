"""The node's side of the HTTP protocol: every call a node makes to its control plane."""

from ambient_vcp.adapters.control_plane_http.errors import RefusedError
from ambient_vcp.adapters.control_plane_http.node_api import NodeApi
from ambient_vcp.adapters.control_plane_http.transport import Transport

__all__ = ["NodeApi", "RefusedError", "Transport"]
