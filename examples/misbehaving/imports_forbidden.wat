;; Asks for a socket. No cell offers one, so the module is refused before it runs.
(module
  (import "env" "open_socket" (func $open_socket (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (drop (call $open_socket (i32.const 0) (i32.const 80)))))
