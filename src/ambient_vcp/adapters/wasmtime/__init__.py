"""Runs untrusted WASM: checks, engine, host functions, and the process around each run.

Reading order: ``imports`` (what a guest may see), ``module_checks`` (what is refused before
compiling), ``data_segments`` (what is taken out of it), ``engine`` and ``memory`` (the settings),
``host_vcp`` and ``host_wasi`` (the host functions), ``fuel_meter`` (what they cost), ``host_link``
(how the guest reaches them), ``guest`` (one run), ``cell`` (the process it runs in), ``isolation``
(the layers around it), ``zygote`` (the helper that forks cells), ``sandbox`` (the face that the
node agent uses and the only module that it imports: the agent itself never loads the engine).
"""
