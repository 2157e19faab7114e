"""The node agent: lends this machine to a control plane. Start reading at ``agent``."""
