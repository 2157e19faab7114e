"""The process around a run and the layers that shut it in."""
