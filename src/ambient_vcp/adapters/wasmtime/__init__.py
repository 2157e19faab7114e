"""Runs untrusted WASM: checks, engine, host functions, and the process around each run.

Reading order: ``modules`` (what is refused before compiling), ``execution`` (engine, memory, host
functions, fuel, one run), ``containment`` (the process around it and its layers), ``zygote`` (the
helper that forks cells), ``sandbox`` (the face that the node agent uses and the only module that
it imports: the agent itself never loads the engine).
"""
